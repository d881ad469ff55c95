"""Where certificates come from: the examples in deploy/ fit the sidecar, and what certbot's hook writes is served."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import trustme
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from tests.e2e.certificates import issue
from tests.e2e.commands import run
from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tlsproxy.tls.files import layouts

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "deploy" / "examples" / "certificates"
PODS = sorted(set(EXAMPLES.glob("*.yaml")) - set(EXAMPLES.glob("*.compose.yaml")))
COMPOSE = EXAMPLES / "certbot.compose.yaml"
HOOK = EXAMPLES / "certbot-deploy-hook"
CERT_DIR = Path("/certs")
# Debian's python3, which has PyYAML where its package is installed; the virtual environment has none.
PYTHON = Path("/usr/bin/python3")
PARSE = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)"


class Part(BaseModel):
    """A part of a manifest; what is not named in it is passed over."""

    model_config = ConfigDict(alias_generator=to_camel, strict=True)


class Variable(Part):
    name: str
    value: str


class Mount(Part):
    """A volume in a container. `subPath` is not among what it may say: such a mount never changes."""

    model_config = ConfigDict(extra="forbid")
    name: str
    mount_path: Path = Field(strict=False)
    read_only: bool = False


class Container(Part):
    image: str
    env: list[Variable] = []
    volume_mounts: list[Mount] = []


class Secret(Part):
    secret_name: str


class Volume(Part):
    name: str
    secret: Secret | None = None


class Pod(Part):
    containers: list[Container]
    init_containers: list[Container] = []
    volumes: list[Volume]


class Service(Part):
    image: str
    environment: dict[str, str] = {}
    volumes: list[str] = []


def documents(manifest: Path) -> list[dict[str, dict[str, object]]]:
    """A file's documents, as a YAML parser sees them."""
    done = subprocess.run([PYTHON, "-c", PARSE], input=manifest.read_bytes(), capture_output=True, check=False)
    if b"No module named 'yaml'" in done.stderr:
        pytest.skip("Debian's python3-yaml is not installed")
    assert done.returncode == 0, done.stderr.decode()
    parsed: list[dict[str, dict[str, object]]] = json.loads(done.stdout)
    return parsed


def pod(manifest: Path) -> Pod:
    """The pod of the manifest's deployment."""
    (spec,) = (one["spec"] for one in documents(manifest) if str(one["kind"]) == "Deployment")
    template = spec["template"]
    assert isinstance(template, dict)
    return Pod.model_validate(template["spec"])


def sidecar_of(manifest: Path) -> Container:
    """The container with our image."""
    (found,) = (container for container in pod(manifest).containers if container.image == "tlsproxy")
    return found


def services() -> dict[str, Service]:
    """Those of the Compose file."""
    (document,) = documents(COMPOSE)
    return {name: Service.model_validate(one) for name, one in document["services"].items()}


def settings(manifest: Path) -> dict[str, str]:
    """The sidecar's variables, without their prefix."""
    if manifest == COMPOSE:
        given = services()["tlsproxy"].environment
    else:
        given = {variable.name: variable.value for variable in sidecar_of(manifest).env}
    assert all(name.startswith("TLSPROXY_") for name in given)
    return {name.removeprefix("TLSPROXY_"): value for name, value in given.items()}


def places(manifest: Path) -> set[Path]:
    """Where the sidecar will look for its certificate."""
    return {file for one in layouts(CERT_DIR, settings(manifest)["CERT_NAME"]) for file in one.files}


@pytest.mark.parametrize("manifest", [*PODS, COMPOSE], ids=lambda path: path.name)
def test_the_settings_are_taken(manifest: Path) -> None:
    """The variables of an example are known and have values that are allowed."""
    done = run("config", **settings(manifest))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("manifest", PODS, ids=lambda path: path.name)
def test_the_certificate_is_mounted_where_it_is_looked_for(manifest: Path) -> None:
    """The sidecar has one volume, read-only, as a whole directory, in which its certificate is looked for."""
    (mount,) = sidecar_of(manifest).volume_mounts
    assert mount.read_only
    assert mount.mount_path in {place.parent for place in places(manifest)}
    for container in (*pod(manifest).containers, *pod(manifest).init_containers):
        for other in container.volume_mounts:
            assert other.name in {volume.name for volume in pod(manifest).volumes}
            assert (other.name == mount.name) <= (other.mount_path == mount.mount_path)


@pytest.mark.parametrize("manifest", PODS, ids=lambda path: path.name)
def test_what_is_written_is_what_is_read(manifest: Path) -> None:
    """Every certificate and key that an example names is one that the sidecar looks for."""
    named = {Path(path) for path in re.findall(r"/certs/[a-z/.]+\.(?:crt|key|pem)", manifest.read_text())}
    assert named <= places(manifest)
    secrets = [volume.secret for volume in pod(manifest).volumes if volume.name == "certificate" and volume.secret]
    issued = [one["spec"]["secretName"] for one in documents(manifest) if str(one["kind"]) == "Certificate"]
    assert [secret.secret_name for secret in secrets] == issued
    assert named or issued


def test_certbots_volumes_fit() -> None:
    """The sidecar has the hook's directory read-only, and nothing of /etc/letsencrypt; the hook is what is mounted."""
    assert services()["tlsproxy"].volumes == ["certificates:/certs:ro"]
    assert {"certificates:/certs", f"./{HOOK.name}:/hook:ro"} <= set(services()["certbot"].volumes)


def test_what_certbots_hook_hands_over_is_served(sidecar: Launch, authority: trustme.CA, tmp_path: Path) -> None:
    """The hook lays a pair down where the sidecar serves it; after a renewal the next one is, within a moment."""
    certificates = tmp_path / "certs"

    def renew() -> str:
        pair = issue(authority)
        lineage = tmp_path / "live" / "shop.example"
        lineage.mkdir(parents=True, exist_ok=True)
        (lineage / "fullchain.pem").write_bytes(pair.chain)
        (lineage / "privkey.pem").write_bytes(pair.key)
        given = {"RENEWED_LINEAGE": str(lineage), "CERTS": str(certificates), "GROUP": str(os.getgid())}
        subprocess.run([HOOK], env={"PATH": os.environ["PATH"], **given}, check=True)
        return pair.serial

    first = renew()
    process = sidecar(CERT_DIR=certificates, CERT_NAME="shop.example", CERT_RESYNC_PERIOD="1h")
    assert process.certificate()["serial"] == first
    second = renew()
    wait_until(lambda: process.certificate()["serial"] == second, "the renewed certificate")
    handed = sorted((certificates / "shop.example").iterdir())
    assert [(path.name, path.stat().st_mode & 0o777) for path in handed] == [
        ("fullchain.pem", 0o440),
        ("privkey.pem", 0o440),
    ]


def test_every_example_is_told_of() -> None:
    """The page on sources links to each file of the examples."""
    page = (ROOT / "docs" / "certificate-sources.md").read_text()
    assert [path.name for path in sorted(EXAMPLES.iterdir()) if f"certificates/{path.name})" not in page] == []
