"""A client that goes away takes its request with it: the app's connection ends, and the log says so."""

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.ports import free_port
from tests.e2e.raw_client import TlsClient, get, post
from tests.e2e.scripted_app import AppConnection, ScriptedApp
from tests.e2e.sidecar_process import Sidecar

AT_ONCE = 1.0


def leave_with_fin(client: TlsClient) -> None:
    """End without a word, as a process does that dies. The socket stays, lest unread bytes make it a reset."""
    client.socket.shutdown(socket.SHUT_WR)


def leave_politely(client: TlsClient) -> None:
    """Close as most clients do: close_notify, then FIN."""
    client.finish_sending()
    leave_with_fin(client)


Leave = Callable[[TlsClient], None]

LEAVES: dict[str, Leave] = {
    "fin": leave_with_fin,
    "reset": TlsClient.abort,
    "close_notify and fin": leave_politely,
}

leaving = pytest.mark.parametrize("go", LEAVES.values(), ids=LEAVES.keys())


class Endings:
    """When and how connections to the app ended."""

    def __init__(self) -> None:
        self._ended: queue.Queue[tuple[str, float]] = queue.Queue()

    def watch(self, connection: AppConnection) -> None:
        """Wait for a connection's end, in its script."""
        self._ended.put((connection.wait_closed(), time.monotonic()))

    def within(self, began: float) -> float:
        """Seconds from `began` to the next end."""
        return self._ended.get(timeout=5)[1] - began


@leaving
def test_a_client_that_leaves_while_it_waits(client: TlsClient, app: ScriptedApp, go: Leave) -> None:
    """The app's work ends with the client."""
    endings = Endings()

    def script(connection: AppConnection) -> None:
        connection.read_request()
        endings.watch(connection)

    app.script(script)
    client.send(get("/waiting"))
    app.wait_for_requests(1)
    began = time.monotonic()
    go(client)
    assert endings.within(began) < AT_ONCE


def test_a_client_that_leaves_behind_many_chunks(client: TlsClient, app: ScriptedApp) -> None:
    """So it does when its body took several turns to read, and its close_notify came with the last byte."""
    endings = Endings()

    def script(connection: AppConnection) -> None:
        connection.read_request()
        endings.watch(connection)

    app.script(script)
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    client.tls.write(head + b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n")
    client.finish_sending()
    app.wait_for_requests(1)
    began = time.monotonic()
    leave_with_fin(client)
    assert endings.within(began) < AT_ONCE


@leaving
def test_a_client_that_leaves_within_the_response(client: TlsClient, app: ScriptedApp, go: Leave) -> None:
    """So it does when the response has begun."""
    endings = Endings()

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", b"data: 1\n\n")
        endings.watch(connection)

    app.script(script)
    client.send(get("/reading"))
    client.read_head()
    began = time.monotonic()
    go(client)
    assert endings.within(began) < AT_ONCE


@leaving
def test_a_client_that_leaves_within_its_body(client: TlsClient, app: ScriptedApp, go: Leave) -> None:
    """A body that was cut short never looks complete to the app."""
    endings = Endings()
    app.script(endings.watch)
    client.send(post("/sending", b"x" * 100)[:-50])
    app.wait_for_connections(1)
    began = time.monotonic()
    go(client)
    assert endings.within(began) < AT_ONCE
    assert app.connections[0].raw.count(b"x") <= 50


@pytest.mark.parametrize(
    ("request_bytes", "answer", "status"),
    [
        (get("/waiting"), b"", 499),
        (get("/reading"), b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", 200),
        (post("/sending", b"x" * 100)[:-50], b"", 499),
    ],
    ids=["waiting", "reading", "sending"],
)
def test_a_departure_is_logged(
    client: TlsClient,
    app: ScriptedApp,
    shared_sidecar: Sidecar,
    request_bytes: bytes,
    answer: bytes,
    status: int,
) -> None:
    """The request line says client_gone, with the status that the client was given, or 499."""
    endings = Endings()

    def script(connection: AppConnection) -> None:
        connection.read_head()
        connection.send(answer)
        endings.watch(connection)

    app.script(script)
    client.send(request_bytes)
    app.wait_for_requests(1)
    if answer:
        client.read_head()
    client.abort()
    line = shared_sidecar.wait_for_line(target=app.request.target.decode())
    assert (line["status"], line["reason"]) == (status, "client_gone")


def test_a_chunked_body_cut_short_gets_no_last_chunk(client: TlsClient, app: ScriptedApp) -> None:
    """The app can tell that a chunked body was cut."""
    endings = Endings()
    app.script(endings.watch)
    client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n")
    app.wait_for_connections(1)
    client.close()
    endings.within(time.monotonic())
    _, _, body = bytes(app.connections[0].raw).partition(b"\r\n\r\n")
    assert b"0\r\n\r\n" not in body


def test_a_client_that_stops_reading_and_leaves(shared_sidecar: Sidecar, app: ScriptedApp) -> None:
    """A client that has been held for not reading is still seen to leave."""
    ended = threading.Event()

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                connection.send(b"x" * 65536)
        ended.set()

    app.script(script)
    client = shared_sidecar.connect(receive_buffer=65536)
    client.send(get("/held"))
    client.read_head()
    client.abort()
    assert ended.wait(AT_ONCE)
    assert shared_sidecar.wait_for_line(target="/held")["reason"] == "client_gone"


def test_what_was_pipelined_leaves_with_the_client(client: TlsClient, app: ScriptedApp) -> None:
    """Requests that were waiting behind the one under way never reach the app."""
    endings = Endings()

    def script(connection: AppConnection) -> None:
        connection.read_request()
        endings.watch(connection)

    app.script(script)
    client.send(get("/first") + get("/second"))
    app.wait_for_requests(1)
    client.abort()
    endings.within(time.monotonic())
    assert len(app.connections) == 1
    assert app.request.target == b"/first"


def test_a_client_that_leaves_while_the_app_is_away(sidecar: Launch) -> None:
    """A request that is held for an absent app is given up with its client."""
    port = free_port()
    process = sidecar(APP_PORT=port, APP_WAIT="5s")
    with process.connect() as client:
        client.send(get("/held"))
        assert client.is_silent(0.2)
        client.abort()
        line = process.wait_for_line(target="/held")
        assert (line["status"], line["reason"]) == (499, "client_gone")
