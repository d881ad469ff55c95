"""configsync as a program: sources are followed, and what they give together is brought to the app."""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from tlsproxy.chassis import diagnostics
from tlsproxy.chassis.admin.health import Condition
from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.life import Life, build_measure
from tlsproxy.chassis.life import run as run_life
from tlsproxy.chassis.listening import listen
from tlsproxy.chassis.measures import Measure
from tlsproxy.chassis.output import lost_measure
from tlsproxy.companions.configsync import assembly
from tlsproxy.companions.configsync.checking import UncheckedError
from tlsproxy.companions.configsync.control import Control
from tlsproxy.companions.configsync.sources import progress
from tlsproxy.companions.configsync.sources.content import Content
from tlsproxy.companions.configsync.sources.follower import Follower
from tlsproxy.companions.configsync.version import ClashError, Version, version_of
from tlsproxy.companions.rollout.commands import CommandError
from tlsproxy.companions.rollout.history import HistoryError
from tlsproxy.companions.rollout.outcomes import Outcome
from tlsproxy.companions.rollout.releases import ReleaseError, write_files

if TYPE_CHECKING:
    from tlsproxy.companions.configsync.settings import Settings

_logger = logging.getLogger("tlsproxy")

_TRY_AGAIN = 1.0
"""Seconds until a change that could not be made, or told of, is tried again; doubled each time, up to RETRY_MAX."""
_DOWN = 3
"""Failures in a row of a source that an app's start is not held up for, where it has a version; some five seconds."""
_THREADS = 2
"""For the disk, and for names."""
_REFUSED = frozenset({"rejected", "known bad", "failed", "restored"})


def run(settings: "Settings", shown: Mapping[str, str]) -> Exit:
    """Follow the sources until told to stop; returns the process's exit status.

    Args:
        settings: read for their attributes alone.
        shown: every variable as /status tells it, secrets masked.
    """
    life = Life(shown, "CONFIGSYNC_", settings.admin_host, settings.admin_port, settings.drain_delay)
    return run_life(life, partial(Configsync, settings), _new_loop)


def _new_loop() -> asyncio.AbstractEventLoop:
    """A small one: there is little to do, and a thread for each core and more would each have its part of the heap."""
    loop = asyncio.new_event_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS))
    return loop


