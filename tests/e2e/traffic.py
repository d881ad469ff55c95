"""Constant requests on threads while something happens to the sidecar, and what was lost of them.

Two threads keep their connections, one makes a new one for each request, one talks through an upgraded connection,
and one reads a download without end. Every answer is compared with its own request, so that one that is missing,
cut or another's counts as lost; a thread ends with its first loss.
"""

import threading
import time
from collections.abc import Callable
from itertools import count
from types import TracebackType
from typing import Self

from tests.e2e.polling import wait_until
from tests.e2e.raw_client import TlsClient, get
from tests.e2e.scripted_app import AppConnection, response
from tests.e2e.sidecar_process import Sidecar

KEPT = 2
PAUSE = 0.01
"""Seconds between two requests of a thread, so that the load takes no more than a share of a small machine."""
DOWNLOAD_PAUSE = 0.02
PIECE = 1024
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def echo(connection: AppConnection) -> None:
    """A script for the app: answer each request with its own target, and play the other end of the other courses."""
    while request := connection.read_request():
        if request.target == b"/tunnel":
            connection.send(SWITCH)
            while data := connection.reader.some():
                connection.send(data)
        elif request.target == b"/download":
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for number in count():
                connection.send(b"%x\r\n%*d\r\n" % (PIECE, PIECE, number))
                time.sleep(DOWNLOAD_PAUSE)
        else:
            connection.send(response(request.target))


class Traffic:
    """Requests from the start of the `with` to its end, which asserts that none was lost. The app must `echo`."""

    def __init__(self, sidecar: Sidecar) -> None:
        self.lost: list[str] = []
        """Why, for each thread that has lost a request."""
        self.answered = [0] * (KEPT + 3)
        """By thread."""
        self._sidecar = sidecar
        self._over = threading.Event()
        courses = [self._keep] * KEPT + [self._renew, self._tunnel, self._download]
        self._threads = [
            threading.Thread(target=self._run, args=(course, number), daemon=True)
            for number, course in enumerate(courses)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.wait_for_more()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.wait_for_more()
        self._over.set()
        for thread in self._threads:
            thread.join(10)
        assert self.lost == []

    def wait_for_more(self, count: int = 5) -> None:
        """Wait until each thread has had so many more answers, or one has lost a request."""
        wanted = [answered + count for answered in self.answered]
        wait_until(lambda: self.lost or all(map(int.__ge__, self.answered, wanted)), "more answers", 10)

    def _run(self, course: Callable[[int], None], number: int) -> None:
        try:
            course(number)
        except Exception as error:  # whatever it is, the request was lost by it
            self.lost.append(f"thread {number} after {self.answered[number]} answers: {error!r}")

    def _keep(self, number: int) -> None:
        with self._sidecar.connect() as client:
            while not self._over.wait(PAUSE):
                self._ask(client, number)

    def _renew(self, number: int) -> None:
        while not self._over.wait(PAUSE):
            with self._sidecar.connect() as client:
                self._ask(client, number)

    def _tunnel(self, number: int) -> None:
        with self._sidecar.connect() as client:
            client.send(get("/tunnel", "Connection: Upgrade", "Upgrade: websocket"))
            assert client.read_head().status == 101
            while not self._over.wait(PAUSE):
                word = b"%d;" % self.answered[number]
                client.send(word)
                assert client.reader.exactly(len(word)) == word
                self.answered[number] += 1

    def _download(self, number: int) -> None:
        with self._sidecar.connect() as client:
            client.send(get("/download"))
            assert client.read_head().status == 200
            had = b""
            while not self._over.is_set():
                had += client.read_chunk()
                while len(had) >= PIECE:
                    assert int(had[:PIECE]) == self.answered[number]
                    had = had[PIECE:]
                    self.answered[number] += 1

    def _ask(self, client: TlsClient, number: int) -> None:
        target = f"/{number}/{self.answered[number]}"
        answer = client.get(target)
        assert (answer.status, answer.body) == (200, target.encode())
        self.answered[number] += 1
