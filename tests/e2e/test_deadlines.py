"""Each wait has its own deadline, and only the wait that it is named for."""

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.raw_client import RawClient, TlsClient, get, post
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

DEADLINE = 0.5
LATEST = 3.0
HEAD = b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"


@pytest.fixture(scope="module")
def hasty_sidecar(launch: Launch, session_app: ScriptedApp) -> Iterator[Sidecar]:
    """A sidecar whose deadlines are half a second, but for the app's answer."""
    with launch(
        APP_PORT=session_app.port,
        HEAD_TIMEOUT="500ms",
        BODY_TIMEOUT="500ms",
        KEEPALIVE_TIMEOUT="500ms",
        APP_KEEPALIVE_TIMEOUT="500ms",
    ) as process:
        yield process


@pytest.fixture
def hasty_client(hasty_sidecar: Sidecar, app: ScriptedApp) -> Iterator[TlsClient]:
    """A connection to it."""
    hasty_sidecar.forget_lines()
    with hasty_sidecar.connect() as connection:
        yield connection


def end_after(client: RawClient, began: float) -> None:
    """The other side ends after the deadline and not much later."""
    assert client.read_to_end() == b""
    assert DEADLINE * 0.8 < time.monotonic() - began < LATEST


def test_a_head_that_does_not_end_is_a_408(hasty_client: TlsClient, app: ScriptedApp, hasty_sidecar: Sidecar) -> None:
    """HEAD_TIMEOUT after its first byte an incomplete head is answered and the connection closed."""
    hasty_client.get()
    began = time.monotonic()
    hasty_client.send(b"GET /slow HTTP/1.1\r\nHost: loc")
    answer = hasty_client.read_response()
    assert (answer.status, answer.get(b"Connection")) == (408, b"close")
    end_after(hasty_client, began)
    assert hasty_client.ended == "close_notify"
    assert hasty_sidecar.wait_for_line(status=408)["reason"] == "head_timeout"


def test_a_dribbled_head_is_a_408(hasty_client: TlsClient, app: ScriptedApp) -> None:
    """Bytes that keep coming do not put HEAD_TIMEOUT off."""
    began = time.monotonic()
    hasty_client.send(b"GET / HTTP/1.1\r\nX: ")
    while hasty_client.is_silent(0.05) and time.monotonic() - began < LATEST:
        hasty_client.send(b"x")
    assert hasty_client.read_response().status == 408


def test_a_body_that_stops_is_a_408(hasty_client: TlsClient, app: ScriptedApp, hasty_sidecar: Sidecar) -> None:
    """BODY_TIMEOUT after the last piece the client is told, and the app's request is cut."""
    ended = threading.Event()

    def script(connection: AppConnection) -> None:
        connection.wait_closed()
        ended.set()

    app.script(script)
    began = time.monotonic()
    hasty_client.send(HEAD + b"x" * 50)
    assert hasty_client.read_response().status == 408
    end_after(hasty_client, began)
    assert ended.wait(LATEST)
    assert app.connections[0].raw.count(b"x" * 50) <= 1
    assert hasty_sidecar.wait_for_line(target="/upload", status=408)["reason"] == "body_timeout"


def test_a_slow_body_has_time_for_each_piece(hasty_client: TlsClient, app: ScriptedApp) -> None:
    """BODY_TIMEOUT bounds the pause between two pieces, not the whole upload."""
    hasty_client.send(HEAD)
    for _ in range(5):
        assert hasty_client.is_silent(0.25)
        hasty_client.send(b"x" * 20)
    assert hasty_client.read_response().status == 200


def test_a_client_that_does_not_read_is_cut(hasty_sidecar: Sidecar, app: ScriptedApp) -> None:
    """BODY_TIMEOUT after it has stopped reading, a client is cut, and the app let go."""
    ended = threading.Event()

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                connection.send(b"x" * 65536)
        ended.set()

    app.script(script)
    with hasty_sidecar.connect(receive_buffer=65536) as client:
        client.send(get())
        assert ended.wait(LATEST + 1)


def test_an_app_that_does_not_read_is_a_504(sidecar: Launch, app: ScriptedApp) -> None:
    """RESPONSE_TIMEOUT bounds the wait for an app that stops taking the body, too."""
    go = threading.Event()
    app.script(lambda _: go.wait(8))
    process = sidecar(RESPONSE_TIMEOUT="500ms", BODY_TIMEOUT="500ms")
    with process.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
        with contextlib.suppress(OSError):
            while client.is_silent(0.001):
                client.socket.settimeout(LATEST)
                client.send(b"x" * 65536)
        line = process.wait_for_line(method="POST")
    go.set()
    assert line["status"] in (504, 408, 502)


def test_an_idle_client_is_closed_without_a_word(hasty_client: TlsClient, app: ScriptedApp) -> None:
    """KEEPALIVE_TIMEOUT after its last answer a client's connection ends cleanly."""
    hasty_client.get()
    end_after(hasty_client, time.monotonic())
    assert hasty_client.ended == "close_notify"


def test_a_client_that_never_asks_is_closed_without_a_word(hasty_client: TlsClient, app: ScriptedApp) -> None:
    """KEEPALIVE_TIMEOUT applies before the first request as well."""
    end_after(hasty_client, time.monotonic())
    assert hasty_client.ended == "close_notify"


def test_a_request_under_way_is_not_idle(hasty_client: TlsClient, app: ScriptedApp) -> None:
    """None of these deadlines bounds an app that takes its time, with or without a body."""

    def script(connection: AppConnection) -> None:
        while connection.read_request():
            time.sleep(1.2)
            connection.send(response(b"late"))

    app.script(script)
    assert hasty_client.ask(post("/", b"body")).body == b"late"


def test_an_idle_connection_to_the_app_is_closed(hasty_client: TlsClient, app: ScriptedApp) -> None:
    """APP_KEEPALIVE_TIMEOUT after its last answer a connection to the app is given back."""
    ended = threading.Event()

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(response(b"ok"))
        connection.wait_closed()
        ended.set()

    app.script(script)
    began = time.monotonic()
    hasty_client.get()
    assert ended.wait(LATEST)
    assert time.monotonic() - began > DEADLINE * 0.8
