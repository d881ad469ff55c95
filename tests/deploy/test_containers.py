"""deploy/podman and deploy/compose: their variables, ports, mounts and times are those of the sidecar."""

from pathlib import Path

import pytest

from tests.deploy.test_kustomize import at, named
from tests.e2e.test_certificate_sources import documents
from tlsproxy.chassis.environment import read
from tlsproxy.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
PODMANS_PATIENCE = 10  # seconds, for a container to stop


@pytest.mark.parametrize("manifest", ["pod.yaml", "pod-rotating.yaml"])
def test_a_pod_of_podmans(manifest: str) -> None:
    """The certificate is mounted where it is looked for, and the sidecar ends within podman's patience."""
    (pod,) = documents(DEPLOY / "podman" / manifest)
    sidecar = named(at(pod, "spec", "containers"), "tlsproxy")
    environment = at(sidecar, "env")
    assert isinstance(environment, list)
    reading = read(Settings, {one["name"]: one["value"] for one in environment})
    known = reading.settings
    assert reading.warnings == ()
    assert known.drain_delay + known.drain_timeout < PODMANS_PATIENCE
    security = at(sidecar, "securityContext")
    assert at(security, "readOnlyRootFilesystem") is True
    assert at(security, "allowPrivilegeEscalation") is False
    assert at(security, "capabilities") == {"drop": ["ALL"]}
    assert at(sidecar, "ports", 0, "containerPort") == known.listen_port
    assert at(sidecar, "volumeMounts", 0, "mountPath") == str(known.cert_dir / known.cert_name[0])
    assert at(sidecar, "volumeMounts", 0, "name") == at(pod, "spec", "volumes", 0, "name")
    app = named(at(pod, "spec", "containers"), "app")
    assert str(known.app_port) in str(at(app, "command"))
    assert known.app_host in str(at(app, "command"))


def test_pods_of_podmans_differ_in_the_volume_alone() -> None:
    """What is told of the one holds for the other."""
    one, other = (documents(DEPLOY / "podman" / name)[0] for name in ("pod.yaml", "pod-rotating.yaml"))
    del one["spec"]["volumes"], other["spec"]["volumes"]
    assert one == other


def test_compose() -> None:
    """The sidecar finds the app by its name, ends before it in the time that draining may take, and can do little."""
    (file,) = documents(DEPLOY / "compose" / "compose.yaml")
    sidecar = at(file, "services", "tlsproxy")
    environment = at(sidecar, "environment")
    assert isinstance(environment, dict)
    reading = read(Settings, environment)
    known = reading.settings
    assert reading.warnings == ()
    assert at(sidecar, "depends_on") == [known.app_host]
    assert "ports" not in str(at(file, "services", known.app_host))
    assert str(known.app_port) in str(at(file, "services", known.app_host, "entrypoint"))
    assert at(sidecar, "ports") == [f"{known.listen_port}:{known.listen_port}"]
    assert at(sidecar, "read_only") is True
    assert at(sidecar, "cap_drop") == ["ALL"]
    assert at(sidecar, "security_opt") == ["no-new-privileges"]
    assert str(at(sidecar, "volumes", 0)).split(":")[1:] == [str(known.cert_dir), "ro"]
    patience = str(at(sidecar, "stop_grace_period"))
    assert float(patience.removesuffix("s")) > known.drain_delay + known.drain_timeout
