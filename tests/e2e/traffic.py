"""Constant requests on threads while something happens to the sidecar, and what was lost of them.

Two threads keep their connections, one makes a new one for each request. Every answer is compared with its own
request, so that one that is missing, cut or another's counts as lost; a thread ends with its first loss.
"""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.e2e.polling import wait_until
from tests.e2e.raw_client import TlsClient
from tests.e2e.scripted_app import AppConnection, response
from tests.e2e.sidecar_process import Sidecar

KEPT = 2
PAUSE = 0.002
"""Seconds between two requests of a thread, so that the load takes no more than a share of a small machine."""


def echo(connection: AppConnection) -> None:
    """A script for the app: answer each request with its own target."""
    while request := connection.read_request():
        connection.send(response(request.target))


class Traffic:
    """Requests from the start of the `with` to its end, which asserts that none was lost. The app must `echo`."""

    def __init__(self, sidecar: Sidecar) -> None:
        self.lost: list[str] = []
        """Why, for each thread that has lost a request."""
        self.answered = [0] * (KEPT + 1)
        """By thread; the last one makes new connections."""
        self._sidecar = sidecar
        self._over = threading.Event()
        courses = [self._keep] * KEPT + [self._renew]
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

    def _ask(self, client: TlsClient, number: int) -> None:
        target = f"/{number}/{self.answered[number]}"
        answer = client.get(target)
        assert (answer.status, answer.body) == (200, target.encode())
        self.answered[number] += 1
