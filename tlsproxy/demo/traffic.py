"""Requests on several threads while a certificate is rotated: what was sent, what was served, what was lost.

Half of the threads keep one connection, the others make a new one for each request. Each answer is checked
against its own request, so that one that is missing, wrong or another's counts as lost. A thread ends with its
first loss.
"""

import http.client
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import NamedTuple

from tlsproxy.demo.client import TIMEOUT, Client

KEPT, FRESH = 2, 2  # threads
EACH = 60  # answers for each thread before the swap, and again after the new certificate was seen
SWAP_WITHIN = 10.0  # seconds; it takes a quarter of one
PAUSE = 0.02  # seconds between two looks


@dataclass(frozen=True, slots=True)
class Rotation:
    """What became of the requests."""

    kept: int
    """Requests over connections that were kept."""
    fresh: int
    """Requests over connections of their own."""
    lost: tuple[str, ...]
    """Why, for each request that was lost."""
    old: str
    """The serial that was served before the swap; empty when there was no swap, because a loss came first."""
    new: str
    """The serial that was served after it; empty when there was none within SWAP_WITHIN, or a loss came first."""
    seconds: float
    """From the swap to the end of the first handshake with the new certificate; 0 without one."""


class Handshake(NamedTuple):
    """One that was completed, with a certificate that was verified."""

    moment: float
    """On the monotonic clock."""
    serial: str


@dataclass(slots=True)
class _Course:
    """What one thread has done; written by it alone."""

    name: str
    answered: int = 0
    lost: str = ""
    """Why its last request was; empty while none was."""
    handshakes: list[Handshake] = field(default_factory=list)

    @property
    def sent(self) -> int:
        return self.answered + bool(self.lost)

    @property
    def target(self) -> str:
        """Of the request that comes next."""
        return f"/{self.name}/{self.answered + 1}"

    def connect(self, port: int, trust: ssl.SSLContext) -> Client:
        client = Client(port, trust)
        self.handshakes.append(Handshake(time.monotonic(), client.serial))
        return client

    def ask(self, client: Client) -> None:
        answer = client.get(self.target)
        if answer.status != 200:
            raise http.client.HTTPException(answer.head.splitlines()[0])
        if not answer.body.startswith(f"GET {self.target} ".encode()):
            raise http.client.HTTPException("the answer is another request's")
        self.answered += 1

    @contextmanager
    def noting_loss(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            self.lost = f"GET {self.target}: {type(error).__name__}: {error}"


class Traffic:
    """Requests to one port from KEPT and FRESH threads; good for one rotation."""

    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        """Nothing is sent before `rotate`."""
        self._port = port
        self._trust = trust
        self._stop = Event()
        self._kept = [_Course(f"kept/{number}") for number in range(1, KEPT + 1)]
        self._fresh = [_Course(f"new/{number}") for number in range(1, FRESH + 1)]

    def rotate(self, swap: Callable[[], None], progress: Callable[[int, int], None]) -> Rotation:
        """Send requests, swap the certificate, and go on until the new one has served for a while.

        Args:
            swap: puts another certificate in place.
            progress: told how many steps are done, and of how many.
        """
        old, new, seconds = "", "", 0.0
        with self._flowing():
            if self._flow(lambda done: progress(done, 2 * EACH)):
                old = self._handshakes()[-1].serial
                swap()
                swapped = time.monotonic()
                if (first := self._await_another(old)) is not None:
                    new, seconds = first.serial, first.moment - swapped
                    self._flow(lambda done: progress(EACH + done, 2 * EACH))
        kept, fresh = (sum(course.sent for course in courses) for courses in (self._kept, self._fresh))
        return Rotation(kept, fresh, self._lost(), old, new, seconds)

    @contextmanager
    def _flowing(self) -> Iterator[None]:
        """The threads run for the length of the block."""
        work = [(self._keep, course) for course in self._kept] + [(self._renew, course) for course in self._fresh]
        threads = [Thread(target=keep_asking, args=(course,), daemon=True) for keep_asking, course in work]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(2 * TIMEOUT)

    def _keep(self, course: _Course) -> None:
        with course.noting_loss(), course.connect(self._port, self._trust) as client:
            while not self._stop.is_set():
                course.ask(client)

    def _renew(self, course: _Course) -> None:
        with course.noting_loss():
            while not self._stop.is_set():
                with course.connect(self._port, self._trust) as client:
                    course.ask(client)

    def _flow(self, progress: Callable[[int], None]) -> bool:
        """Until each thread has had EACH answers from here on; False when a request was lost before."""
        courses = (*self._kept, *self._fresh)
        begun = [course.answered for course in courses]
        while not self._lost():
            done = min(course.answered - start for course, start in zip(courses, begun, strict=True))
            progress(min(done, EACH))
            if done >= EACH:
                return True
            time.sleep(PAUSE)
        return False

    def _await_another(self, serial: str) -> Handshake | None:
        """The first handshake with another serial; None when a request was lost before, or it took too long."""
        deadline = time.monotonic() + SWAP_WITHIN
        while not self._lost() and time.monotonic() < deadline:
            first = next((handshake for handshake in self._handshakes() if handshake.serial != serial), None)
            if first is not None:
                return first
            time.sleep(PAUSE)
        return None

    def _handshakes(self) -> list[Handshake]:
        """Those so far over connections of one request, in their order."""
        return sorted(handshake for course in self._fresh for handshake in tuple(course.handshakes))

    def _lost(self) -> tuple[str, ...]:
        return tuple(course.lost for course in (*self._kept, *self._fresh) if course.lost)