class Configsync:
    """A `life.Program`."""

    def __init__(self, settings: "Settings", life: Life) -> None:
        self._settings = settings
        self._life = life
        self._began = monotonic()
        self._sources = assembly.sources(settings)
        self._pace = assembly.pace(settings)
        self._followers = tuple(
            Follower(source, partial(self._take, number), self._pace) for number, source in enumerate(self._sources)
        )
        self._contents: dict[int, Content] = {}
        """By the source's place: two may have the same name."""
        self._rollout = assembly.rollout(settings)
        self._something_to_do = asyncio.Event()
        self._trouble = ""
        """Why there is no change though there should be one; empty: there is none."""
        self._unfinished_since: float | None = None
        self._control = Control(settings, self._rollout, self._something_to_do.set)

    # ------------------------------------------------------------------ life, in its order

    async def start(self) -> Exit | None:
        """Take the volume, and begin to follow; a version is not waited for."""
        try:
            await self._rollout.start()
            await self._control.start(partial(listen, self._settings.control_host))
        except (ReleaseError, OSError) as error:
            _logger.error("%s", error)  # noqa: TRY400 - the way out matters, not the way in
            return Exit.FAILED
        for number, follower in enumerate(self._followers, 1):
            work = self._fetch_once(follower) if self._settings.one_time else _for_ever(follower.run)
            self._life.in_background(work, f"source {number}")
        self._life.in_background(_for_ever(self._bring), "changes")
        self._something_to_do.set()
        names = ", ".join(source.name for source in self._sources)
        _logger.info("following %s for %s", names, self._settings.dir)
        return None

    def signals(self) -> Mapping[signal.Signals, Callable[[], None]]:
        """SIGHUP asks all sources at once, and tries again what could not be done."""
        return {signal.SIGHUP: self._look, signal.SIGUSR2: lambda: None}

    async def linger(self, delay: float) -> None:
        """Go on for so long."""
        await asyncio.sleep(delay)

    async def drain(self) -> None:
        """Nothing: what is under way is noted, and gone on with at the next start."""

    async def close(self) -> None:
        """Let the volume go."""
        await self._control.stop()
        for source in self._sources:
            await source.aclose()
        await self._rollout.close()

    def _look(self) -> None:
        for follower in self._followers:
            follower.look()
        self._something_to_do.set()

    # ------------------------------------------------------------------ from contents to a change

    def _take(self, source: int, content: Content) -> None:
        self._contents[source] = content
        self._something_to_do.set()

    async def _bring(self) -> None:
        """Bring each version to the app, and what was begun before to its end."""
        failures = 0
        while True:
            self._something_to_do.clear()
            well = await self._attempt()
            self._unfinished_since = None if well else self._unfinished_since or monotonic()
            failures = 0 if well else failures + 1
            pause = min(_TRY_AGAIN * 2.0 ** min(failures - 1, 30), self._settings.retry_max)
            with suppress(TimeoutError):
                async with asyncio.timeout(None if well else pause):
                    await self._something_to_do.wait()

    async def _attempt(self) -> bool:
        """Whether nothing is left to be tried again."""
        try:
            outcome = await self._change()
        except (ClashError, ReleaseError, HistoryError, UncheckedError, CommandError) as error:
            self._say(f"the version can't be brought to the app: {error}")
            return False
        self._trouble = outcome.detail if outcome is not None and outcome.result in _REFUSED else ""
        return self._rollout.unfinished is None

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            _logger.error("%s", trouble)
        self._trouble = trouble

    async def _change(self) -> Outcome | None:
        """Offer what there is; None: not every source has given something, and nothing was begun before."""
        if len(self._contents) < len(self._sources):
            return await self._rollout.go_on()
        version = version_of((source.name, self._contents[number]) for number, source in enumerate(self._sources))
        outcome = await self._rollout.offer(version.name, version.origin, partial(_fill, version))
        if self._settings.one_time:
            self._end_with(outcome)
        return outcome

    # ------------------------------------------------------------------ once, for an init container

    def _end_with(self, outcome: Outcome) -> None:
        """One that was refused is a failure, unless there is a version from before that the app can start with."""
        current = self._rollout.current
        if outcome.result in _REFUSED and current is not None:
            _logger.warning("version %s was refused; %s, from before, stays", outcome.name, current)
        self._life.end(Exit.FAILED if current is None else Exit.STOPPED)

    async def _fetch_once(self, follower: Follower) -> None:
        """Until it has answered; where there is a version from before, that is better than to wait for long."""
        while (retry := await follower.fetch()) is not None:
            if follower.progress.failures_in_a_row >= _DOWN and self._rollout.current is not None:
                _logger.warning("%s, from before, stays", self._rollout.current)
                self._life.end()
                return
            await asyncio.sleep(retry)

    # ------------------------------------------------------------------ what the admin port tells

    async def live(self) -> Iterable[Condition]:
        """That the process answers."""
        return ()

    def started(self) -> Iterable[Condition]:
        """That there is a version: an app that starts now finds its files."""
        return [self._has_version()]

    async def ready(self) -> Iterable[Condition]:
        """That the app has a version, all sources answer, and no change has stood still for too long."""
        stopping = self._life.is_stopping
        return [
            self._has_version(),
            *map(self._answers, self._followers),
            self._moves(),
            Condition("serving", not stopping, "draining" if stopping else ""),
        ]

    def _has_version(self) -> Condition:
        version = self._rollout.current
        return Condition("version", version is not None, version or self._trouble or "none yet")

    def _answers(self, follower: Follower) -> Condition:
        """Until it has answered once, its time runs from the start: an app with a version from before needs no more."""
        progress = follower.progress
        # It is asked so often, and what is not due yet is not late.
        late = monotonic() - self._began if progress.age is None else progress.age - self._pace.longest_period
        fresh = late < self._settings.stale_after
        if fresh and progress.age is not None and not progress.problem:
            return Condition("source", ok=True, detail=progress.name)
        ago = "has not answered yet" if progress.age is None else f"has not answered for {progress.age:.0f}s"
        return Condition("source", fresh, f"{progress.name} {ago}: {progress.problem or 'it is being asked'}")

    def _moves(self) -> Condition:
        since = self._unfinished_since
        stands = since is not None and monotonic() - since > self._settings.stale_after
        return Condition("change", not stands, self._trouble or "the app could not be told" if stands else "")

    async def status(self) -> Mapping[str, object]:
        """Versions, history and sources."""
        return {
            **self._rollout.status(),
            "trouble": self._trouble or None,
            "sources": [follower.progress.status() for follower in self._followers],
        }

    async def measures(self) -> Iterable[Measure]:
        """Changes, sources, and what runs."""
        return measures(self._rollout.measures("configsync"), [follower.progress for follower in self._followers])

    def processes(self) -> Iterable[int]:
        """None but this one."""
        return ()


def measures(changes: Iterable[Measure], followed: Iterable[progress.Progress]) -> Iterator[Measure]:
    """All that is counted."""
    yield from changes
    yield from progress.measures(followed)
    yield lost_measure(0, diagnostics.lost(), "configsync")
    yield build_measure("configsync")


async def _fill(version: Version, staged: Path) -> None:
    await asyncio.to_thread(write_files, staged, version.files)


async def _for_ever(work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Do it, come what may: what ends unnoticed would be missed when it is too late."""
    while True:
        try:
            await work()
        except Exception:
            _logger.exception("this should not have happened; it begins anew")
        await asyncio.sleep(1)
