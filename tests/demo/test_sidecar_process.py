"""What the demo's child process is given and tells."""

import socket
from pathlib import Path

import pytest

from tests.e2e.polling import wait_until
from tlsproxy.demo.sidecar_process import StartError, reserved_ports, sidecar_process


def test_reserved_port_is_given_to_nobody_else() -> None:
    """A reserved port can be listened on by its number."""
    with reserved_ports(2) as ports, socket.socket() as listener:
        assert len(set(ports)) == 2
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", ports[0]))
        listener.listen()


def test_settings_of_ours_do_not_leak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child has the given settings alone, and its end before it is ready is an error that tells its status."""
    monkeypatch.setenv("TLSPROXY_APP_PORT", "leaked")
    monkeypatch.setenv("tlsproxy_misspelled", "leaked")
    settings = {"LISTEN_PORT": "none", "LOG_FORMAT": "text"}
    with sidecar_process(settings, 1, tmp_path / "diagnostics") as sidecar:
        with pytest.raises(StartError, match="status 2"):
            sidecar.await_ready()
        told = "\n".join(sidecar.diagnostics())
        assert "TLSPROXY_LISTEN_PORT='none'" in told
        assert "leaked" not in told
        assert sidecar.diagnostics() == []


def test_stopped_with_its_block(tmp_path: Path) -> None:
    """Whatever it is doing, the process has ended as asked after its block, and may be stopped twice."""
    settings = {"ADMIN_PORT": 0, "CERT_DIR": tmp_path / "absent", "LOG_FORMAT": "text"}
    with sidecar_process(settings, 1, tmp_path / "diagnostics") as sidecar:
        wait_until(sidecar.diagnostics, "it complains that there is no certificate")
    assert sidecar.status == 0
    sidecar.stop()
