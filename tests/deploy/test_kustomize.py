"""deploy/kubernetes: what becomes of the example with the component, and what Kubernetes' schemas say of it."""

import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from tests.deploy import kustomize
from tests.e2e.test_certificate_sources import documents
from tlsproxy.chassis.environment import read
from tlsproxy.settings import Settings

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
NATIVE, ORDINARY = "native", "ordinary"
LISTS = {NATIVE: "initContainers", ORDINARY: "containers"}
VERSIONS = {NATIVE: ("1.30", "1.33", "1.36"), ORDINARY: ("1.25", "1.29", "1.36")}
BY_THE_OPERATOR = frozenset({"ServiceMonitor"})
"""Kinds that Kubernetes itself does not know."""


@cache
def example(kind: str, directory: Path) -> Path:
    """A copy of the example that uses the component of that kind."""
    copy = directory / f"kubernetes-{kind}"
    shutil.copytree(KUBERNETES, copy)
    for name, before, after in (
        ("kustomization.yaml", f"components/{NATIVE}", f"components/{kind}"),
        ("tlsproxy.yaml", LISTS[NATIVE], LISTS[kind]),
    ):
        file = copy / "shop" / name
        assert before in file.read_text()
        file.write_text(file.read_text().replace(before, after))
    return copy / "shop"


@pytest.fixture(scope="module", params=[NATIVE, ORDINARY])
def variant(request: pytest.FixtureRequest) -> str:
    """A component's name."""
    return str(request.param)


