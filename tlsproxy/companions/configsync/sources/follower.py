"""One source, followed: how often it is asked, and what is done while it does not answer.

A source that is down for hours costs one request each so often, one line at the change and one every ten minutes, and
no memory; when it is back, the next request finds it, and all is as before.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from time import monotonic

from tlsproxy.chassis.repeats import Repeats
from tlsproxy.companions.configsync.sources.content import Content, Source, SourceError
from tlsproxy.companions.configsync.sources.progress import Progress

_logger = logging.getLogger("tlsproxy.sources")

_TELL_AGAIN = 600.0
"""Seconds after which what has been wrong since is said again."""
_HELD = 10.0
"""Seconds: a wait that was over sooner, and in vain, was perhaps none."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a source is asked, in seconds."""

    period: float = 60.0
    """Between two fetches where nothing is heard of; a fetch takes place then though changes are waited for."""
    jitter: float = 0.1
    """The part of the period by which it varies, so that many pods do not ask at once."""
    apart: float = 1.0
    """Between two fetches at least, however often something is heard of."""
    first_retry: float = 1.0
    """The longest pause after a first failure; it doubles with each further one."""
    longest_retry: float = 60.0
    """The ceiling of that."""
    longest_asked: float = 600.0
    """The longest that a source's Retry-After is heeded for."""

    def until_next(self, chance: float) -> float:
        """The period with its jitter; `chance` is from 0 to 1."""
        return self.period * (1 + self.jitter * (2 * chance - 1))

    @property
    def longest_period(self) -> float:
        """With its jitter."""
        return self.until_next(1.0)

    def until_retry(self, failures: int, chance: float, asked: float | None) -> float:
        """After so many failures in a row, the last of which may have asked for a pause.

        Full jitter, as AWS's architecture blog measures it to be the least work for a service that comes back. What
        the source asked for is never undercut, and exceeded by up to a tenth, since it asked the same of everybody.
        """
        ceiling = min(self.longest_retry, self.first_retry * 2.0 ** min(failures - 1, 30))
        pause = max(ceiling * chance, self.first_retry / 10)
        return max(pause, min(asked or 0.0, self.longest_asked) * (1 + chance / 10))

    def until_fetch(self, in_vain: int) -> float:
        """Between two fetches, when so many waits in a row were short; all but perhaps the last one were in vain."""
        return min(self.apart * 2.0 ** min(max(in_vain - 1, 0), 30), self.period)


class Follower:
    """Follows one source until it is cancelled.

    Args:
        source: nobody else calls it meanwhile; closed by whoever made it.
        emit: called with each content that differs from the one before; returns at once and raises nothing.
        pace: how often.
        chance: from 0 to 1, anew each time.
    """

    def __init__(
        self,
        source: Source,
        emit: Callable[[Content], None],
        pace: Pace,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._source = source
        self._emit = emit
        self._pace = pace
        self._chance = chance
        self._repeats = Repeats(_TELL_AGAIN)
        self._asked = asyncio.Event()
        self._down_since: float | None = None
        self._in_vain = 0
        """Waits in a row that were short, and after which a fetch found nothing."""
        self._watch_failures = 0
        """In a row."""
        self.progress = Progress(source.name)

    def look(self) -> None:
        """Fetch at once, whatever pause there is (SIGHUP)."""
        self._asked.set()

    async def run(self) -> None:
        """Fetch, wait, and so on."""
        while True:
            began = monotonic()
            retry = await self.fetch()
            if retry is None:
                await self._heard(began)
            else:
                await self._pause(retry)

    # ------------------------------------------------------------------ one attempt

    async def fetch(self) -> float | None:
        """One attempt; returns seconds until the next one is due after a failure, None after a success."""
        self._asked.clear()
        self.progress.attempt()
        try:
            content = await self._source.fetch()
        except SourceError as error:
            return self._failed(error)
        self._succeeded(content)
        return None

    def _succeeded(self, content: Content | None) -> None:
        self.progress.success(None if content is None else content.version)
        if self._down_since is not None:
            _logger.info("%s can be read again, after %.0fs", self._source.name, monotonic() - self._down_since)
            self._down_since = None
        if content is not None:
            self._in_vain = 0
            self._emit(content)

    def _failed(self, error: SourceError) -> float:
        self.progress.failure(str(error))
        if self._down_since is None:
            self._down_since = monotonic()
        kept = "the last good content stays" if self.progress.succeeded else "there is none yet"
        self._warn(f"{self._source.name} can't be read: {error}", kept)
        return self._pace.until_retry(self.progress.failures_in_a_row, self._chance(), error.retry_after)

    def _warn(self, what: str, meanwhile: str) -> None:
        untold = self._repeats.untold(what, monotonic())
        if untold is not None:
            again = f" ({untold} more times since that was last said)" if untold else ""
            _logger.warning("%s; %s%s", what, meanwhile, again)

    # ------------------------------------------------------------------ between two attempts

    async def _heard(self, fetched: float) -> None:
        """Until something is heard of, or the period is over; but not too soon after the fetch that began then."""
        began = monotonic()
        if not await self._within(self._pace.until_next(self._chance()), self._watched()):
            self._in_vain = 0
            return
        self._in_vain = self._in_vain + 1 if monotonic() - began < _HELD else 0
        await self._pause(fetched + self._pace.until_fetch(self._in_vain) - monotonic())

    async def _watched(self) -> None:
        """Until something is heard of; that it can't be is told, and tried again."""
        progress = self.progress
        while True:
            try:
                await self._source.wait()
            except SourceError as error:
                self._watch_failures += 1
                progress.watch_failures += 1
                progress.watch_problem = str(error)
                self._warn(f"{self._source.name} can't be watched: {error}", "it is asked each period alone")
                await asyncio.sleep(self._pace.until_retry(self._watch_failures, self._chance(), error.retry_after))
            else:
                self._watch_failures, progress.watch_problem = 0, ""
                return

    async def _pause(self, seconds: float) -> None:
        await self._within(max(seconds, 0.0), asyncio.Event().wait())

    async def _within(self, seconds: float, work: Coroutine[None, None, object]) -> bool:
        """Whether the work was done in so many seconds, or somebody asked; what was not done is cancelled."""
        tasks = {asyncio.create_task(work), asyncio.create_task(self._asked.wait())}
        try:
            done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            # What it holds open is closed before the next request is made.
            await asyncio.gather(*tasks, return_exceptions=True)
        return bool(done)
