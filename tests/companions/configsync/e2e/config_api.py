"""A configuration API of the tests' own: files by path, with ETags, held requests, events, and a door that closes."""

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class ConfigApi:
    """Listens on loopback from `with` on."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.authorization: str | None = None
        """What a request has to show; None: nothing."""
        self.is_down = False
        """Whether connections are closed without an answer."""
        self.requests: list[tuple[str, Mapping[str, str]]] = []
        """Path and fields of each."""
        self.changed = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.api = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_down = True
        with self.changed:
            self.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def put(self, path: str, content: object) -> None:
        """Bytes as they are, anything else as JSON."""
        with self.changed:
            self.files[path] = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    api: ConfigApi

    def handle_error(self, request: object, client_address: object) -> None:
        """Who is stopped in the middle of a request is no fault."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        api = self.server.api
        api.requests.append((self.path, dict(self.headers)))
        path = self.path.partition("?")[0]
        if api.is_down:
            self.close_connection = True
        elif api.authorization not in (None, self.headers["Authorization"]):
            self._answer(401, b"")
        elif path == "/events":
            self._tell_of_events()
        elif self.path not in api.files:
            self._answer(404, b"")
        else:
            self._give()

    def _give(self) -> None:
        api, known = self.server.api, self.headers["If-None-Match"]
        if self.headers["Prefer"]:
            with api.changed:
                api.changed.wait_for(lambda: api.is_down or _tag(api.files[self.path]) != known, timeout=10)
        content = api.files[self.path]
        self._answer(304 if _tag(content) == known else 200, content, ETag=_tag(content))

    def _tell_of_events(self) -> None:
        api = self.server.api
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        with api.changed:
            while not api.is_down:
                self.wfile.write(b"data: changed\n\n")
                self.wfile.flush()
                api.changed.wait(10)

    def _answer(self, status: int, content: bytes, **fields: str) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status != 304:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing: what was asked is in `requests`."""


def _tag(content: bytes) -> str:
    return f'"{hash(content):x}"'
