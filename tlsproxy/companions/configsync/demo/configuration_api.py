"""The demo's configuration API: one document at a URL, with an ETag; a PUT replaces it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Thread

PATH = "/app.json"


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, document: bytes) -> None:
        self.document = document
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, *_: object) -> None:
        """Stay silent: a connection that ended in the middle of a request is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one segment: in two, the second would wait for the peer's delayed acknowledgement.
    wbufsize = -1
    server: _Server

    def do_GET(self) -> None:
        document = self.server.document
        etag = f'"{hashlib.sha256(document).hexdigest()[:12]}"'
        if self.path != PATH:
            self._answer(404)
        elif self.headers.get("If-None-Match") == etag:
            self._answer(304, etag)
        else:
            self._answer(200, etag, document)

    def do_PUT(self) -> None:
        self.server.document = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(204)

    def _answer(self, status: int, etag: str = "", document: bytes = b"") -> None:
        self.send_response(status)
        if etag:
            self.send_header("ETag", etag)
        if status not in {204, 304}:
            self.send_header("Content-Length", str(len(document)))
        self.end_headers()
        self.wfile.write(document)

    def log_message(self, *_: object) -> None:
        """Stay silent: the transcript is not the API's to write into."""


@contextmanager
def configuration_api(port: int, document: bytes) -> Iterator[str]:
    """Runs for the length of the block; gives the document's URL."""
    with _Server(port, document) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="API", daemon=True).start()
        try:
            yield f"http://127.0.0.1:{port}{PATH}"
        finally:
            server.shutdown()
