"""The demo's traffic, against an HTTPS server that misbehaves when it is told to."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from threading import Thread

import pytest

from tlsproxy.demo import traffic
from tlsproxy.demo.client import trusting
from tlsproxy.demo.traffic import EACH, FRESH, KEPT, Rotation, Traffic
from tlsproxy.tls.development import Pair, make

Answer = Callable[[str], str | None]
"""From a target to the body of its response; None: the connection is closed."""

OLD, NEW = make(), make()


class Server(ThreadingTCPServer):
    """Answers over TLS with the certificate of the moment."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, directory: Path, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self._directory = directory
        self.serve(OLD)

    def serve(self, pair: Pair) -> None:
        """From the next handshake on."""
        file = self._directory / "pair.pem"
        file.write_bytes(pair.chain_pem + pair.key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        self.context = context

    def finish_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        assert isinstance(request, socket.socket)
        with self.context.wrap_socket(request, server_side=True) as tls:
            super().finish_request(tls, client_address)

    def handle_error(self, *_: object) -> None:
        """Clients that refuse the certificate or go away are part of the play."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        body = self.server.answer(self.path)
        if body is None:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def serving(directory: Path, answer: Answer) -> Iterator[Server]:
    with Server(directory, answer) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def rotate(server: Server, swap: Callable[[], None] | None = None, trust: ssl.SSLContext | None = None) -> Rotation:
    """A rotation from OLD to NEW with a client that trusts both, unless told otherwise."""
    steps: list[tuple[int, int]] = []
    client = Traffic(server.server_address[1], trust or trusting(OLD.ca_pem, NEW.ca_pem))
    rotation = client.rotate(swap or (lambda: server.serve(NEW)), lambda done, total: steps.append((done, total)))
    assert steps == sorted(steps)
    assert (steps[-1] == (2 * EACH, 2 * EACH)) == bool(rotation.new and not rotation.lost)
    return rotation


def echo(target: str) -> str:
    return f"GET {target} HTTP/1.1"


def test_nothing_lost(tmp_path: Path) -> None:
    """With every request answered, both serials are known and each thread had its answers before and after."""
    with serving(tmp_path, echo) as server:
        rotation = rotate(server)
    assert rotation.lost == ()
    assert rotation.old != rotation.new
    assert rotation.seconds > 0
    assert rotation.kept >= 2 * EACH * KEPT
    assert rotation.fresh >= 2 * EACH * FRESH


@pytest.mark.parametrize(
    ("target", "body", "reason"),
    [
        ("/kept/1/70", None, "RemoteDisconnected"),
        ("/new/2/70", None, "RemoteDisconnected"),
        ("/kept/2/5", "GET /kept/1/5 HTTP/1.1", "another request's"),
    ],
    ids=["kept connection closed", "new connection closed", "another's answer"],
)
def test_lost_request_is_named(tmp_path: Path, target: str, body: str | None, reason: str) -> None:
    """A request without an answer of its own is lost: it is named, with the reason, and counts as sent."""
    with serving(tmp_path, lambda asked: body if asked == target else echo(asked)) as server:
        rotation = rotate(server)
    (lost,) = rotation.lost
    assert lost.startswith(f"GET {target}: ")
    assert reason in lost


def test_untrusted_certificate_loses_requests(tmp_path: Path) -> None:
    """The certificate is verified by every new connection, after the swap too."""
    with serving(tmp_path, echo) as server:
        rotation = rotate(server, trust=trusting(OLD.ca_pem))
    assert rotation.old
    assert not rotation.new
    assert any("CERTIFICATE_VERIFY_FAILED" in lost for lost in rotation.lost)


def test_swap_without_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the old certificate goes on being served, there is no new serial, and no waiting without end."""
    monkeypatch.setattr(traffic, "SWAP_WITHIN", 0.1)
    with serving(tmp_path, echo) as server:
        rotation = rotate(server, swap=lambda: None)
    assert rotation.lost == ()
    assert rotation.old
    assert not rotation.new
