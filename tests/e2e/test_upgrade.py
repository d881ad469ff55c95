"""Upgrades: after the app's 101 the connection is the new protocol's, byte for byte, until both sides have ended it."""

import contextlib
import hashlib
import signal
import threading
import time

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.messages import Reader
from tests.e2e.polling import wait_until, wait_until_still
from tests.e2e.raw_client import TlsClient, get, post
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

MEBI = 1 << 20
MEMORY = 8 * MEBI
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
)
OFFER = get("/chat", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x")


def echo(connection: AppConnection) -> None:
    """Switch, and send back whatever comes, until the client has said all."""
    connection.read_request()
    connection.send(SWITCH)
    while data := connection.reader.some():
        connection.send(data)


def received(sidecar: Sidecar) -> int:
    """Bytes from clients, as the metrics tell."""
    return int(sidecar.metrics().value("tlsproxy_received_bytes_total"))


def digest(reader: Reader, size: int) -> bytes:
    """SHA-256 of the next so many bytes, which are not kept."""
    seen = hashlib.sha256()
    while size:
        data = reader.some()
        assert data, f"{size} bytes are missing"
        seen.update(data)
        size -= len(data)
    return seen.digest()


def upgrade(client: TlsClient, request: bytes = OFFER) -> None:
    """Offer, and read the 101."""
    client.send(request)
    answer = client.read_head()
    assert answer.status == 101
    assert answer.get(b"Upgrade") == b"WebSocket"
    assert answer.get(b"Connection") == b"Upgrade"
    assert answer.get(b"Sec-WebSocket-Accept") == b"x"
    assert answer.get(b"X-Request-ID")


def test_bytes_pass_both_ways(client: TlsClient, app: ScriptedApp, shared_sidecar: Sidecar) -> None:
    """The offer reaches the app with its fields, then bytes pass; the line is written at the end, with their counts."""
    app.script(echo)
    upgrade(client, OFFER.replace(b"/chat", b"/echo"))
    assert app.request.get(b"Upgrade") == b"websocket"
    assert app.request.get(b"Connection") == b"Upgrade"
    assert app.request.get(b"Sec-WebSocket-Key") == b"x"
    for data in (b"\x81\x05hello", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100_000):
        client.send(data)
        assert client.reader.exactly(len(data)) == data
    assert shared_sidecar.metrics().value("tlsproxy_tunnels") >= 1
    assert not [line for line in shared_sidecar.lines() if line["target"] == "/echo"]
    client.finish_sending()
    assert client.read_to_end() == b""
    assert client.ended == "close_notify"
    line = shared_sidecar.wait_for_line(target="/echo")
    assert (line["status"], line["reason"]) == (101, None)
    assert line["received"] == line["sent"] == 7 + 18 + 100_000
    wait_until(lambda: not shared_sidecar.metrics().value("tlsproxy_tunnels"), "no tunnel is open")


@pytest.mark.parametrize("token", ["websocket", "WebSocket", "tcp", "SPDY/3.1", "something-unknown"])
def test_any_protocol_is_passed_on(client: TlsClient, app: ScriptedApp, token: str) -> None:
    """What the protocol is called is the client's and the app's affair."""

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(f"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: {token}\r\n\r\n".encode(), b"hello")

    app.script(script)
    client.send(post("/attach", b"", "Connection: keep-alive, UPGRADE", f"Upgrade: {token}"))
    assert client.read_head().get(b"Upgrade") == token.encode()
    assert client.reader.exactly(5) == b"hello"


@pytest.mark.parametrize("together", [True, False])
def test_nothing_at_the_seam_is_lost(client: TlsClient, app: ScriptedApp, together: bool) -> None:
    """What comes in the same packet as the request, or as the 101, arrives in its order on the other side."""

    def script(connection: AppConnection) -> None:
        connection.read_request()
        rest = (SWITCH + b"first", b"second") if together else (SWITCH, b"first", b"second")
        connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", *rest)
        connection.send(connection.reader.exactly(11))

    app.script(script)
    pieces = (OFFER + b"early ", b"bytes") if together else (OFFER, b"early ", b"bytes")
    client.send(*pieces)
    assert client.read_head().status == 103
    assert client.read_head().status == 101
    assert client.reader.exactly(22) == b"firstsecondearly bytes"


def test_an_old_apps_sloppy_101_is_understood(client: TlsClient, app: ScriptedApp) -> None:
    """A 101 with bare line feeds is one, and nothing behind it is lost."""

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(SWITCH.replace(b"\r\n", b"\n") + b"\n\r\nhello")

    app.script(script)
    client.send(OFFER)
    assert client.read_head().status == 101
    assert client.reader.exactly(8) == b"\n\r\nhello"


def test_the_client_half_closes(client: TlsClient, app: ScriptedApp) -> None:
    """The client's end reaches the app as its end, and the app may still answer."""

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(SWITCH)
        said = connection.reader.rest()
        connection.send(b"you said " + said)

    app.script(script)
    upgrade(client)
    client.send(b"goodbye")
    client.finish_sending()
    assert client.read_to_end() == b"you said goodbye"
    assert client.ended == "close_notify"


def test_the_client_ends_tcp_and_still_listens(client: TlsClient, app: ScriptedApp) -> None:
    """A client that ends its TCP direction behind close_notify is still told what the app has to say."""
    said = threading.Event()

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(SWITCH)
        assert connection.reader.rest() == b""
        said.wait(5)
        connection.send(b"the last word")

    app.script(script)
    upgrade(client)
    client.finish_sending()
    client.end_tcp()
    said.set()
    assert client.read_to_end() == b"the last word"


def test_the_app_half_closes(client: TlsClient, app: ScriptedApp) -> None:
    """The app's end reaches the client as close_notify, and the client may still speak."""
    heard: list[bytes] = []

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(SWITCH + b"that is all")
        connection.finish_sending()
        heard.append(connection.reader.rest())

    app.script(script)
    upgrade(client)
    assert client.read_to_end() == b"that is all"
    assert client.ended == "close_notify"
    client.send(b"one thing more")
    client.finish_sending()
    wait_until(lambda: heard == [b"one thing more"], "the app hears the rest")


def test_a_reset_of_the_client_is_one_for_the_app(client: TlsClient, app: ScriptedApp) -> None:
    """A client that breaks off does not look to the app like one that has said all."""
    ended: list[str] = []

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(SWITCH)
        ended.append(connection.wait_closed())

    app.script(script)
    upgrade(client)
    client.abort()
    wait_until(lambda: ended, "the app hears of the end")
    assert ended == ["reset"]


def test_a_reset_of_the_app_is_no_end_for_the_client(
    client: TlsClient, app: ScriptedApp, shared_sidecar: Sidecar
) -> None:
    """An app that breaks off does not look to the client like one that has said all."""

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(SWITCH)
        connection.reader.exactly(2)
        connection.reset()

    app.script(script)
    upgrade(client, OFFER.replace(b"/chat", b"/reset"))
    client.send(b"go")
    assert client.read_to_end() == b""
    assert client.ended != "close_notify"
    assert shared_sidecar.wait_for_line(target="/reset", reason="app_reset")


def test_last_words_of_an_app_that_closes_are_heard(client: TlsClient, app: ScriptedApp) -> None:
    """An app that says goodbye and closes while the client still sends is heard to the end."""

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(SWITCH)
        connection.reader.exactly(MEBI)
        connection.send(b"enough")

    app.script(script)
    upgrade(client)
    with contextlib.suppress(OSError):  # it may be hung up on before it has sent all
        client.send(b"x" * 3 * MEBI)
    assert client.read_to_end() == b"enough"


REFUSALS = {
    "refused": response(b"no", status="403 Forbidden"),
    "ignored": response(b"ok", "Connection: keep-alive"),
    "other": response(b"", "Upgrade: foo", "Connection: upgrade", status="426 Upgrade Required"),
}


@pytest.mark.parametrize("answer", REFUSALS.values(), ids=REFUSALS)
def test_a_refused_upgrade_is_an_ordinary_answer(client: TlsClient, app: ScriptedApp, answer: bytes) -> None:
    """An app that does not switch answers, and both connections carry the next request."""
    app.answer(answer)
    client.send(OFFER)
    assert client.read_response().status in {403, 200, 426}
    app.answer(response(b"next"))
    assert client.get("/next").body == b"next"
    assert len(app.connections) == 1


UNASKED = {
    "nobody asked": (get("/"), SWITCH),
    "asked for another": (OFFER, SWITCH.replace(b"WebSocket", b"foo")),
    "h2c was not passed on": (get("/", "Connection: Upgrade", "Upgrade: h2c"), SWITCH.replace(b"WebSocket", b"h2c")),
    "h2c beside another": (
        get("/", "Connection: Upgrade", "Upgrade: websocket, h2c"),
        SWITCH.replace(b"WebSocket", b"h2c"),
    ),
    "without Connection": (get("/", "Upgrade: websocket"), SWITCH),
    "in HTTP/1.0": (OFFER.replace(b"HTTP/1.1", b"HTTP/1.0"), SWITCH),
    "no protocol": (OFFER, SWITCH.replace(b"upgrade: WebSocket\r\n", b"")),
    "no Connection in the answer": (OFFER, SWITCH.replace(b"Connection: Upgrade\r\n", b"")),
}


@pytest.mark.parametrize(("request_", "answer"), UNASKED.values(), ids=UNASKED)
def test_a_switch_that_was_not_offered_is_refused(
    client: TlsClient, app: ScriptedApp, shared_sidecar: Sidecar, request_: bytes, answer: bytes
) -> None:
    """A 101 to what the app was not offered is no answer: 502, and nothing behind it passes."""

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(answer + b"secret")
        connection.wait_closed()

    app.script(script)
    client.send(request_)
    answered = client.read_response()
    assert answered.status == 502
    assert b"secret" not in answered.body
    assert shared_sidecar.wait_for_line(status=502)["reason"] == "app_invalid"


def test_a_switch_before_the_request_is_whole_is_refused(client: TlsClient, app: ScriptedApp) -> None:
    """A 101 while the body is still coming would make the rest of it speak the new protocol."""

    def script(connection: AppConnection) -> None:
        connection.read_head()
        connection.send(SWITCH)
        connection.wait_closed()

    app.script(script)
    client.send(post("/", b"x" * 10, "Connection: Upgrade", "Upgrade: websocket")[:-5])
    assert client.read_response().status == 502


def test_an_offer_with_a_body_goes_no_further(client: TlsClient, app: ScriptedApp) -> None:
    """Apps read such a body in two ways, some as a request: it goes on without the offer."""
    client.send(post("/", get("/smuggled"), "Connection: Upgrade", "Upgrade: websocket") + get("/behind"))
    assert [client.read_response().status for _ in range(2)] == [200, 200]
    assert [request.target for request in app.requests] == [b"/", b"/behind"]
    assert {b"upgrade", b"connection"}.isdisjoint(app.requests[0].names())
    assert app.requests[0].body == get("/smuggled")


@pytest.mark.parametrize("direction", ["down", "up"])
def test_backpressure(client: TlsClient, app: ScriptedApp, shared_sidecar: Sidecar, direction: str) -> None:
    """A side that does not read holds the other; memory stays bounded, and every byte arrives."""
    size = 64 * MEBI
    block = bytes(range(256)) * (MEBI // 256 - 1) + b"x" * 256  # no power of two repeats
    go = threading.Event()
    digests: list[bytes] = []

    def script(connection: AppConnection) -> None:
        connection.recording = False
        connection.read_request()
        connection.send(SWITCH)
        if direction == "down":
            for _ in range(size // MEBI):
                connection.send(block)
        else:
            go.wait(10)
            digests.append(digest(connection.reader, size))
            connection.send(b"done")

    app.script(script)
    upgrade(client)
    shared_sidecar.forget_peak_memory()
    before = shared_sidecar.peak_memory()
    if direction == "down":
        wait_until_still(lambda: app.connections[0].sent, "the app is held")
        assert app.connections[0].sent < size
        digests.append(digest(client.reader, size))
    else:
        sender = threading.Thread(target=client.send, args=[block] * (size // MEBI))
        sender.start()
        wait_until_still(lambda: received(shared_sidecar), "the client is held", for_=1.2)
        assert sender.is_alive()
        go.set()
        assert client.reader.exactly(4) == b"done"
        sender.join(10)
    assert digests == [hashlib.sha256(block * (size // MEBI)).digest()]
    assert shared_sidecar.peak_memory() - before < MEMORY


def test_a_silent_tunnel_ends(sidecar: Launch, app: ScriptedApp) -> None:
    """TUNNEL_TIMEOUT ends a tunnel without a byte either way, and not one in which bytes pass in one direction."""
    with sidecar(TUNNEL_TIMEOUT="1500ms") as process, process.connect() as busy, process.connect() as silent:
        app.script(echo)
        upgrade(silent)
        began = time.monotonic()
        upgrade(busy)
        while not silent.ended and time.monotonic() < began + 10:
            busy.send(b"x")
            assert busy.reader.exactly(1) == b"x"
            if not silent.is_silent(0.1):
                break
        assert time.monotonic() - began >= 1.5
        assert silent.ended in {"fin", "reset"}
        assert process.wait_for_line(target="/chat")["reason"] == "tunnel_timeout"
        busy.send(b"y")
        assert busy.reader.exactly(1) == b"y"


def test_tunnels_are_not_counted_as_requests_at_the_app(sidecar: Launch, app: ScriptedApp) -> None:
    """With APP_CONNECTIONS=1 an open tunnel leaves the app to the next request."""
    with sidecar(APP_CONNECTIONS=1) as process, process.connect() as tunnel, process.connect() as client:
        app.script(echo)
        upgrade(tunnel)
        app.script(app.answer_each)
        assert client.get().status == 200
        tunnel.send(b"still there")
        assert tunnel.reader.exactly(11) == b"still there"


def test_a_look_at_the_certificates_leaves_tunnels_alone(
    client: TlsClient, app: ScriptedApp, shared_sidecar: Sidecar
) -> None:
    """SIGHUP does not touch what is open."""
    app.script(echo)
    upgrade(client)
    looks = len(shared_sidecar.told("unchanged: serial"))
    shared_sidecar.signal(signal.SIGHUP)
    wait_until(lambda: len(shared_sidecar.told("unchanged: serial")) > looks, "a look at the certificates")
    client.send(b"still there")
    assert client.reader.exactly(11) == b"still there"
