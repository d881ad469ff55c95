"""The admin port: health, readiness and status, for probes and for people."""

import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port
from tests.e2e.raw_client import RawClient, get
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar, looking_into
from tlsproxy import __version__

PATHS = ["/livez", "/startupz", "/readyz", "/status", "/metrics"]


@pytest.mark.parametrize("path", PATHS)
def test_each_path_answers_get_and_head(shared_sidecar: Sidecar, path: str) -> None:
    """Each path answers 200 to GET, and to HEAD the same without the body; neither may be cached."""
    full, bare = shared_sidecar.ask_admin(path), shared_sidecar.ask_admin(path, "HEAD")
    assert (full.status, bare.status) == (200, 200)
    assert full.body
    assert full.get(b"Content-Type") == bare.get(b"Content-Type")
    assert full.get(b"Cache-Control") == b"no-store"
    assert full.get(b"Server") is None


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics/", "/livez/../status", "//status", "/STATUS"])
def test_nothing_else_is_there(shared_sidecar: Sidecar, path: str) -> None:
    """Every other path is 404."""
    assert shared_sidecar.ask_admin(path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_takes_no_writes(shared_sidecar: Sidecar, method: str) -> None:
    """Every other method is 405, with what is allowed."""
    answer = shared_sidecar.ask_admin("/status", method)
    assert (answer.status, answer.get(b"Allow")) == (405, b"GET, HEAD")


def test_probes_share_a_connection(shared_sidecar: Sidecar) -> None:
    """Connections are kept, as Prometheus keeps its."""
    with RawClient(shared_sidecar.admin_port) as client:
        assert [client.get(path).status for path in PATHS] == [200] * 5


def test_readiness_says_what_holds(shared_sidecar: Sidecar) -> None:
    """/readyz has a line for each condition."""
    lines = shared_sidecar.ask_admin("/readyz").body.decode().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["[+]certificate", "[+]listening", "[+]serving", "[+]app"]


def test_an_absent_app_is_not_ready_but_started(sidecar: Launch) -> None:
    """While the app refuses connections readiness says so; startup does not wait for it, and it is noticed."""
    port = free_port()
    process = sidecar(APP_PORT=port, APP_CHECK="tcp")
    answer = process.ask_admin("/readyz")
    assert answer.status == 503
    assert b"[-]app: connection refused\n" in answer.body
    assert b"[+]certificate\n" in answer.body
    assert process.ask_admin("/startupz").status == process.ask_admin("/livez").status == 200
    with ScriptedApp(port=port):
        wait_until(lambda: process.ask_admin("/readyz").status == 200, "ready")
    told: list[bytes] = []

    def is_absent() -> bool:
        told.append(process.ask_admin("/readyz").body)
        return b"[-]app: connection refused\n" in told[-1]

    wait_until(is_absent, "not ready again")
    assert any(b"[+]app: connection refused, this once\n" in body for body in told)


def test_a_path_of_the_app_may_be_asked(sidecar: Launch, app: ScriptedApp) -> None:
    """With APP_CHECK=/path readiness is that path's answer, and prints its status when it is bad."""
    app.answer(lambda request: response(status="500 Broken" if request.target == b"/healthz?deep=1" else "200 OK"))
    process = sidecar(APP_CHECK="/healthz?deep=1")
    answer = process.ask_admin("/readyz")
    assert answer.status == 503
    assert b"[-]app: answered 500 to GET /healthz?deep=1\n" in answer.body
    app.answer(response())
    wait_until(lambda: process.ask_admin("/readyz").status == 200, "ready")
    assert {request.target for request in app.requests} == {b"/healthz?deep=1"}


def test_the_app_may_be_left_alone(shared_sidecar: Sidecar, app: ScriptedApp) -> None:
    """With APP_CHECK=off the app is not asked."""
    assert b"[+]app\n" in shared_sidecar.ask_admin("/readyz").body
    assert app.connections == []


def test_it_may_be_off(sidecar: Launch, app: ScriptedApp) -> None:
    """With ADMIN_PORT=0 there is no admin port, and HTTPS is served."""
    process = sidecar(ADMIN_PORT=0)
    assert process.get().status == 200
    assert len(listening_ports(process.pid)) == 1
    assert "admin on port" not in process.stderr()


def test_status_tells_an_operator_what_runs(shared_sidecar: Sidecar, certificate_dir: Path) -> None:
    """/status has version, uptime, settings, the certificate with its file and dates, connections and the app."""
    status = shared_sidecar.status()
    assert status["version"] == __version__
    uptime = status["uptime_seconds"]
    assert isinstance(uptime, float)
    started = datetime.fromisoformat(str(status["started"]))
    assert abs((datetime.now(UTC) - started).total_seconds() - uptime) < 5
    settings = status["settings"]
    assert isinstance(settings, dict)
    assert settings["TLSPROXY_LISTEN_PORT"] == str(shared_sidecar.port)
    assert settings["TLSPROXY_RESPONSE_TIMEOUT"] == "60s"
    certificate = shared_sidecar.certificate()
    assert certificate["names"] == ["localhost", "127.0.0.1"]
    assert certificate["files"] == [str(certificate_dir / "tls.crt"), str(certificate_dir / "tls.key")]
    assert "trustme" in str(certificate["issuer"])
    assert datetime.fromisoformat(str(certificate["not_after"])) > datetime.now(UTC)
    last = certificate["last_reload"]
    assert isinstance(last, dict)
    assert last["result"] == "loaded"
    with shared_sidecar.connect() as client:
        assert (client.tls.getpeercert() or {})["serialNumber"] == certificate["serial"]


def test_status_holds_no_secrets(shared_sidecar: Sidecar, certificate_dir: Path) -> None:
    """Nothing of the private key is in /status."""
    text = shared_sidecar.ask_admin("/status").body
    assert b"PRIVATE" not in text
    assert all(line not in text for line in (certificate_dir / "tls.key").read_bytes().splitlines())


def test_connections_are_counted_by_state(shared_sidecar: Sidecar, app: ScriptedApp) -> None:
    """/status and /metrics tell connections in the handshake, idle and active, and those to the app."""
    go = threading.Event()

    def script(connection: AppConnection) -> None:
        while connection.read_request():
            go.wait(8)
            connection.send(response())

    app.script(script)
    before = shared_sidecar.metrics()
    with (
        shared_sidecar.connect_plain(),
        shared_sidecar.connect(),
        shared_sidecar.connect(),
        shared_sidecar.connect() as active,
    ):
        active.send(get())
        app.wait_for_requests(1)

        def gained(name: str, state: str) -> float:
            return shared_sidecar.metrics().value(name, state=state) - before.value(name, state=state)

        wait_until(lambda: gained("tlsproxy_connections", "handshake") == 1, "one in the handshake")
        assert gained("tlsproxy_connections", "idle") == 2
        assert gained("tlsproxy_connections", "active") == 1
        assert gained("tlsproxy_app_connections", "lent") == 1
        connections = shared_sidecar.status()["connections"]
        assert isinstance(connections, dict)
        assert connections["active"] == before.value("tlsproxy_connections", state="active") + 1
        go.set()
        assert active.read_response().status == 200


def listening_ports(pid: int) -> set[int]:
    """The TCP ports on which a process listens (proc(5))."""
    own = set()
    with looking_into():
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                own.add(str(link.readlink()))
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports
