"""A response that the app did not finish never looks complete to the client."""

import contextlib
import threading
from collections.abc import Callable

import pytest

from tests.e2e.messages import IncompleteError
from tests.e2e.raw_client import TlsClient, get
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

UNFINISHED = {
    "nothing of the length": LENGTH,
    "half of the length": LENGTH + b"x" * 50,
    "all but one byte": LENGTH + b"x" * 99,
    "no chunk": CHUNKED,
    "within a chunk": CHUNKED + b"a\r\n01234",
    "within a chunk's end": CHUNKED + b"5\r\n01234\r",
    "after a chunk": CHUNKED + b"5\r\n01234\r\n",
    "within a chunk's size": CHUNKED + b"5\r\n01234\r\n1",
    "within the last chunk": CHUNKED + b"5\r\n01234\r\n0\r\n",
}


@pytest.mark.parametrize("ending", ["fin", "reset"])
@pytest.mark.parametrize("answer", UNFINISHED.values(), ids=UNFINISHED.keys())
def test_an_app_that_dies_within_its_response_is_seen_to(
    client: TlsClient, app: ScriptedApp, answer: bytes, ending: str
) -> None:
    """The client's message is cut short as well."""

    seen = threading.Event()

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(answer)
        seen.wait(5)
        if ending == "reset":
            connection.reset()

    app.script(script)
    client.send(get("/cut"))
    head = client.read_head()
    seen.set()
    with pytest.raises(IncompleteError):
        client.read_body(head)


@pytest.mark.parametrize("answer", [LENGTH + b"x" * 50, CHUNKED + b"5\r\n01234\r\n"], ids=["length", "chunked"])
def test_a_truncated_response_is_logged(
    client: TlsClient, app: ScriptedApp, shared_sidecar: Sidecar, answer: bytes
) -> None:
    """The request line has the app's status and says app_truncated."""

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(answer)

    app.script(script)
    client.send(get("/logged"))
    client.read_to_end()
    line = shared_sidecar.wait_for_line(target="/logged")
    assert (line["status"], line["reason"]) == (200, "app_truncated")


@pytest.mark.parametrize("answer", [LENGTH + b"x" * 50, CHUNKED + b"5\r\n01234\r\n"], ids=["length", "chunked"])
def test_an_http_1_0_client_can_tell(client: TlsClient, app: ScriptedApp, answer: bytes) -> None:
    """Where only the end of the connection ends the body, a cut is no close_notify."""

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(answer)

    app.script(script)
    client.send(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
    client.read_to_end()
    assert client.ended != "close_notify"


@pytest.mark.parametrize("garbage", [b"zz\r\n", b"5\r\n0123456\r\n", b"-1\r\n", b"1 2\r\nx\r\n"])
def test_a_garbled_chunk_cuts_the_response(client: TlsClient, app: ScriptedApp, garbage: bytes) -> None:
    """Chunked framing that goes wrong ends the client's response as an incomplete one."""

    seen = threading.Event()

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(CHUNKED + b"5\r\n01234\r\n")
        seen.wait(5)
        connection.send(garbage)
        connection.wait_closed()

    app.script(script)
    client.send(get("/garbled"))
    head = client.read_head()
    seen.set()
    with pytest.raises(IncompleteError):
        client.read_body(head)


WHOLE = {
    "length": response(b"hello"),
    "chunked": CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\nSum: 1\r\n\r\n",
    "bare LF": (CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\nSum: 1\r\n\r\n").replace(b"\r\n", b"\n"),
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + response(b"hello"),
}


@pytest.mark.parametrize("ending", [AppConnection.close, AppConnection.reset], ids=["fin", "reset"])
@pytest.mark.parametrize("answer", WHOLE.values(), ids=WHOLE.keys())
def test_no_part_of_a_response_looks_whole(
    shared_sidecar: Sidecar, app: ScriptedApp, answer: bytes, ending: Callable[[AppConnection], None]
) -> None:
    """An app that ends within its response, at whichever byte, gets the client a 502 or a response cut short."""
    sizes = iter(range(len(answer)))

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(answer[: next(sizes)])
        ending(connection)

    app.script(script)
    for size in range(len(answer)):
        with shared_sidecar.connect() as client:
            client.send(get())
            with contextlib.suppress(IncompleteError):
                told = client.read_response()
                while told.status < 200:
                    told = client.read_response()
                assert told.status == 502, size


@pytest.mark.parametrize("surplus", [b"!", b"\r\n", response(b"forged")], ids=["garbage", "empty line", "response"])
def test_bytes_on_an_idle_connection_are_nobodys(client: TlsClient, app: ScriptedApp, surplus: bytes) -> None:
    """What an app says when nothing was asked ends its connection, and answers no later request."""
    answered, ended = threading.Event(), threading.Event()

    def script(connection: AppConnection) -> None:
        while connection.read_request():
            connection.send(response(b"right"))
            if connection.number == 0:
                answered.wait(5)
                connection.send(surplus)
                connection.wait_closed()
                ended.set()
                return

    app.script(script)
    assert client.get().body == b"right"
    answered.set()
    assert ended.wait(5)
    assert client.get().body == b"right"
    assert len(app.connections) == 2


@pytest.mark.parametrize(
    "surplus",
    [b"surplus", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"],
    ids=["garbage", "response"],
)
def test_bytes_after_a_response_are_nobodys(client: TlsClient, app: ScriptedApp, surplus: bytes) -> None:
    """What an app sends beyond its response is dropped with the connection, and answers no other request."""

    def script(connection: AppConnection) -> None:
        while connection.read_request():
            connection.send(response(b"right") + surplus)

    app.script(script)
    for _ in range(3):
        assert client.get().body == b"right"
    assert len(app.connections) == 3
