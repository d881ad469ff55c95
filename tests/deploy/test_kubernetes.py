"""deploy/kubernetes: what the manifests name is what the sidecar has, and their times add up."""

import re
from functools import cache
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from tests.e2e.test_certificate_sources import documents
from tlsproxy.chassis.environment import read
from tlsproxy.settings import Settings
from tlsproxy.sidecar import APP_CHECK_WITHIN

ROOT = Path(__file__).parents[2]
NATIVE, ORDINARY = "sidecar-native.yaml", "sidecar-ordinary.yaml"


class Part(BaseModel):
    """A part of a manifest, all of whose fields are known here: a misspelled one would be passed over by nobody."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)


class Named(Part):
    name: str
    labels: dict[str, str] = {}


class Variable(Part):
    name: str
    value: str


class Port(Part):
    name: str
    container_port: int


class Mount(Part):
    name: str
    mount_path: str
    read_only: Literal[True]


class Get(Part):
    path: str
    port: str


class Probe(Part):
    http_get: Get
    period_seconds: int = 10
    timeout_seconds: int = 1
    failure_threshold: int = 3


class Resources(Part):
    requests: dict[str, str]


class Capabilities(Part):
    drop: list[str]


class Seccomp(Part):
    type: str


class Security(Part):
    allow_privilege_escalation: Literal[False]
    capabilities: Capabilities
    read_only_root_filesystem: Literal[True]
    run_as_group: int
    run_as_non_root: Literal[True]
    run_as_user: int
    seccomp_profile: Seccomp


class Sleep(Part):
    seconds: int


class Command(Part):
    command: list[str]


class PreStop(Part):
    sleep: Sleep | None = None
    exec: Command | None = None

    @property
    def seconds(self) -> int:
        """How long it takes."""
        if self.sleep is not None:
            return self.sleep.seconds
        assert self.exec is not None
        program, seconds = self.exec.command
        assert program == "sleep"
        return int(seconds)


class Lifecycle(Part):
    pre_stop: PreStop


class App(Part):
    name: str
    image: str
    lifecycle: Lifecycle


class Sidecar(Part):
    name: Literal["tlsproxy"]
    image: str
    restart_policy: Literal["Always"] | None = None
    env: list[Variable]
    ports: list[Port]
    volume_mounts: list[Mount]
    startup_probe: Probe
    readiness_probe: Probe
    liveness_probe: Probe
    resources: Resources
    security_context: Security


class Secret(Part):
    secret_name: str


class Volume(Part):
    name: str
    secret: Secret


class Pod(Part):
    termination_grace_period_seconds: int
    init_containers: list[Sidecar] = []
    containers: list[App | Sidecar]
    volumes: list[Volume]

    @property
    def app(self) -> App:
        (app,) = (container for container in self.containers if isinstance(container, App))
        return app

    @property
    def sidecar(self) -> Sidecar:
        (sidecar,) = (one for one in (*self.init_containers, *self.containers) if isinstance(one, Sidecar))
        return sidecar


class Template(Part):
    metadata: dict[str, dict[str, str]]
    spec: Pod


class Selector(Part):
    match_labels: dict[str, str]


class Strategy(Part):
    rolling_update: dict[str, int]


class DeploymentSpec(Part):
    replicas: int
    selector: Selector
    strategy: Strategy
    template: Template


class Deployment(Part):
    api_version: Literal["apps/v1"]
    kind: Literal["Deployment"]
    metadata: Named
    spec: DeploymentSpec


class ServicePort(Part):
    name: str
    port: int
    target_port: str


class ServiceSpec(Part):
    selector: dict[str, str]
    ports: list[ServicePort]


class Service(Part):
    api_version: Literal["v1"]
    kind: Literal["Service"]
    metadata: Named
    spec: ServiceSpec


@cache
def parsed(manifest: str) -> tuple[Deployment, Service]:
    deployment, service = documents(ROOT / "deploy" / "kubernetes" / manifest)
    return Deployment.model_validate(deployment), Service.model_validate(service)


def pod(manifest: str) -> Pod:
    return parsed(manifest)[0].spec.template.spec


def settings(manifest: str) -> Settings:
    """What the sidecar makes of its variables."""
    reading = read(Settings, {variable.name: variable.value for variable in pod(manifest).sidecar.env})
    assert reading.warnings == ()
    return reading.settings


both = pytest.mark.parametrize("manifest", [NATIVE, ORDINARY])


@both
def test_ports_are_the_sidecars(manifest: str) -> None:
    """The container's ports are those of the settings; Service and probes name them."""
    known, sidecar = settings(manifest), pod(manifest).sidecar
    ports = {port.name: port.container_port for port in sidecar.ports}
    assert ports == {"tlsproxy": known.listen_port, "tlsproxy-admin": known.admin_port}
    deployment, service = parsed(manifest)
    assert [(port.port, port.target_port) for port in service.spec.ports] == [(known.external_port, "tlsproxy")]
    labels = deployment.spec.template.metadata["labels"]
    assert service.spec.selector == deployment.spec.selector.match_labels == labels
    for probe in (sidecar.startup_probe, sidecar.readiness_probe, sidecar.liveness_probe):
        assert probe.http_get.port == "tlsproxy-admin"


@both
def test_probes_ask_what_they_are_for(manifest: str) -> None:
    """Each has its own path; the first waits longer than the sidecar for its certificate, the second for the app."""
    known, sidecar = settings(manifest), pod(manifest).sidecar
    startup, readiness, liveness = sidecar.startup_probe, sidecar.readiness_probe, sidecar.liveness_probe
    paths = [probe.http_get.path for probe in (startup, readiness, liveness)]
    assert paths == ["/startupz", "/readyz", "/livez"]
    assert startup.period_seconds * startup.failure_threshold > known.cert_wait
    assert readiness.timeout_seconds > APP_CHECK_WITHIN


@both
def test_the_certificate_is_where_it_is_looked_for(manifest: str) -> None:
    """The Secret is mounted under the name of the certificate."""
    known = settings(manifest)
    ((mount,), (volume,)) = pod(manifest).sidecar.volume_mounts, pod(manifest).volumes
    (name,) = known.cert_name
    assert (mount.name, mount.mount_path) == (volume.name, str(known.cert_dir / name))
    assert volume.secret.secret_name == name


@both
def test_it_runs_as_the_images_user(manifest: str) -> None:
    """The numbers are those of the Dockerfile."""
    security = pod(manifest).sidecar.security_context
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert user
    assert (security.run_as_user, security.run_as_group) == tuple(map(int, user.groups()))


def test_a_native_one_outlives_its_app() -> None:
    """It comes before the app and ends after it: the app stays until load balancers have noticed, and no longer."""
    known, native = settings(NATIVE), pod(NATIVE)
    assert native.init_containers == [native.sidecar]
    assert native.sidecar.restart_policy == "Always"
    assert known.drain_delay == 0
    stays = native.app.lifecycle.pre_stop.seconds
    assert stays >= read(Settings, {}).settings.drain_delay
    assert native.termination_grace_period_seconds >= stays + 10 + known.drain_timeout


def test_an_ordinary_one_has_its_app_until_it_has_drained() -> None:
    """Both are told at once, and the app stays for as long as the sidecar may take."""
    known, ordinary = settings(ORDINARY), pod(ORDINARY)
    assert ordinary.init_containers == []
    assert ordinary.sidecar.restart_policy is None
    stays = ordinary.app.lifecycle.pre_stop.seconds
    assert stays >= known.drain_delay + known.drain_timeout
    assert ordinary.termination_grace_period_seconds >= stays + 10
