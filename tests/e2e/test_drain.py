"""SIGTERM at every stage of a request: what can be finished is, and nothing that was sent is lost."""

import select
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.raw_client import TlsClient, get, post
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

MUCH = 4 << 20
GOING_AWAY = b"\x88\x02\x03\xe9"
ANSWER = b"\x88\x82mask\x6e\x88"
"""What a WebSocket's client says to that: the same, masked."""


class App:
    """Answers with what it was sent; the rest of an answer to /slow comes when `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.goodbyes: list[bytes] = []
        """What WebSockets were ended with."""

    def __call__(self, connection: AppConnection) -> None:
        while request := connection.read_request():
            token = request.get(b"Upgrade")
            if token is not None:
                self.tunnel(connection, token)
                return
            if request.target == b"/slow":
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
                self.go.wait(8)
                connection.send(b"after")
                continue
            if request.target == b"/waiting":
                self.go.wait(8)
            connection.send(response(bytes(MUCH) if request.target == b"/much" else request.body or b"ok"))

    def tunnel(self, connection: AppConnection, token: bytes) -> None:
        connection.send(b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: %b\r\n\r\n" % token)
        while data := connection.reader.some():
            connection.send(data)
            if token == b"websocket":
                self.goodbyes.append(data)
                return


# The stages: each is a client that has come so far when SIGTERM does, and goes on after the ports are closed.

Stage = Callable[[Sidecar], Iterator[None]]


def before_the_handshake(process: Sidecar) -> Iterator[None]:
    """The connection was made, and nothing said."""
    with process.connect(handshake=False) as client:
        yield
        client.handshake()
        assert_answered(client, get())


def half_a_handshake(process: Sidecar) -> Iterator[None]:
    """Half of the first message was sent."""
    with process.connect(handshake=False) as client:
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.do_handshake()
        hello = client.outgoing.read()
        client.socket.sendall(hello[:100])
        yield
        client.socket.sendall(hello[100:])
        client.handshake()
        assert_answered(client, get())


def no_request_yet(process: Sidecar) -> Iterator[None]:
    """The handshake was only just done; the request was on its way."""
    with process.connect() as client:
        yield
        assert_answered(client, get())


def half_a_head(process: Sidecar) -> Iterator[None]:
    with process.connect() as client:
        client.send(get()[:10])
        yield
        assert_answered(client, get()[10:])


def half_a_body(process: Sidecar) -> Iterator[None]:
    request = post("/", b"x" * 100)
    with process.connect() as client:
        client.send(request[:-50])
        yield
        assert_answered(client, request[-50:], b"x" * 100)


def waiting_for_the_app(process: Sidecar) -> Iterator[None]:
    with process.connect() as client:
        client.send(get("/waiting"))
        yield
        assert_answered(client)


def half_a_response(process: Sidecar) -> Iterator[None]:
    """Its head has gone out, and could not say that it is the last."""
    with process.connect() as client:
        client.send(get("/slow"))
        answer = client.read_head()
        assert client.reader.exactly(5) == b"first"
        yield
        assert answer.get(b"Connection") is None
        assert client.reader.exactly(5) == b"after"
        assert_closed(client)


def response_not_read(process: Sidecar) -> Iterator[None]:
    """The app has said all, and the client has taken little of it."""
    with process.connect() as client:
        client.send(get("/much"))
        answer = client.read_head()
        yield
        assert len(client.read_body(answer).body) == MUCH
        assert_closed(client)


def idle(process: Sidecar) -> Iterator[None]:
    """A kept connection without a request."""
    with process.connect() as client:
        assert client.get().status == 200
        yield
        assert_closed(client)


def websocket(process: Sidecar) -> Iterator[None]:
    """The client is told in its protocol, and its answer ends the app's side."""
    with process.connect() as client:
        upgrade(client, "websocket")
        yield
        assert client.reader.exactly(4) == GOING_AWAY
        client.send(ANSWER)
        assert_closed(client)


def unknown_protocol(process: Sidecar) -> Iterator[None]:
    """Nobody here can tell the client; it has until DRAIN_TIMEOUT."""
    with process.connect() as client:
        upgrade(client, "x")
        yield
        client.send(b"hello")
        assert client.reader.exactly(5) == b"hello"
        client.finish_sending()
        assert_closed(client)


STAGES: tuple[Stage, ...] = (
    no_request_yet,
    half_a_head,
    half_a_body,
    waiting_for_the_app,
    half_a_response,
    response_not_read,
    idle,
    websocket,
    unknown_protocol,
    before_the_handshake,
    half_a_handshake,
)
STOPPED: tuple[Stage, ...] = (before_the_handshake, half_a_handshake)
"""Those that are begun a second time while the process is stopped, so that they wait in the backlog at SIGTERM."""


