"""deploy/: the manifests of the companions name what these have, and share what has to be shared."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.deploy.test_kustomize import at, named
from tests.e2e.test_certificate_sources import documents
from tlsproxy import __version__
from tlsproxy.chassis.environment import Environment, read, variables
from tlsproxy.companions.configsync.settings import Settings as ConfigsyncSettings
from tlsproxy.companions.topz.settings import Settings as TopzSettings
from tlsproxy.settings import Settings

ROOT = Path(__file__).parents[2]
SETTINGS: Mapping[str, type[Environment]] = {
    "tlsproxy": Settings,
    "topz": TopzSettings,
    "configsync": ConfigsyncSettings,
}
TOPZ = ("kubernetes/topz.yaml", "podman/topz.yaml")
CONFIGSYNC = ("kubernetes/configsync.yaml", "kubernetes/configsync-configmap.yaml", "podman/configsync.yaml")
KUBERNETES = tuple(manifest for manifest in (*TOPZ, *CONFIGSYNC) if manifest.startswith("kubernetes/"))
VERSIONS = {"topz": ("1.25", "1.29", "1.36"), "configsync": ("1.29", "1.33", "1.36")}
WHERE = {"Pod": ("spec",), "Deployment": ("spec", "template", "spec")}
"""The pod's part of a document, by its kind."""
each = pytest.mark.parametrize("manifest", [*TOPZ, *CONFIGSYNC])
of_kubernetes = pytest.mark.parametrize("manifest", KUBERNETES)


def spec(manifest: str) -> dict[str, object]:
    """The pod's."""
    for one in documents(ROOT / "deploy" / manifest):
        if at(one, "kind") in WHERE:
            found = at(one, *WHERE[str(at(one, "kind"))])
    assert isinstance(found, dict)
    return found


def containers(manifest: str) -> list[dict[str, object]]:
    """All of the pod."""
    return [*spec(manifest).get("initContainers", []), *at(spec(manifest), "containers")]  # type: ignore[misc]  # lists


def sidecars(manifest: str) -> Iterable[tuple[dict[str, object], Environment]]:
    """Those of the family, with what they make of their variables."""
    for container in containers(manifest):
        if container["name"] in SETTINGS:
            settings = SETTINGS[str(container["name"])]
            environment = at(container, "env")
            assert isinstance(environment, list)
            reading = read(settings, {one["name"]: one["value"] for one in environment})
            assert reading.warnings == ()
            yield container, reading.settings


def user(manifest: str, container: dict[str, object]) -> tuple[object, object]:
    """Whom it runs as: its own, or the pod's, or empty for the image's."""
    contexts = (container.get("securityContext", {}), spec(manifest).get("securityContext", {}))
    number, group = ([at(one, key) for one in contexts if key in one] for key in ("runAsUser", "runAsGroup"))  # type: ignore[operator]  # mappings
    return (number or [""])[0], (group or [""])[0]


@each
def test_the_processes_are_shared(manifest: str) -> None:
    """Both need to see those of the app."""
    assert spec(manifest)["shareProcessNamespace"] is True


@each
def test_they_can_do_little_and_run_as_the_images_user(manifest: str) -> None:
    """As the proxy: no root, no capability, nothing to write to; the number is the Dockerfile's."""
    found = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found
    for container, _ in sidecars(manifest):
        security = at(container, "securityContext")
        assert at(security, "readOnlyRootFilesystem") is True
        assert at(security, "allowPrivilegeEscalation") is False
        assert at(security, "capabilities") == {"drop": ["ALL"]}
        assert user(manifest, container) == tuple(map(int, found.groups()))
        if manifest in KUBERNETES:
            assert at(security, "seccompProfile") == {"type": "RuntimeDefault"}
            assert "'runAsNonRoot': True" in str((security, spec(manifest).get("securityContext")))


@of_kubernetes
def test_images_and_ports_are_theirs(manifest: str) -> None:
    """Images have the version, ports are those of the settings, and probes ask there."""
    for container, settings in sidecars(manifest):
        name = str(container["name"])
        assert container["image"] == f"{name}:{__version__}"
        known = {getattr(settings, variable) for variable in type(settings).model_fields if variable.endswith("port")}
        ports = at(container, "ports")
        assert isinstance(ports, list)
        assert {port["containerPort"] for port in ports} <= known
        assert named(ports, f"{name}-admin") == {
            "name": f"{name}-admin",
            "containerPort": settings.admin_port,  # type: ignore[attr-defined]  # each has one
        }
        for probe, path in (("startupProbe", "/startupz"), ("livenessProbe", "/livez")):
            assert at(container, probe, "httpGet") == {"path": path, "port": f"{name}-admin"}


