"""MODE=tcp: TLS is taken off and bytes are passed, whatever they mean. Programs are in test_tcp_programs.py."""

import signal
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port
from tests.e2e.raw_client import TlsClient
from tests.e2e.scripted_app import AppConnection, ScriptedApp
from tests.e2e.sidecar_process import Sidecar


def echo(connection: AppConnection) -> None:
    """Send back whatever comes, until the client has said all."""
    while data := connection.reader.some():
        connection.send(data)


@pytest.fixture(scope="module")
def session_relay(launch: Launch, session_app: ScriptedApp) -> Iterator[Sidecar]:
    with launch(MODE="tcp", ALPN="h2,mqtt", APP_PORT=session_app.port) as process:
        yield process


@pytest.fixture
def relay(session_relay: Sidecar, app: ScriptedApp) -> Sidecar:
    """A sidecar in tcp mode in front of `app`, which echoes; not to be stopped."""
    app.script(echo)
    session_relay.forget_lines()
    return session_relay


@pytest.fixture(scope="module")
def module_lonely_relay(launch: Launch) -> Iterator[Sidecar]:
    with launch(MODE="tcp", APP_PORT=free_port(), APP_WAIT="500ms") as process:
        yield process


@pytest.fixture
def lonely_relay(module_lonely_relay: Sidecar) -> Sidecar:
    """A sidecar in tcp mode that waits half a second for an app that never comes; not to be stopped."""
    module_lonely_relay.forget_lines()
    return module_lonely_relay


@pytest.fixture
def client(relay: Sidecar) -> Iterator[TlsClient]:
    with relay.connect() as connection:
        yield connection


def test_bytes_pass_both_ways(client: TlsClient, relay: Sidecar) -> None:
    """Bytes arrive as they are; a line is written when the connection is over, and no request is counted."""
    said = (b"\0\r\n\r\n", b"GET / HTTP/9.9\n\n", b"x" * 1_000_000)
    size = sum(map(len, said))
    for data in said:
        client.send(data)
        assert client.reader.exactly(len(data)) == data
    assert relay.metrics().value("tlsproxy_tunnels") >= 1
    client.finish_sending()
    assert client.read_to_end() == b""
    assert client.ended == "close_notify"
    line = relay.wait_for_line(received=size)
    assert (line["status"], line["reason"], line["method"], line["sent"]) == (200, None, "-", size)
    assert line["tls"] == "TLSv1.3"
    assert not relay.metrics().by("tlsproxy_requests_total", "code")


def test_what_comes_with_the_handshake_is_not_lost(relay: Sidecar) -> None:
    """A client's first bytes may come in one packet with the end of its handshake."""
    with relay.connect(handshake=False) as client:
        client.handshake(unsent=True)
        client.send(b"early")
        assert client.reader.exactly(5) == b"early"


def test_the_app_may_speak_first(app: ScriptedApp, relay: Sidecar) -> None:
    """A client that waits to be greeted is."""

    def script(connection: AppConnection) -> None:
        connection.send(b"220 ready\r\n")
        connection.reader.rest()

    app.script(script)
    with relay.connect() as client:
        assert client.reader.exactly(11) == b"220 ready\r\n"


def test_the_client_half_closes(app: ScriptedApp, relay: Sidecar) -> None:
    """A client that has said all, even before it was joined with the app, is still answered."""
    app.script(lambda connection: connection.send(b"heard " + connection.reader.rest()))
    with relay.connect(handshake=False) as client:
        client.handshake(unsent=True)
        client.send(b"all")
        client.finish_sending()
        assert client.read_to_end() == b"heard all"
        assert client.ended == "close_notify"


def test_a_broken_record_is_no_end(app: ScriptedApp, relay: Sidecar) -> None:
    """Records that were tampered with look to the app like a reset, also when it has ended its own direction."""
    ended: list[str] = []

    def script(connection: AppConnection) -> None:
        connection.finish_sending()
        ended.append(connection.wait_closed())

    app.script(script)
    with relay.connect() as client:
        assert client.read_to_end() == b""
        client.send(b"a part")
        client.socket.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        wait_until(lambda: ended, "the app hears of the end")
    assert ended == ["reset"]
    assert relay.wait_for_line(received=6)["reason"] == "client_gone"


@pytest.mark.parametrize(("offered", "chosen"), [(["h2"], "h2"), (["x", "mqtt"], "mqtt"), (["x"], None), ([], None)])
def test_protocols_are_agreed_on(relay: Sidecar, offered: list[str], chosen: str | None) -> None:
    """What ALPN lists is offered, and what the client does not know is not insisted on."""
    context = ssl.create_default_context(cadata=relay.authority.cert_pem.bytes().decode())
    if offered:
        context.set_alpn_protocols(offered)
    with relay.connect(context) as client:
        assert client.tls.selected_alpn_protocol() == chosen
        client.send(b"x")
        assert client.reader.exactly(1) == b"x"


