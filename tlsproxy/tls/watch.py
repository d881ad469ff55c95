"""The mounted directory's changes, as reload attempts.

One round is: arm a fresh watch, look at the files, wait. Arming comes before looking, so that no change falls
between the two, and is done anew each round, because a directory that was replaced by another of the same
name is no longer watched. Of its being replaced from above no event tells, so that is asked once a second. What events
have told of is looked at before all that: among a thousand certificates it is one that has changed. Where no watch can
be had, or no event comes, the resync alone brings the rounds.

An armed watch that sees nothing costs 0.05 % of one CPU, and ends within a tenth of a second when told.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from time import monotonic
from typing import Protocol

from watchfiles import awatch

from tlsproxy.tls.files import identities, is_readable
from tlsproxy.tls.steps import Steps, in_steps
from tlsproxy.tls.store import Reload

# Pauses in seconds between looks at files that cannot be served as they are: whoever writes two files one
# after the other is done within them, and what is broken after their sum is reported.
RETRIES = (0.1, 0.3, 0.6, 1.0)
# Milliseconds: a burst ends when so long nothing more happens, or after the longer time in any case.
QUIET, BURST = 100, 500
# Seconds between two glances at whether the watched directories still lie where they are watched.
GLANCE = 1.0
# Seconds after which an event of what a resync has found is no longer on its way.
LATE = 1.0

Changed = frozenset[Path]
"""What a burst of events tells of."""

log = logging.getLogger("tlsproxy.certificates")
# It tells of each burst, at the level at which we tell what came of it.
logging.getLogger("watchfiles").setLevel(logging.WARNING)


class Looking(Protocol):
    """What is kept at what lies on disk."""

    name: str
    """For messages."""

    def look(self, *, provisional: bool = False) -> Steps[Reload]:
        """Look at everything, and publish at the end what is new and good."""

    def look_near(self, paths: Iterable[Path]) -> Steps[bool]:
        """Look at what has to do with these paths alone, as far as that is quicker; whether anything new is served."""


class Watch:
    """Keeps certificates at what lies on disk."""

    def __init__(
        self,
        certificates: Looking,
        directories: Callable[[], Steps[frozenset[Path]]],
        resync: float,
        rotated: Callable[[], None] = lambda: None,
    ) -> None:
        """Nothing happens before `run`.

        Args:
            certificates: looked at in the loop's thread, a step at a time: the files are small.
            directories: those to watch at this moment, all existing; asked for in each round.
            resync: seconds after which the files are looked at though no event came.
            rotated: called as soon as something new is served.
        """
        self._certificates = certificates
        self._directories = directories
        self._resync = resync
        self._rotated = rotated
        self._asked = asyncio.Event()
        self._complained = False

    def look(self) -> None:
        """Look at the files at once, and log what was found even if nothing has changed (SIGHUP)."""
        self._asked.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        changed: Changed = frozenset()
        while True:
            if await in_steps(self._certificates.look_near(changed)):
                self._rotated()
            stop = asyncio.Event()
            watched = await self._watchable()
            lying = await in_steps(identities(watched))
            change = asyncio.create_task(self._change(watched, stop), name="certificate watch")
            try:
                # One turn of the loop, in which the task arms its watch.
                await asyncio.sleep(0)
                await self._settle()
                # Where a link was turned before the watch was armed, nobody watches what it leads to.
                if watched == await self._watchable() and not await self._wait(change, lying):
                    await self._compare(change)
            finally:
                stop.set()
                changed = await change

    async def _watchable(self) -> frozenset[Path]:
        """The directories to watch; none where they can't be told."""
        try:
            watched = await in_steps(self._directories())
        except OSError as error:
            self._complain(f"its directory cannot be watched ({error})")
            return frozenset()
        closed = frozenset(path for path in watched if not is_readable(path))
        if closed:
            self._complain(f"{min(closed)} cannot be watched, since it may not be read")
        return watched - closed

    async def _settle(self) -> Reload:
        """Look until what is there can be served, or has been broken for so long that it is reported."""
        asked = self._asked.is_set()
        self._asked.clear()
        for pause in RETRIES:
            result = await self._load(provisional=True)
            if result.kind != "failed":
                break
            await asyncio.sleep(pause)
        else:
            result = await self._load(provisional=False)
        if asked and result.kind == "unchanged":
            log.info("certificate %s: %s", self._certificates.name, result.message)
        return result

    async def _load(self, *, provisional: bool) -> Reload:
        result = await in_steps(self._certificates.look(provisional=provisional))
        if result.changed:
            self._rotated()
        return result

    async def _wait(self, change: asyncio.Task[Changed], lying: dict[Path, tuple[int, int]]) -> bool:
        """Whether files have changed, their directories have been replaced, or somebody asks, before the resync."""
        due = monotonic() + self._resync
        asked = asyncio.create_task(self._asked.wait())
        try:
            while (left := due - monotonic()) > 0:
                await asyncio.wait({change, asked}, timeout=min(GLANCE, left), return_when=asyncio.FIRST_COMPLETED)
                if change.done() or asked.done() or lying != await in_steps(identities(lying)):
                    return True
        finally:
            asked.cancel()
        return False

    async def _compare(self, change: asyncio.Task[Changed]) -> None:
        """The resync; of a change that it finds, an event should have told."""
        result = await self._settle()
        if result.changed and not self._complained:
            await asyncio.wait({change}, timeout=LATE)
            if not change.done():
                self._complain("a change was found of which no event had told")

    async def _change(self, watched: frozenset[Path], stop: asyncio.Event) -> Changed:
        """Until one burst of changes is over, or `stop`; where nothing can be watched, until `stop`."""
        if not watched:
            await stop.wait()
            return frozenset()
        try:
            changes = awatch(
                *watched,
                watch_filter=None,
                debounce=BURST,
                step=QUIET,
                stop_event=stop,
                rust_timeout=0,
                recursive=False,
            )
            async with aclosing(changes):
                return frozenset(Path(path) for _, path in await anext(changes, None) or ())
        except FileNotFoundError:
            # A directory went between its name and its watch: that is a change.
            await asyncio.sleep(QUIET / 1000)
        except (OSError, RuntimeError) as error:
            self._complain(f"its directory cannot be watched ({error})")
            await stop.wait()
        return frozenset()

    def _complain(self, why: str) -> None:
        if not self._complained:
            self._complained = True
            log.warning(
                "certificate %s: %s; its files are compared every %g s (TLSPROXY_CERT_RESYNC_PERIOD)",
                self._certificates.name,
                why,
                self._resync,
            )
