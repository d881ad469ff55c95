"""The demo's legacy app: it reads its file when it starts and never again, and knows nothing of configsync.

`python -m tlsproxy.companions.configsync.demo.app FILE PORT`. `/` is its greeting, `/healthz` says whether it has one.
"""

import json
import os
import sys
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, settings: Mapping[str, str]) -> None:
        self.settings = settings
        self._parent = os.getppid()
        super().__init__(("127.0.0.1", port), _Handler)

    def service_actions(self) -> None:
        """Not outlive the demo, however that ends."""
        if os.getppid() != self._parent:
            sys.exit(1)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        greeting = self.server.settings.get("greeting", "")
        body = f"{greeting or 'there is no greeting in the configuration'}\n".encode()
        self.send_response(200 if greeting else 503)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent: the transcript is not the app's to write into."""


def main() -> None:
    """Serve until SIGTERM."""
    file, port = sys.argv[1:]
    with _Server(int(port), json.loads(Path(file).read_bytes())) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