@pytest.fixture(scope="module")
def made(variant: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """By kind and name what becomes of the example."""
    return by_name(kustomize.build(example(variant, tmp_path_factory.getbasetemp())))


def by_name(made: Iterable[kustomize.Tree]) -> dict[str, dict[str, object]]:
    """Objects by kind and name."""
    return {f"{one['kind']}/{kustomize.tree(one['metadata'])['name']}": one for one in made}


def at(tree: object, *path: str | int) -> object:
    """A part of a document."""
    for step in path:
        assert isinstance(tree, dict | list), f"nothing has {step!r}"
        tree = tree[step]  # type: ignore[index]  # a key of the one, an index of the other
    return tree


def named(tree: object, name: str) -> object:
    """The entry of a list that has the name."""
    assert isinstance(tree, list)
    (found,) = (entry for entry in tree if entry["name"] == name)
    return found


def sidecar(variant: str, made: dict[str, dict[str, object]]) -> object:
    """The container that the component adds."""
    return named(at(made["Deployment/shop"], "spec", "template", "spec", LISTS[variant]), "tlsproxy")


def plain(variant: str) -> object:
    """The container of the plain manifest."""
    deployment, _ = documents(KUBERNETES / f"sidecar-{variant}.yaml")
    return named(at(deployment, "spec", "template", "spec", LISTS[variant]), "tlsproxy")


def test_kustomize_makes_the_same(
    variant: str, made: dict[str, dict[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """kubectl's own kustomize makes of the example what the other tests judge, to the order of every list."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed (1.21 or later; Debian 12 has 1.20)")
    folder = example(variant, tmp_path_factory.getbasetemp())
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    if 'unknown field "components"' in done.stderr:
        pytest.skip("this kubectl's kustomize knows no components (1.21 and later do)")
    assert (done.returncode, done.stderr) == (0, "")
    assert by_name(kustomize.loaded(done.stdout)) == made


def test_the_component_adds_what_the_plain_manifest_has(variant: str, made: dict[str, dict[str, object]]) -> None:
    """The same container, but for where the certificate is and what a patch says of the app."""
    ours, theirs = sidecar(variant, made), plain(variant)
    assert isinstance(ours, dict)
    assert isinstance(theirs, dict)
    differ = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    assert differ == {"env", "volumeMounts"}


def test_the_component_finds_its_certificate(variant: str, made: dict[str, dict[str, object]]) -> None:
    """The Secret that the patch names is mounted where the sidecar looks, and the patch's port is the app's."""
    environment = at(sidecar(variant, made), "env")
    assert isinstance(environment, list)
    reading = read(Settings, {one["name"]: one["value"] for one in environment})
    assert reading.warnings == ()
    assert reading.settings.app_port == 3000
    assert reading.settings.cert_name == ("tls",)
    mount = at(sidecar(variant, made), "volumeMounts", 0)
    assert at(mount, "mountPath") == str(reading.settings.cert_dir)
    volume = named(at(made["Deployment/shop"], "spec", "template", "spec", "volumes"), str(at(mount, "name")))
    assert at(volume, "secret", "secretName") == "shop-tls"


def test_the_app_outlives_the_draining(variant: str, made: dict[str, dict[str, object]]) -> None:
    """It is the app that gets the preStop, as in the plain manifest, and the pod as much time."""
    spec = at(made["Deployment/shop"], "spec", "template", "spec")
    theirs = at(documents(KUBERNETES / f"sidecar-{variant}.yaml")[0], "spec", "template", "spec")
    assert "lifecycle" not in str(sidecar(variant, made))
    assert at(named(at(spec, "containers"), "shop"), "lifecycle") == at(
        named(at(theirs, "containers"), "shop"), "lifecycle"
    )
    assert at(spec, "terminationGracePeriodSeconds") == at(theirs, "terminationGracePeriodSeconds")


def test_only_the_sidecars_ports_are_open(made: dict[str, dict[str, object]]) -> None:
    """HTTPS from everywhere, the admin port from one namespace, and nothing else."""
    known = read(Settings, {}).settings
    policy = at(made["NetworkPolicy/shop"], "spec")
    assert at(policy, "policyTypes") == ["Ingress"]
    https, admin = at(policy, "ingress", 0), at(policy, "ingress", 1)
    assert https == {"ports": [{"protocol": "TCP", "port": known.listen_port}]}
    assert at(admin, "ports") == [{"protocol": "TCP", "port": known.admin_port}]
    assert at(admin, "from")
    assert len(at(policy, "ingress")) == 2  # type: ignore[arg-type]  # a list


def test_everything_selects_the_pods(made: dict[str, dict[str, object]]) -> None:
    """Services, policy and budget mean the Deployment's pods; the monitor means the Service with the metrics."""
    labels = at(made["Deployment/shop"], "spec", "template", "metadata", "labels")
    assert at(made["Service/shop"], "spec", "selector") == labels
    assert at(made["Service/shop-metrics"], "spec", "selector") == labels
    assert at(made["NetworkPolicy/shop"], "spec", "podSelector", "matchLabels") == labels
    assert at(made["PodDisruptionBudget/shop"], "spec", "selector", "matchLabels") == labels
    monitor, metrics = made["ServiceMonitor/shop"], made["Service/shop-metrics"]
    assert at(monitor, "spec", "selector", "matchLabels") == at(metrics, "metadata", "labels")
    assert at(monitor, "spec", "endpoints", 0, "port") == at(metrics, "spec", "ports", 0, "name")


def test_ports_are_named_as_the_sidecars(variant: str, made: dict[str, dict[str, object]]) -> None:
    """What the Services lead to are ports that the sidecar has."""
    ports = at(sidecar(variant, made), "ports")
    assert isinstance(ports, list)
    targets = {at(made[f"Service/{name}"], "spec", "ports", 0, "targetPort") for name in ("shop", "shop-metrics")}
    assert targets == {at(port, "name") for port in ports}


def test_kubernetes_takes_it(variant: str, made: dict[str, dict[str, object]]) -> None:
    """The schemas of old and new versions know every field of what is made, and of the plain manifests."""
    validation = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    plain_manifest = [dict[str, object](one) for one in documents(KUBERNETES / f"sidecar-{variant}.yaml")]
    for version in VERSIONS[variant]:
        for one in (*made.values(), *plain_manifest):
            if one["kind"] not in BY_THE_OPERATOR:
                validation.validate(one, version, strict=True)
