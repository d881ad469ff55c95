"""An app that sends and does not come to an end: memory stays bounded, others are served, and the client can tell."""

import contextlib
import socket
import threading
from collections.abc import Callable

import pytest

from tests.e2e.messages import IncompleteError
from tests.e2e.polling import wait_until_still
from tests.e2e.raw_client import TlsClient, get
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
WITHOUT_END = {
    "a status line": (b"HTTP/1.1 200 ", b"x" * 4096),
    "empty lines": (b"", b"\r\n" * 2048),
    "fields": (OK, b"X: y\r\n" * 700),
    "a field": (OK + b"X: ", b"y" * 4096),
    "a folded field": (OK + b"X: y", b"\r\n y" * 1000),
    "interim responses": (b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 150),
    "a chunk's size": (CHUNKED, b"0" * 4096),
    "a chunk's extension": (CHUNKED + b"1;", b"x" * 4096),
    "small chunks": (CHUNKED, b"1\r\nx\r\n" * 700),
    "trailers": (CHUNKED + b"0\r\n", b"X: y\r\n" * 700),
    "a body": (CHUNKED, b"1000\r\n" + bytes(4096) + b"\r\n"),
    "a body that ends with the connection": (OK + b"\r\n", bytes(4096)),
    "surplus": (response(b"whole"), bytes(4096)),
    "a body to no content": (b"HTTP/1.1 204 No Content\r\n\r\n", bytes(4096)),
}
EVERY_DAY = ("trailers", "interim responses", "a body")
MUCH = 24 * 1024 * 1024
"""Bytes that the app sends unless it is held or cut before."""
MEMORY = 8 * 1024 * 1024


@pytest.mark.parametrize("reads", [True, pytest.param(False, marks=pytest.mark.soak)], ids=["read", "unread"])
@pytest.mark.parametrize(
    "what", [pytest.param(name, marks=() if name in EVERY_DAY else pytest.mark.soak) for name in WITHOUT_END]
)
def test_it_is_borne(client: TlsClient, app: ScriptedApp, shared_sidecar: Sidecar, what: str, reads: bool) -> None:
    """Whatever it is that has no end, whether or not the client reads it."""
    begin, more = WITHOUT_END[what]
    app.script(forever(begin, more))
    assert shared_sidecar.get("/short").status == 200
    shared_sidecar.forget_peak_memory()
    before = shared_sidecar.peak_memory()
    client.send(get("/"))
    app.wait_for_requests(2)
    sending = app.connections[-1]
    reader = threading.Thread(target=lambda: read_all(client), daemon=True)
    if reads:
        reader.start()
    wait_until_still(lambda: sending.sent, "the app is held, or cut, or has sent much", 0.1, 30)
    assert shared_sidecar.get("/short").status == 200
    client.socket.shutdown(socket.SHUT_RDWR)
    if reads:
        reader.join(8)
    assert sending.over.wait(5), "its work has not ended with the client"
    assert shared_sidecar.peak_memory() - before < MEMORY


def forever(begin: bytes, more: bytes) -> Callable[[AppConnection], None]:
    """A script that sends the beginning, and then the rest over and over."""

    def script(connection: AppConnection) -> None:
        while (request := connection.read_request()) and request.target == b"/short":
            connection.send(response(b"ok"))
        connection.send(begin)
        while connection.sent < MUCH:
            connection.send(more)
        connection.wait_closed()

    return script


def read_all(client: TlsClient) -> None:
    with contextlib.suppress(OSError, IncompleteError, ValueError):
        while client.receive():
            pass
