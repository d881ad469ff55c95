"""Services that are pointed at the sidecar."""

import pytest

from tests.inject import corpus
from tlsproxy.inject.manifest import Outcome
from tlsproxy.inject.refusals import Refused

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: shop, namespace: NS, labels: {app: shop, tier: web}}
spec: {containers: [{name: web, image: i, ports: [{containerPort: 8080, name: http}]}]}
---
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: SHOP, namespace: NS}
spec: {selector: SELECTOR, ports: [PORT]}
"""


def inject(port: str, options: str = "--services", selector: str = "{app: shop}", namespace: str = "a") -> Outcome:
    service = (
        SERVICE.replace("SELECTOR", selector).replace("PORT", port).replace("SHOP", "shop").replace("NS", namespace)
    )
    return corpus.made_of(corpus.options(f"--secret shop {options}"), POD.replace("NS", "a") + service)


def ports(made: Outcome) -> str:
    return made.text.rpartition("ports: [")[2].removesuffix("]}\n")


@pytest.mark.parametrize(
    ("port", "after"),
    [
        ("{port: 80, targetPort: http}", "{port: 80, targetPort: 8443}"),
        ("{port: 80, targetPort: 8080}", "{port: 80, targetPort: 8443}"),
        ("{port: 8080}", "{port: 8080, targetPort: 8443}"),
        ("{port: 80, targetPort: 8080, appProtocol: http}", "{port: 80, targetPort: 8443, appProtocol: https}"),
        ("{port: 80, targetPort: 8080, appProtocol: ws}", "{port: 80, targetPort: 8443, appProtocol: ws}"),
        ("{name: a, port: 1}, {name: b, port: 8080}", "{name: a, port: 1}, {name: b, port: 8080, targetPort: 8443}"),
    ],
)
@pytest.mark.parametrize("options", ["--services", "--service shop"])
def test_ports_that_lead_to_the_app(port: str, after: str, options: str) -> None:
    """They lead to the sidecar afterwards, by number, and the operator is told that they speak HTTPS."""
    made = inject(port, options)
    assert ports(made) == after
    assert "speaks HTTPS from now on" in made.notes[0]


def test_nothing_is_pointed_unasked() -> None:
    """A Service stays as it is."""
    assert ports(inject("{port: 8080}", "")) == "{port: 8080}"


@pytest.mark.parametrize(
    ("port", "selector", "namespace"),
    [
        ("{port: 9090}", "{app: shop}", "a"),
        ("{port: 80, targetPort: metrics}", "{app: shop}", "a"),
        ("{port: 8080}", "{app: other}", "a"),
        ("{port: 8080}", "{app: shop, tier: db}", "a"),
        ("{port: 8080}", "{}", "a"),
        ("{port: 8080}", "null", "a"),
        ("{port: 8080}", "{app: shop}", "b"),
    ],
)
def test_services_of_others(port: str, selector: str, namespace: str) -> None:
    """What leads elsewhere is passed over, and refused when it was asked for by name."""
    assert ports(inject(port, "--services", selector, namespace)) == port
    with pytest.raises(Refused, match=r"service/shop \(document 2, line 6\): (it selects no|none of its)"):
        inject(port, "--service shop", selector, namespace)


def test_a_service_without_a_cluster_ip() -> None:
    """Its clients ask the pods themselves, so the port that they use has to be another one, which is told."""
    made = inject("{port: 80, targetPort: http}", selector="{app: shop}, clusterIP: None")
    assert ports(made) == "{port: 80, targetPort: 8443}"
    assert made.notes[0].endswith(
        "clients choose the pods' port themselves: HTTPS is at 8443, and 80 is not redirected"
    )


def test_a_name_of_the_dns() -> None:
    """An ExternalName leads to no pod, whatever it selects."""
    made = inject("{port: 8080}", selector="{app: shop}, type: ExternalName, externalName: example.org")
    assert ports(made) == "{port: 8080}"
    assert not made.notes


def test_a_service_that_is_not_there() -> None:
    """The name is refused, with those that there are."""
    with pytest.raises(Refused, match="service/shp: it is not in the manifest; there is pod/shop, service/shop"):
        inject("{port: 8080}", "--service shp")


def test_the_sidecars_own_port_counts() -> None:
    """Where it listens elsewhere, Services lead there."""
    assert ports(inject("{port: 8080}", "--services --set LISTEN_PORT=9443")) == "{port: 8080, targetPort: 9443}"
