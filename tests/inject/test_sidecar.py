"""What the sidecar is in a pod."""

from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tlsproxy.chassis.environment import read
from tlsproxy.inject import sidecar
from tlsproxy.inject.sidecar import Shape
from tlsproxy.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "deploy" / "kubernetes"


def shape(*, native: bool = True, sleep_action: bool = True, **variables: str) -> Shape:
    named = {f"TLSPROXY_{name}": value for name, value in variables.items()}
    return Shape("shop", "tlsproxy:1", native, sleep_action, on_localhost=False, variables=named)


def settings(**variables: str) -> Settings:
    return read(Settings, {f"TLSPROXY_{name}": value for name, value in variables.items()}).settings


def ask(path: str) -> dict[str, object]:
    return {"httpGet": {"path": path, "port": "tlsproxy-admin"}}


def test_two_variables_and_those_that_were_asked_for() -> None:
    """What is not asked for is left to the defaults."""
    made = sidecar.container(shape(HSTS="365d"), settings(HSTS="365d"), 3000)
    assert made["env"] == [
        {"name": "TLSPROXY_CERT_NAME", "value": "shop"},
        {"name": "TLSPROXY_APP_PORT", "value": "3000"},
        {"name": "TLSPROXY_HSTS", "value": "365d"},
    ]


def test_it_can_do_next_to_nothing() -> None:
    """The container passes the restricted Pod Security Standard, and has a read-only root."""
    security = sidecar.container(shape(), settings(), 3000)["securityContext"]
    assert security == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsGroup": 65532,
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_ports_follow_the_settings() -> None:
    """As do the probes, the mount and how long a start may take."""
    chosen = settings(LISTEN_PORT="9443", ADMIN_PORT="9444", REDIRECT_PORT="9080", CERT_DIR="/tls", CERT_WAIT="5m")
    made = sidecar.container(shape(), chosen, 3000)
    assert sidecar.ports(chosen) == {"tlsproxy": 9443, "tlsproxy-admin": 9444, "tlsproxy-http": 9080}
    assert made["ports"] == [{"name": name, "containerPort": port} for name, port in sidecar.ports(chosen).items()]
    assert made["volumeMounts"] == [{"name": "tlsproxy-certificate", "mountPath": "/tls/shop", "readOnly": True}]
    asked = {name: made[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
    assert asked == {
        "startup": {**ask("/startupz"), "periodSeconds": 1, "failureThreshold": 330},
        "readiness": {**ask("/readyz"), "periodSeconds": 5, "timeoutSeconds": 2, "failureThreshold": 2},
        "liveness": {**ask("/livez"), "timeoutSeconds": 5},
    }


@pytest.mark.parametrize("native", [True, False])
def test_a_native_sidecar_restarts_for_itself(native: bool) -> None:
    """That is what makes an init container one."""
    assert ("restartPolicy" in sidecar.container(shape(native=native), settings(), 1)) is native


@pytest.mark.parametrize(
    ("native", "delay", "timeout", "stays", "grace"),
    [(True, "5s", "20s", 5, 30), (False, "5s", "20s", 25, 30), (True, "0", "1m", 0, 65), (False, "1500ms", "1s", 3, 8)],
)
def test_the_end_takes_its_time(native: bool, delay: str, timeout: str, stays: int, grace: int) -> None:
    """A native sidecar's app waits for load balancers, an ordinary one's for the whole drain; in whole seconds."""
    chosen = settings(DRAIN_DELAY=delay, DRAIN_TIMEOUT=timeout)
    assert sidecar.app_stays(shape(native=native), chosen) == stays
    assert sidecar.grace_period(chosen) == grace


def test_a_sidecar_that_follows_the_app_needs_no_wait() -> None:
    """It serves until the app has ended, whatever kind of container it is in."""
    chosen = settings(FOLLOW_APP="on")
    assert sidecar.app_stays(shape(native=False), chosen) == sidecar.app_stays(shape(), chosen) == 5


@pytest.mark.parametrize("file", ["sidecar-native.yaml", "sidecar-ordinary.yaml"])
def test_it_is_the_one_of_the_examples(file: str) -> None:
    """What stands in deploy/kubernetes to be copied by hand is what inject writes, but for variables spelled out."""
    native = file == "sidecar-native.yaml"
    workload, _ = YAML(typ="safe", pure=True).load_all((EXAMPLES / file).read_text())
    spec = workload["spec"]["template"]["spec"]
    (written,) = [one for one in spec["initContainers" if native else "containers"] if one["name"] == sidecar.NAME]
    made = sidecar.container(replace(shape(native=native), secret="shop-tls", image=written["image"]), settings(), 8080)
    assert {**written, "env": []} == {**made, "env": []}
    assert written["env"][:2] == made["env"]
    assert spec["volumes"] == [{"name": sidecar.VOLUME, "secret": {"secretName": "shop-tls"}}]


def test_how_the_app_waits() -> None:
    """By Kubernetes' own sleep, or before it had one by the app's."""
    assert sidecar.pre_stop(shape(), 5) == {"sleep": {"seconds": 5}}
    assert sidecar.pre_stop(shape(sleep_action=False), 5) == {"exec": {"command": ["sleep", "5"]}}
