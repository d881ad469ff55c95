"""deploy/podman: `podman kube play` starts the pods, and what the page says of them is so."""

import os
import re
from pathlib import Path

import pytest
import trustme

from tests.container.podman import DEPLOY, ROOT, Load, adapted, played, podman, run, serial, status
from tests.e2e.certificates import Pair, issue, swap_secret
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port

PAGE = ROOT / "docs" / "podman.md"
DECODES_SINCE = (4, 4)
"""Before it, podman writes a Secret's text into the volume as it is, without reading it as base64."""


def make_secret(name: str, pair: Pair, directory: Path) -> None:
    """Make the Secret of a pair by the page's own commands, those that are for this podman."""
    found = re.search(r"(\d+)\.(\d+)", podman("--version"))
    assert found
    decodes = tuple(map(int, found.groups())) >= DECODES_SINCE
    section = PAGE.read_text().partition("\n## A Secret\n")[2].partition("\n## ")[0]
    newer, older = re.findall(r"^```[a-z]*\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    commands = (newer if decodes else older).replace("podman kube play deploy/podman/pod.yaml\n", "")
    certificates = directory / "certs" / f"{name}-tls"
    certificates.mkdir(parents=True)
    (certificates / "tls.crt").write_bytes(pair.chain)
    (certificates / "tls.key").write_bytes(pair.key)
    run("bash", "-c", f"cd {directory} && {commands.replace('shop', name)}")


@pytest.fixture
def authority() -> trustme.CA:
    """Who signs."""
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


def test_a_certificate_in_a_secret(tmp_path: Path, authority: trustme.CA) -> None:
    """Legacy app, sidecar and Secret: requests are answered over verified HTTPS."""
    name, port = f"secret-{os.getpid()}", free_port()
    make_secret(name, issue(authority), tmp_path)
    try:
        with played(adapted(DEPLOY / "podman" / "pod.yaml", name, port), tmp_path):
            wait_until(lambda: "serving HTTPS" in podman("logs", f"{name}-tlsproxy"), "the sidecar serves", 20)
            with Load(port, authority.cert_pem.bytes().decode()) as load:
                wait_until(lambda: load.answered or load.lost or load.not_let_in, "an answer")
            assert (load.lost, load.not_let_in) == ([], 0)
    finally:
        podman("secret", "rm", f"{name}-tls")
        podman("volume", "rm", "--force", f"{name}-tls")


def test_a_rotation_under_load(tmp_path: Path, authority: trustme.CA) -> None:
    """The kubelet's swap of `..data` is followed, no request is lost to it nor to the end, which is with status 0."""
    name, port = f"rotating-{os.getpid()}", free_port()
    mounted = tmp_path / "certs" / f"{name}-tls"
    mounted.mkdir(parents=True)
    first = issue(authority)
    swap_secret(mounted, first)
    manifest = adapted(DEPLOY / "podman" / "pod-rotating.yaml", name, port)
    with played(manifest.replace("/etc/tlsproxy", str(tmp_path / "certs")), tmp_path):
        sidecar = f"{name}-tlsproxy"
        wait_until(lambda: "serving HTTPS" in podman("logs", sidecar), "the sidecar serves", 20)
        assert serial(port) == first.serial
        with Load(port, authority.cert_pem.bytes().decode()) as load:
            wait_until(lambda: load.answered > 20, "answers")
            second = issue(authority)
            swap_secret(mounted, second)
            wait_until(lambda: serial(port) == second.serial, "the new certificate is served", 10)
            before = load.answered
            wait_until(lambda: load.answered > before + 20, "answers under the new certificate")
            assert (load.lost, load.not_let_in) == ([], 0)
            podman("stop", sidecar)
        assert load.lost == []
        assert status(sidecar) == 0
        assert "Traceback" not in podman("logs", sidecar)
