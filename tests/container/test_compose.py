"""deploy/compose: podman-compose starts it, and ends it without losing a request."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.container.podman import DEPLOY, Load, adapted, make_pair, podman, run, serial, status
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port

NAME = f"compose-{os.getpid()}"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Where the sidecar of a running project answers; the project is gone afterwards."""
    if shutil.which("podman-compose") is None:
        pytest.skip("podman-compose is not installed")
    port = free_port()
    (tmp_path / "compose.yaml").write_text(adapted(DEPLOY / "compose" / "compose.yaml", NAME, port))
    make_pair(tmp_path / "certs" / f"{NAME}-tls")
    project = ("podman-compose", "--file", tmp_path / "compose.yaml", "--project-name", NAME)
    run(*project, "up", "--detach")
    try:
        wait_until(lambda: "serving HTTPS" in podman("logs", f"{NAME}_tlsproxy_1"), "the sidecar serves", 20)
        yield port
    finally:
        run(*project, "down", "--timeout", "0")
        podman("network", "rm", f"{NAME}_default")


def test_an_app_found_by_its_name(port: int, tmp_path: Path) -> None:
    """Verified HTTPS and no other way in, a rotation that is followed, an end with status 0; no request is lost."""
    assert podman("port", f"{NAME}_{NAME}_1") == ""
    assert podman("port", f"{NAME}_tlsproxy_1").split() == ["8443/tcp", "->", f"0.0.0.0:{port}"]
    certificates = tmp_path / "certs" / f"{NAME}-tls"
    with Load(port, (certificates / "ca.crt").read_text()) as load:
        wait_until(lambda: load.answered > 20, "answers")
        podman("stop", "--time", "30", f"{NAME}_tlsproxy_1")
    assert load.lost == []
    assert status(f"{NAME}_tlsproxy_1") == 0
    podman("start", f"{NAME}_tlsproxy_1")
    wait_until(lambda: podman("logs", f"{NAME}_tlsproxy_1").count("serving HTTPS") == 2, "it serves again", 20)
    before = serial(port)
    make_pair(certificates)
    wait_until(lambda: serial(port) != before, "the new certificate is served", 10)