@of_kubernetes
def test_the_app_is_served_whatever_becomes_of_them(manifest: str) -> None:
    """None takes the pod out of its Service, and none takes more memory than it should."""
    for container, _ in sidecars(manifest):
        assert "readinessProbe" not in container
        assert container["name"] == "tlsproxy" or at(container, "resources", "limits", "memory")


@each
def test_files_are_where_they_are_looked_for(manifest: str) -> None:
    """Tokens and certificates are mounted, and each mount is of a volume of the pod."""
    volumes = at(spec(manifest), "volumes")
    for container in containers(manifest):
        for mount in container.get("volumeMounts", []):  # type: ignore[attr-defined]  # a list
            assert named(volumes, mount["name"])
    for container, settings in sidecars(manifest):
        mounts = {mount["mountPath"] for mount in at(container, "volumeMounts")}  # type: ignore[attr-defined]  # a list
        files = {str(getattr(settings, name, None)) for name in ("token_file",)} - {"None"}
        if isinstance(settings, Settings):
            files |= {str(settings.cert_dir / name / "tls.crt") for name in settings.cert_name}
        assert {str(Path(file).parent) for file in files} <= mounts


@pytest.mark.parametrize("manifest", TOPZ)
def test_topz_is_seen_over_https_alone(manifest: str) -> None:
    """The proxy is in front of it, it listens nowhere else, and it wants a token."""
    ((_, topz), (_, proxy)) = sidecars(manifest)
    assert isinstance(topz, TopzSettings)
    assert isinstance(proxy, Settings)
    assert (proxy.app_host, proxy.app_port) == (topz.host, topz.port)
    assert topz.token_file is not None


@pytest.mark.parametrize("manifest", CONFIGSYNC)
def test_configsync_and_the_app_have_a_volume_and_a_user_in_common(manifest: str) -> None:
    """What the one writes the other reads, and can't write; the one may tell the other, which is started anew."""
    ((ours, settings),) = sidecars(manifest)
    assert isinstance(settings, ConfigsyncSettings)
    (app,) = (container for container in containers(manifest) if container["name"] != "configsync")
    assert at(app, "volumeMounts") == [{"name": "config", "mountPath": str(settings.dir), "readOnly": True}]
    assert {"name": "config", "mountPath": str(settings.dir)} in at(ours, "volumeMounts")  # type: ignore[operator]  # a list
    assert named(at(spec(manifest), "volumes"), "config") == {"name": "config", "emptyDir": {}}
    assert spec(manifest)["restartPolicy"] == "Always"
    assert settings.tell == "end"
    assert str(settings.tell_process) in {f"name:{app['name']}", "label:APP=shop"}
    # podman's app has the image of the proxy, and so its user.
    assert user(manifest, app) in {user(manifest, ours), ("", "")}
    assert user(manifest, app) != ("", "") or app["image"] == "localhost/tlsproxy"
    assert settings.health is not None


def test_the_role_is_what_configsync_needs() -> None:
    """The service account of the pod may list and watch the one ConfigMap, and nothing else."""
    account, role, binding, deployment = documents(ROOT / "deploy" / CONFIGSYNC[1])
    (address,) = next(iter(sidecars(CONFIGSYNC[1])))[1].sources  # type: ignore[attr-defined]  # configsync's
    assert at(role, "rules") == [
        {
            "apiGroups": [""],
            "resources": [f"{address.kind}s"],
            "resourceNames": [address.name],
            "verbs": ["list", "watch"],
        }
    ]
    name = at(account, "metadata", "name")
    assert at(deployment, "spec", "template", "spec", "serviceAccountName") == name
    assert at(binding, "subjects") == [{"kind": "ServiceAccount", "name": name}]
    assert at(binding, "roleRef", "name") == at(role, "metadata", "name")


@of_kubernetes
def test_kubernetes_takes_it(manifest: str) -> None:
    """The schemas of old and new versions know every field."""
    validation = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for version in VERSIONS["topz" if manifest in TOPZ else "configsync"]:
        for one in documents(ROOT / "deploy" / manifest):
            validation.validate(dict[str, object](one), version, strict=True)


def test_every_variable_of_a_secret_is_a_file() -> None:
    """No manifest has a token or password in it."""
    secrets = {
        variable.name
        for settings in SETTINGS.values()
        for variable in variables(settings)
        if re.search("TOKEN$|PASSWORD$", variable.name)
    }
    text = "".join((ROOT / "deploy" / manifest).read_text() for manifest in (*TOPZ, *CONFIGSYNC))
    assert secrets
    assert not {name for name in secrets if re.search(rf"\b{name},", text)}
