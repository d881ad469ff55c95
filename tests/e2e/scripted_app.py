"""The legacy app of the tests: a server that records the raw bytes it gets and does what a script says.

A script is a function of one `AppConnection`, run in a thread of its own for each connection. It reads, sends
pieces, waits for the test's events, closes or resets; when it returns, the connection is closed. Without a
script every request is answered with what `answer` was given.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

from tests.e2e import messages
from tests.e2e.messages import Reader, Request
from tests.e2e.polling import wait_until
from tests.e2e.raw_client import PIECE, TIMEOUT, reset

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GRACE = 2.0
"""Seconds that a connection is given to end by itself when the test is over."""

Answer = bytes | Callable[[Request], bytes]


class AppConnection:
    """One connection from the sidecar, as a script sees it."""

    def __init__(self, connection: socket.socket, number: int, app: "ScriptedApp") -> None:
        self.number = number
        """0 for the first connection since the test began."""
        self.raw = bytearray()
        """Every byte that was received, unless `recording` was off."""
        self.recording = True
        self.sent = 0
        """Bytes handed to the kernel."""
        self.over = threading.Event()
        """Set when the script has ended and the connection is closed."""
        self.reader = Reader(self.receive)
        self._socket = connection
        self._app = app

    def receive(self) -> bytes:
        """The next bytes past the reader; b"" at the end."""
        data = self._socket.recv(PIECE)
        if self.recording:
            self.raw += data
        return data

    def read_request(self) -> Request | None:
        """The next request with its body, recorded in the app's `requests`; None when the sidecar closed."""
        request = self.read_head()
        if request is not None:
            messages.read_request_body(self.reader, request)
        return request

    def read_head(self) -> Request | None:
        """The next request, its body left in the stream; recorded too."""
        request = messages.read_request_head(self.reader)
        if request is not None:
            self._app.requests.append(request)
        return request

    def wait_closed(self) -> str:
        """Read until the sidecar ends the connection: `fin` or `reset`."""
        try:
            while self.receive():
                pass
        except ConnectionResetError:
            return "reset"
        return "fin"

    def send(self, *pieces: bytes) -> None:
        """Send the pieces, each in a packet of its own; blocks while the sidecar does not read."""
        for piece in pieces:
            view = memoryview(piece)
            while view:
                count = self._socket.send(view[:PIECE])
                self.sent += count
                view = view[count:]

    def finish_sending(self) -> None:
        """End the sending half: FIN."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End with RST."""
        reset(self._socket)

    def close(self) -> None:
        """End both halves; may be called twice."""
        self._socket.close()

    def cut(self) -> None:
        """End both halves though a script may be blocked on them."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


Script = Callable[[AppConnection], object]


class ScriptedApp:
    """A listening app; `port` is the port it was given, or a free one."""

    def __init__(self, port: int = 0, host: str = "127.0.0.1", unix_socket: str | None = None) -> None:
        self.connections: list[AppConnection] = []
        self.requests: list[Request] = []
        self.failures: list[Exception] = []
        """What scripts raised, other than errors of their connections."""
        self._play: Script = self.answer_each
        self._answer: Answer = OK
        self._threads: list[threading.Thread] = []
        self._listener = _listen(host, port, unix_socket)
        self.port: int = 0 if unix_socket else self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answer(self, answer: Answer) -> None:
        """From the next request on, give this answer, or what this function of the request returns."""
        self._answer = answer

    def script(self, play: Script) -> None:
        """From the next connection on, run `play` with it."""
        self._play = play

    def wait_for_requests(self, count: int) -> list[Request]:
        """The requests, once there are at least `count`."""
        wait_until(lambda: len(self.requests) >= count, f"{count} requests at the app")
        return self.requests

    def wait_for_connections(self, count: int) -> list[AppConnection]:
        """The connections, once there are at least `count`."""
        wait_until(lambda: len(self.connections) >= count, f"{count} connections to the app")
        return self.connections

    @property
    def request(self) -> Request:
        """The only request that came."""
        assert len(self.requests) == 1, [request.start for request in self.requests]
        return self.requests[0]

    def clear(self) -> None:
        """End every connection, forget what came, go back to the plain answer; raise what a script raised."""
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.finish_sending()
        self._join(GRACE)
        for connection in self.connections:
            connection.cut()
        self._join(TIMEOUT)
        failures, self.failures = self.failures, []
        self.connections, self.requests, self._threads = [], [], []
        self._play, self._answer = self.answer_each, OK
        if failures:
            raise failures[0]

    def close(self) -> None:
        """Stop listening and end every connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(TIMEOUT)
        self.clear()

    def _join(self, within: float) -> None:
        for thread in self._threads:
            thread.join(within)

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            accepted.settimeout(TIMEOUT)
            if accepted.family != socket.AF_UNIX:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = AppConnection(accepted, len(self.connections), self)
            thread = threading.Thread(target=self._run, args=(connection, self._play), daemon=True)
            self.connections.append(connection)
            thread.start()
            # Started first: `clear`, which joins them, may come at any time.
            self._threads.append(thread)

    def _run(self, connection: AppConnection, play: Script) -> None:
        try:
            play(connection)
        except OSError:
            pass  # the sidecar has closed, or the test has ended
        except messages.IncompleteError:
            pass  # likewise, within a request
        except Exception as failure:  # whatever it is, `clear` raises it in the test's thread
            self.failures.append(failure)
        finally:
            connection.close()
            connection.over.set()

    def answer_each(self, connection: AppConnection) -> None:
        """The script that a connection gets unless it is given another."""
        while request := connection.read_request():
            answer = self._answer
            connection.send(answer if isinstance(answer, bytes) else answer(request))


def response(
    body: bytes = b"", *fields: str, status: str = "200 OK", length: bool = True, version: str = "1.1"
) -> bytes:
    """A response with extra field lines and, unless `length` is off, a Content-Length, as bytes."""
    lines = [f"HTTP/{version} {status}", *fields]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _listen(host: str, port: int, unix_socket: str | None) -> socket.socket:
    if unix_socket is not None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(unix_socket)
    else:
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    listener.listen(256)
    return listener
