"""Who looks, and when: only as somebody asks, once for all who ask at the same time, and never in the event loop.

A look reads hundreds of files, and any of them may keep its reader waiting: that of a process whose memory is being
changed, say. So one thread looks, the loop goes on answering, and a look that does not end is seen by its age.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TypeVar

from tlsproxy.chassis.admin.health import Condition
from tlsproxy.companions.topz.snapshot import Snapshot

T = TypeVar("T")

FRESH = 30.0
"""Seconds after which a snapshot is taken anew to know that it can be; that is what a probe costs at most."""
LATE = 45.0
"""Seconds after which there should have been another one."""


class Beside:
    """One thread that does one thing after another; it ends with the process, whatever it is waiting for."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def call(self, work: Callable[[], T]) -> T:
        """What the work returns or raises; work that nobody waits for any more is not begun."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            if done.done():
                return
            outcome = _outcome(work)
            # The loop may have ended meanwhile.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, done, outcome)

        self._jobs.put(job)
        return await done

    def _work(self) -> None:
        while True:
            self._jobs.get()()


def _outcome(work: Callable[[], T]) -> Callable[[], T]:
    """Do the work; returns what returns what came of it, or raises it."""
    try:
        result = work()
    except Exception as error:
        failed = error
    else:
        return lambda: result

    def fail() -> T:
        raise failed

    return fail


def _settle(done: "asyncio.Future[T]", outcome: Callable[[], T]) -> None:
    """Hand over what came of the work, unless nobody waits for it any more."""
    if done.done():
        return
    try:
        done.set_result(outcome())
    except Exception as error:
        done.set_exception(error)


class Looking:
    """The last snapshot, and the next one.

    Args:
        look: takes a snapshot; in the thread.
        beside: the thread.
        interval: seconds that CPU is measured over at least.
    """

    def __init__(self, look: Callable[[], Snapshot], beside: Beside, interval: float) -> None:
        self._look = look
        self._beside = beside
        self._interval = interval
        self._last: Snapshot | None = None
        self._flight: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self.taken = 0
        """Snapshots so far."""
        self.seconds = 0.0
        """That they took in all."""

    def __repr__(self) -> str:
        return f"<Looking taken={self.taken} failure={self._failure!r}>"

    async def latest(self, within: float) -> Snapshot:
        """A snapshot that is no older than so many seconds.

        Raises:
            OSError: /proc can't be read.
        """
        last = self._last
        return last if last is not None and monotonic() - last.at <= within else await self._take()

    async def measured(self) -> Snapshot:
        """A snapshot of this moment, or of `interval` seconds ago at most, with CPU; waits for it where need be.

        Raises:
            OSError: /proc can't be read.
        """
        last = await self.latest(self._interval)
        return last if last.interval is not None else await self.after(last)

    async def after(self, last: Snapshot) -> Snapshot:
        """A snapshot later than that one, as soon as CPU can be measured since.

        Raises:
            OSError: /proc can't be read.
        """
        await asyncio.sleep(max(last.at + self._interval - monotonic(), 0.0))
        # Whoever has waited with us may have been first.
        return self._last if self._last is not None and self._last.at > last.at else await self._take()

    async def _take(self) -> Snapshot:
        """A look, or the one that is under way."""
        if self._flight is None:
            self._flight = asyncio.get_running_loop().create_task(self._fly(), name="look")
        # Whoever leaves before the end leaves it to the others.
        await asyncio.shield(self._flight)
        if self._failure is not None:
            raise self._failure
        assert self._last is not None
        return self._last

    async def _fly(self) -> None:
        try:
            last = await self._beside.call(self._look)
        except Exception as error:
            # It is raised to those who are waiting; where there is none any more nobody is to be told.
            self._failure = error
        else:
            self._last, self._failure = last, None
            self.taken += 1
            self.seconds += last.took
        finally:
            self._flight = None

    def condition(self) -> Condition:
        """Whether there is a snapshot, and none that should have been replaced."""
        if self._failure is not None:
            return Condition("processes", ok=False, detail=str(self._failure))
        if self._last is None:
            return Condition("processes", ok=False, detail="there has been no look yet")
        age = monotonic() - self._last.at
        return Condition("processes", age <= LATE, "" if age <= LATE else f"the last look was {age:.0f}s ago")
