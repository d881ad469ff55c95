"""The legacy app: plain HTTP on a loopback port, a thread for each connection, and no idea of TLS.

It answers each request with what it saw of it. Nothing here knows that there is a proxy.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Thread


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "LegacyApp/1.0"
    sys_version = ""
    # Head and body in one segment: in two, the second would wait for the peer's delayed acknowledgement.
    wbufsize = -1

    def do_GET(self) -> None:
        page = f"{self.requestline}\n{str(self.headers).strip()}\n".encode(errors="replace")
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page)

    do_HEAD = do_GET  # noqa: N815 - the signature is http.server's

    def log_message(self, *_: object) -> None:
        """Stay silent: the transcript is not the app's to write into."""


class _Server(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Stay silent: a connection that ended in the middle of a request is no news."""


@contextmanager
def legacy_app() -> Iterator[int]:
    """Runs for the length of the block; gives its port."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="legacy app", daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
