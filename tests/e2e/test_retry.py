"""A request is sent a second time only where it can't be done twice."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.raw_client import TlsClient, get, post
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

SAFE = ["GET", "HEAD", "OPTIONS"]


def closes_on_second(connection: AppConnection) -> None:
    """On the first connection one request is answered and the second meets a close; others go on."""
    while connection.read_request():
        if connection.number == 0 and len(connection.raw.split(b" HTTP/1.1\r\n")) > 2:
            return
        connection.send(response(b"ok"))


def closes_on_second_with_half_an_answer(connection: AppConnection) -> None:
    """The same, but for the first bytes of an answer."""
    connection.read_request()
    connection.send(response(b"ok"))
    connection.read_request()
    connection.send(b"HTTP/1.1 2")


@pytest.mark.parametrize("method", SAFE)
def test_a_safe_request_that_meets_a_close_is_sent_again(client: TlsClient, app: ScriptedApp, method: str) -> None:
    """A request without effects that meets the close of an idle connection goes to a fresh one."""
    app.script(closes_on_second)
    client.get()
    answer = client.ask(f"{method} /again HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), method)
    assert answer.status == 200
    assert [request.target for request in app.requests] == [b"/", b"/again", b"/again"]
    assert len(app.connections) == 2
    assert app.requests[1].head == app.requests[2].head


@pytest.mark.parametrize(
    "request_bytes", [post("/once", b"body"), post("/once", b""), b"PATCH /once HTTP/1.1\r\nHost: h\r\n\r\n"]
)
def test_a_request_with_effects_is_never_sent_twice(client: TlsClient, app: ScriptedApp, request_bytes: bytes) -> None:
    """A POST or PATCH that may have reached the app is answered 502."""
    app.script(closes_on_second)
    client.get()
    assert client.ask(request_bytes).status == 502
    assert [request.target for request in app.requests] == [b"/", b"/once"]


def test_a_get_with_a_body_is_never_sent_twice(client: TlsClient, app: ScriptedApp) -> None:
    """A body that has been passed on is gone, so its request is not sent again."""
    app.script(closes_on_second)
    client.get()
    assert client.ask(post("/once", b"body").replace(b"POST", b"GET")).status == 502
    assert len(app.requests) == 2


def test_a_request_that_got_an_answers_first_bytes_is_not_sent_again(client: TlsClient, app: ScriptedApp) -> None:
    """An app that began to answer has seen the request."""
    app.script(closes_on_second_with_half_an_answer)
    client.get()
    assert client.get("/once").status == 502
    assert len(app.requests) == 2


def test_a_fresh_connection_is_not_tried_twice(client: TlsClient, app: ScriptedApp) -> None:
    """Only a connection that had been idle explains a close; on a fresh one it was the app's answer."""
    app.script(lambda connection: connection.read_request())
    assert client.get("/once").status == 502
    assert len(app.requests) == 1


def test_the_second_try_is_on_a_fresh_connection(shared_sidecar: Sidecar, app: ScriptedApp) -> None:
    """With several idle connections about to be closed, a request does not go from one to the next."""
    together = threading.Barrier(3)

    def script(connection: AppConnection) -> None:
        connection.read_request()
        if connection.number < 3:
            together.wait(5)
            connection.send(response(b"first"))
            connection.read_request()
            return
        connection.send(response(b"fresh"))

    app.script(script)
    clients = [shared_sidecar.connect() for _ in range(3)]
    for client in clients:
        client.send(get())
    for client in clients:
        assert client.read_response().body == b"first"
    assert clients[0].get("/again").body == b"fresh"
    assert [request.target for request in app.requests].count(b"/again") == 2
    for client in clients:
        client.close()


@pytest.fixture(scope="module")
def frozen_sidecar(launch: Launch, session_app: ScriptedApp) -> Iterator[Sidecar]:
    """A sidecar that may be stopped and continued."""
    with launch(APP_PORT=session_app.port) as process:
        yield process


@pytest.mark.parametrize("first", ["close", "request"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_that_the_app_has_closed_is_not_used(
    frozen_sidecar: Sidecar, app: ScriptedApp, first: str, method: str
) -> None:
    """A close that came before the request is noticed: even a POST is sent, and sent once."""
    close, closed = threading.Event(), threading.Event()

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(response(b"ok"))
        if connection.number == 0:
            close.wait(5)
            connection.finish_sending()
            closed.set()
            connection.wait_closed()

    app.script(script)
    with frozen_sidecar.connect() as client:
        client.get()
        request = f"{method} /after HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode()
        stop(frozen_sidecar.pid)
        try:
            if first == "request":
                client.send(request)
            close.set()
            assert closed.wait(5)
            if first == "close":
                client.send(request)
        finally:
            os.kill(frozen_sidecar.pid, signal.SIGCONT)
        assert client.read_response().status == 200
    assert [request.target for request in app.requests] == [b"/", b"/after"]


def stop(pid: int) -> None:
    """Stop a process and wait until it has stopped."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: ") T " in Path(f"/proc/{pid}/stat").read_text(), "the process to stop")
