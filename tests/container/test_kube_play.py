"""deploy/podman: `podman kube play` starts the pods, and what the page says of them is so."""

import base64
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from tests.container.podman import DEPLOY, Load, adapted, podman, serial, status
from tests.e2e.certificates import Pair, issue, swap_secret
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port

DECODES_SINCE = (4, 4)
"""Before it, podman writes a Secret's text into the volume as it is, without reading it as base64."""


@contextmanager
def played(manifest: str, directory: Path) -> Iterator[None]:
    """The manifest's pod runs, and is gone afterwards."""
    file = directory / "pod.yaml"
    file.write_text(manifest)
    podman("kube", "play", file)
    try:
        yield
    finally:
        podman("kube", "down", file)


def secret(name: str, pair: Pair) -> str:
    """The Secret's manifest, in the words that this podman understands."""
    found = re.search(r"(\d+)\.(\d+)", podman("--version"))
    assert found
    decodes = tuple(map(int, found.groups())) >= DECODES_SINCE
    data = {"tls.crt": pair.chain, "tls.key": pair.key}
    lines = [
        f"  {key}: {base64.b64encode(value).decode()}"
        if decodes
        else f"  {key}: |\n" + "".join(f"    {line}\n" for line in value.decode().splitlines())
        for key, value in data.items()
    ]
    head = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ntype: kubernetes.io/tls\ndata:\n"
    return head + "\n".join(lines)


@pytest.fixture
def authority() -> trustme.CA:
    """Who signs."""
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


def test_a_certificate_in_a_secret(tmp_path: Path, authority: trustme.CA) -> None:
    """Legacy app, sidecar and Secret: requests are answered over verified HTTPS."""
    name, port = f"secret-{os.getpid()}", free_port()
    file = tmp_path / "secret.yaml"
    file.write_text(secret(f"{name}-tls", issue(authority)))
    podman("secret", "create", f"{name}-tls", file)
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
