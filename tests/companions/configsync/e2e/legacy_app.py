"""An app that reads its configuration when it starts, and one way or other again; and who starts it anew.

As a program it is told its file, its port and a file for its process id:

    python -S legacy_app.py CONFIGURATION PORT PIDFILE TOUCHED

GET /config tells what it goes by, and since how many readings; GET /healthz is 500 where that says "ill". It reads
again at SIGHUP, at POST /reload and when TOUCHED has a new time; "deaf" makes it say no to POST /reload.
"""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import FrameType
from typing import Self

POLLED = 0.02  # seconds
RESTART_PAUSE = 0.05


def main(configuration: str, port: str, pid_file: str, touched: str) -> None:
    """Serve until SIGTERM."""
    path, watched = Path(configuration), Path(touched)
    read = _Readings(path)
    signal.signal(signal.SIGHUP, read.again)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/healthz":
                self._answer(500 if read.config.get("ill") else 200, {})
            else:
                self._answer(200, {"config": read.config, "readings": read.count})

        def do_POST(self) -> None:
            read.again()
            self._answer(503 if read.config.get("deaf") else 200, {})

        def _answer(self, status: int, told: object) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, *_: object) -> None:
            pass

    class Server(HTTPServer):
        def service_actions(self) -> None:
            time = watched.stat().st_mtime_ns if watched.exists() else 0
            if time > read.time:
                read.time = time
                read.again()

    server = Server(("127.0.0.1", int(port)), Handler)
    Path(pid_file).write_text(str(os.getpid()))
    server.serve_forever(poll_interval=POLLED)


class _Readings:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.time = 0
        self.count = 0
        self.again()

    def again(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        self.config = json.loads(self._path.read_bytes())
        self.count += 1


class LegacyApp:
    """The program, started anew whenever it ends, as a kubelet does; on loopback, from `with` on."""

    def __init__(self, directory: Path, configuration: Path, port: int) -> None:
        self.port = port
        self.starts = 0
        self.pid_file = directory / "app.pid"
        self.touched = directory / "touched"
        self._command = [sys.executable, "-S", __file__, *map(str, (configuration, port, self.pid_file, self.touched))]
        self._process: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep)

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._process is not None:
            self._process.kill()
        self._keeper.join()

    def _keep(self) -> None:
        while not self._over.wait(RESTART_PAUSE):
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.starts += 1
            if self._over.is_set():
                self._process.kill()
            self._process.wait()

    def config(self) -> object:
        """What it goes by; None while it is not there."""
        return self._asked().get("config")

    def readings(self) -> object:
        """How often it has read that since it was started; None while it is not there."""
        return self._asked().get("readings")

    def _asked(self) -> dict[str, object]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/config")
                told: dict[str, object] = json.loads(connection.getresponse().read())
            except (OSError, http.client.HTTPException, ValueError):
                return {}
            return told


if __name__ == "__main__":
    main(*sys.argv[1:])
