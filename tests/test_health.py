"""`tlsproxy health`: the admin port's answer as an exit status."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.e2e.ports import free_port
from tlsproxy.exits import Exit
from tlsproxy.health import ask_ready


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


def test_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """A port on which nobody listens is named, without a traceback."""
    port = free_port()
    assert ask_ready("", port) is Exit.FAILED
    assert f"no answer from 127.0.0.1:{port}: " in capsys.readouterr().err


def test_what_answers_is_no_http(capsys: pytest.CaptureFixture[str]) -> None:
    """Something else on the port is no readiness."""
    with admin(200, b"") as (port, _):
        pass
    import socket  # noqa: PLC0415  this test alone speaks no HTTP

    with socket.create_server(("127.0.0.1", port)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert ask_ready("127.0.0.1", port) is Exit.FAILED
        thread.join()
    assert "no answer from" in capsys.readouterr().err


def test_the_admin_port_is_off(capsys: pytest.CaptureFixture[str]) -> None:
    """Then there is nothing to ask, and the variable is named."""
    assert ask_ready("", 0) is Exit.FAILED
    assert "TLSPROXY_ADMIN_PORT=0" in capsys.readouterr().err
