"""`tlsproxy health`: the admin port's answer as an exit status."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.e2e.ports import free_port
from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.health import ask_ready


@contextmanager
def admin(status: int, body: bytes) -> Iterator[tuple[int, list[str]]]:
    """A port that answers everything so; the targets that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "outcome"), [(200, b"[+]app\n", Exit.STOPPED), (503, b"[-]app: refused\n", Exit.FAILED)]
)
def test_the_answer_is_shown(status: int, body: bytes, outcome: Exit, capsys: pytest.CaptureFixture[str]) -> None:
    """200 is 0 and anything else 1; the conditions are printed as they came."""
    with admin(status, body) as (port, asked):
        assert ask_ready("127.0.0.1", port) is outcome
    assert asked == ["/readyz"]
    assert capsys.readouterr().out == body.decode()


@pytest.mark.parametrize("host", ["", "0.0.0.0"])  # noqa: S104  it is asked, not bound
def test_a_port_that_listens_everywhere_is_asked_here(host: str) -> None:
    """The loopback address stands for all."""
    with admin(200, b"") as (port, _):
        assert ask_ready(host, port) is Exit.STOPPED


@contextmanager
def server(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port that does so with the one connection that comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                behave(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


def until_closed(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def drip(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x")
        time.sleep(0.01)


def mail(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"220 mail.example ESMTP\r\n")


def flood(connection: socket.socket) -> None:
    while True:
        connection.sendall(bytes(65536))


@pytest.mark.parametrize(
    ("behave", "why"),
    [
        (until_closed, "not whole within 0.1s"),
        (drip, "not whole within 0.1s"),
        (mail, "what answers there is not a sidecar"),
        (flood, "what answers there is not a sidecar"),
    ],
)
def test_who_answers_is_no_sidecar(
    behave: Callable[[socket.socket], None], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever listens there, silent or talkative, the command ends in time with status 1 and a line that says why."""
    with server(behave) as port:
        assert ask_ready("127.0.0.1", port, 0.1) is Exit.FAILED
    assert capsys.readouterr().err == f"no answer from 127.0.0.1:{port}: {why}\n"


def test_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """A port on which nobody listens is named, without a traceback."""
    port = free_port()
    assert ask_ready("", port) is Exit.FAILED
    assert capsys.readouterr().err == f"no answer from 127.0.0.1:{port}: connection refused\n"


def test_the_admin_port_is_off(capsys: pytest.CaptureFixture[str]) -> None:
    """Then there is nothing to ask, and the variable is named."""
    assert ask_ready("", 0) is Exit.FAILED
    assert "TLSPROXY_ADMIN_PORT=0" in capsys.readouterr().err