def test_no_protocol_is_offered_unless_set(sidecar: Launch, app: ScriptedApp) -> None:
    """Without ALPN none is agreed on, http/1.1 neither."""
    context = ssl.create_default_context()
    with sidecar(MODE="tcp") as process:
        context.load_verify_locations(cadata=process.authority.cert_pem.bytes().decode())
        context.set_alpn_protocols(["http/1.1"])
        with process.connect(context) as client:
            assert client.tls.selected_alpn_protocol() is None


def test_who_speaks_no_tls_is_told_nothing(relay: Sidecar) -> None:
    """Plain bytes are no request, and get no answer in HTTP."""
    with relay.connect_plain() as client:
        client.send(b"PING\r\n")
        assert client.read_to_end() == b""


def test_an_app_that_starts_late_is_waited_for(sidecar: Launch) -> None:
    """A connection is held while the app refuses, and nothing that was said is lost."""
    port = free_port()
    with sidecar(MODE="tcp", APP_PORT=port, APP_WAIT="10s") as process, process.connect() as client:
        client.send(b"early")
        assert client.is_silent()
        with socket.create_server(("127.0.0.1", port)) as app:
            accepted, _ = app.accept()
        with accepted:
            assert accepted.recv(5, socket.MSG_WAITALL) == b"early"
            accepted.sendall(b"at last")
            assert client.reader.exactly(7) == b"at last"


def test_an_app_that_is_not_there(sidecar: Launch) -> None:
    """The client's connection ends so that it does not look like an empty answer, and the line says why."""
    with sidecar(MODE="tcp", APP_PORT=free_port(), APP_WAIT="0") as process:
        assert_app_is_missed(process, status=502)


def test_an_app_that_does_not_come(lonely_relay: Sidecar) -> None:
    """After APP_WAIT it ends likewise."""
    assert_app_is_missed(lonely_relay, status=503)


def assert_app_is_missed(process: Sidecar, status: int) -> None:
    with process.connect() as client:
        assert client.read_to_end() == b""
        assert client.ended != "close_notify"
        assert process.wait_for_line(reason="app_refused")["status"] == status
        assert len(process.lines()) == 1


def test_a_client_that_leaves_before_the_app_is_there(lonely_relay: Sidecar) -> None:
    """Who leaves while held is told of once, and is not connected any more."""
    with lonely_relay.connect() as client:
        client.send(b"x")
    assert lonely_relay.wait_for_line(reason="app_refused")["status"] == 503
    assert len(lonely_relay.lines()) == 1
    assert lonely_relay.metrics().value("tlsproxy_app_connections", state="waiting") == 0


def test_a_silent_connection_ends(sidecar: Launch, app: ScriptedApp) -> None:
    """TUNNEL_TIMEOUT ends a connection without a byte either way."""
    app.script(echo)
    with sidecar(MODE="tcp", TUNNEL_TIMEOUT="600ms") as process, process.connect() as client:
        client.send(b"x")
        assert client.reader.exactly(1) == b"x"
        assert client.read_to_end() == b""
        assert client.ended != "close_notify"
        assert process.wait_for_line(reason="tunnel_timeout")["received"] == 1


def test_draining(sidecar: Launch, app: ScriptedApp) -> None:
    """Connections go on while the sidecar drains, and the process ends with the last of them."""
    app.script(echo)
    process = sidecar(MODE="tcp", DRAIN_TIMEOUT="10s")
    with process.connect() as client:
        process.signal(signal.SIGTERM)
        process.wait_until_closed()
        client.send(b"still there")
        assert client.reader.exactly(11) == b"still there"
    assert process.wait() == 0


def test_a_held_connection_is_cut_at_the_end_of_draining(sidecar: Launch) -> None:
    """One that still waits for the app is told of as well."""
    process = sidecar(MODE="tcp", APP_PORT=free_port(), APP_WAIT="60s", DRAIN_TIMEOUT="300ms")
    with process.connect() as client:
        process.signal(signal.SIGTERM)
        assert client.read_to_end() == b""
        assert process.wait() == 0
    assert process.wait_for_line(status=503)["reason"] == "draining"
    assert len(process.lines()) == 1


def test_many_at_once(app: ScriptedApp, relay: Sidecar) -> None:
    """Connections do not mix."""
    clients = [relay.connect() for _ in range(20)]
    for number, client in enumerate(clients):
        client.send(b"%d " % number * 1000)
    for number, client in enumerate(clients):
        said = b"%d " % number * 1000
        assert client.reader.exactly(len(said)) == said
        client.close()


def test_a_full_client_holds_the_app(app: ScriptedApp, relay: Sidecar) -> None:
    """A client that does not read bounds what is taken from the app."""
    stopped = threading.Event()

    def script(connection: AppConnection) -> None:
        connection.send(bytes(64 << 20))
        stopped.set()

    app.script(script)
    with relay.connect(receive_buffer=4096) as client:
        wait_until(lambda: app.connections and app.connections[0].sent, "the app speaks")
        assert not stopped.wait(0.5)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        left = 64 << 20
        while left:
            left -= len(client.reader.some())
    assert stopped.wait(5)