def upgrade(client: TlsClient, token: str) -> None:
    client.send(get("/", "Connection: Upgrade", f"Upgrade: {token}"))
    assert client.read_head().status == 101


def assert_answered(client: TlsClient, rest: bytes = b"", body: bytes = b"ok") -> None:
    """The rest of a request gets its answer, which says that it is the last; then the connection ends properly."""
    if rest:
        client.send(rest)
    answer = client.read_response()
    assert (answer.status, answer.body, answer.get(b"Connection")) == (200, body, b"close")
    assert_closed(client)


def assert_closed(client: TlsClient) -> None:
    assert (client.read_to_end(), client.ended) == (b"", "close_notify")


# The scene


@pytest.fixture(scope="module")
def ends(launch: Launch) -> Mapping[str, Exception | None]:
    """What became of each stage, by its name, and of the process, by `exit`."""
    ends: dict[str, Exception | None] = {}
    play = App()
    with ScriptedApp() as app, launch(APP_PORT=app.port, DRAIN_TIMEOUT="8s") as process:
        app.script(play)
        begun = {stage.__name__: stage(process) for stage in STAGES}
        for stage in begun.values():
            next(stage)
        process.signal(signal.SIGSTOP)
        waiting = {f"{stage.__name__} in the backlog": stage(process) for stage in STOPPED}
        for stage in waiting.values():
            next(stage)
        process.signal(signal.SIGTERM)
        process.signal(signal.SIGCONT)
        process.wait_until_closed()
        play.go.set()
        for name, stage in (begun | waiting).items():
            ends[name] = outcome(stage)
        ends["exit"] = None if process.wait() == 0 else AssertionError(process.stderr())
        assert play.goodbyes == [ANSWER]
    return ends


def outcome(stage: Iterator[None]) -> Exception | None:
    """What went wrong in the rest of a stage."""
    try:
        next(stage, None)
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize(
    "name", [*(s.__name__ for s in STAGES), *(f"{s.__name__} in the backlog" for s in STOPPED), "exit"]
)
def test_what_can_be_finished_is(ends: Mapping[str, Exception | None], name: str) -> None:
    """Whatever a client was at when SIGTERM came, it gets all that it asked for, and the process ends with status 0."""
    error = ends[name]
    if error is not None:
        raise error


# Beside it


def test_kept_connections_take_leave_during_the_delay(sidecar: Launch, app: ScriptedApp) -> None:
    """While the ports are still open, answers on connections that were there at SIGTERM begin to say close."""
    process = sidecar(DRAIN_DELAY=2)
    with process.connect() as client:
        client.get()
        process.signal(signal.SIGTERM)
        began = time.monotonic()
        wait_until(lambda: client.get().get(b"Connection") == b"close", "the last answer")
        assert time.monotonic() - began < 1.5
        assert_closed(client)
        assert process.get().get(b"Connection") is None
        process.signal(signal.SIGTERM)


def test_the_end_of_draining_cuts_tunnels(sidecar: Launch, app: ScriptedApp) -> None:
    """A tunnel that is still open after DRAIN_TIMEOUT is cut on both sides, told or not, and its line says why."""
    ended: list[str] = []

    def script(connection: AppConnection) -> None:
        token = (connection.read_request() or pytest.fail("no request")).get(b"Upgrade") or b""
        connection.send(b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: %b\r\n\r\n" % token)
        ended.append(connection.wait_closed())

    process = sidecar(DRAIN_TIMEOUT="500ms")
    with process.connect() as told, process.connect() as untold:
        app.script(script)
        upgrade(told, "websocket")
        upgrade(untold, "x")
        process.signal(signal.SIGTERM)
        assert told.read_to_end() == GOING_AWAY
        assert untold.read_to_end() == b""
        assert "close_notify" not in {told.ended, untold.ended}
    assert process.wait() == 0
    wait_until(lambda: ended == ["reset"] * 2, "the app is cut off")
    assert {line["reason"] for line in process.lines()} == {"draining"}


def test_handshakes_are_waited_for(sidecar: Launch, app: ScriptedApp) -> None:
    """One that goes on within two seconds is served; who only holds a connection open holds nothing up for longer."""
    process = sidecar(DRAIN_TIMEOUT="30s")
    with process.connect(handshake=False) as client, process.connect(handshake=False):
        process.signal(signal.SIGTERM)
        process.wait_until_closed()
        assert not select.select([client.socket], [], [], 0.5)[0], "it was ended"
        client.handshake()
        assert_answered(client, get())
        assert process.wait(4) == 0
