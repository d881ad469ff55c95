"""The mounted directory's changes, as reload attempts.

One round is: arm a fresh watch, look at the files, wait. Arming comes before looking, so that no change falls
between the two, and is done anew each round, because a directory that was replaced by another of the same
name is no longer watched. Where no watch can be had, or no event comes, the resync alone brings the rounds.

An armed watch that sees nothing costs 0.05 % of one CPU, and ends within a tenth of a second when told.
"""

import asyncio
import logging
from collections.abc import Callable, Generator
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

from watchfiles import awatch

from tlsproxy.tls.store import Reload

# Pauses in seconds between looks at files that cannot be served as they are: whoever writes two files one
# after the other is done within them, and what is broken after their sum is reported.
RETRIES = (0.1, 0.3, 0.6, 1.0)
# Milliseconds: a burst ends when so long nothing more happens, or after the longer time in any case.
QUIET, BURST = 100, 500
# Seconds after which an event of what a resync has found is no longer on its way.
LATE = 1.0

log = logging.getLogger("tlsproxy.certificates")
# It tells of each burst, at the level at which we tell what came of it.
logging.getLogger("watchfiles").setLevel(logging.WARNING)


class Looking(Protocol):
    """What is kept at what lies on disk."""

    name: str
    """For messages."""

    def look(self, *, provisional: bool = False) -> Generator[None, None, Reload]:
        """Look at everything in steps, each of which may take the loop's thread for itself."""


async def in_steps(looking: Generator[None, None, Reload]) -> Reload:
    """What comes of a look; between its steps the loop does what else there is to do."""
    while True:
        try:
            next(looking)
        except StopIteration as ended:
            result: Reload = ended.value
            return result
        await asyncio.sleep(0)


class Watch:
    """Keeps certificates at what lies on disk."""

    def __init__(
        self,
        certificates: Looking,
        directories: Callable[[], frozenset[Path]],
        resync: float,
        rotated: Callable[[], None] = lambda: None,
    ) -> None:
        """Nothing happens before `run`.

        Args:
            certificates: looked at in the loop's thread, a step at a time: the files are small.
            directories: those to watch at this moment, all existing; called in each round.
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
        while True:
            stop = asyncio.Event()
            change = asyncio.create_task(self._change(stop), name="certificate watch")
            try:
                # One turn of the loop, in which the task arms its watch.
                await asyncio.sleep(0)
                await self._settle()
                await self._wait(change)
                if not change.done() and not self._asked.is_set():
                    await self._compare(change)
            finally:
                stop.set()
                await change

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

    async def _wait(self, change: asyncio.Task[None]) -> None:
        """Until files have changed, somebody asks, or the resync is due."""
        asked = asyncio.create_task(self._asked.wait())
        try:
            await asyncio.wait({change, asked}, timeout=self._resync, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()

    async def _compare(self, change: asyncio.Task[None]) -> None:
        """The resync; of a change that it finds, an event should have told."""
        result = await self._settle()
        if result.changed and not self._complained:
            await asyncio.wait({change}, timeout=LATE)
            if not change.done():
                self._complain("a change was found of which no event had told")

    async def _change(self, stop: asyncio.Event) -> None:
        """Until one burst of changes is over, or `stop`; where nothing can be watched, until `stop`."""
        try:
            changes = awatch(
                *self._directories(),
                watch_filter=None,
                debounce=BURST,
                step=QUIET,
                stop_event=stop,
                rust_timeout=0,
                recursive=False,
            )
            async with aclosing(changes):
                await anext(changes, None)
        except FileNotFoundError:
            # A directory went between its name and its watch: that is a change.
            await asyncio.sleep(QUIET / 1000)
        except (OSError, RuntimeError) as error:
            self._complain(f"its directory cannot be watched ({error})")
            await stop.wait()

    def _complain(self, why: str) -> None:
        if not self._complained:
            self._complained = True
            log.warning(
                "certificate %s: %s; its files are compared every %g s (TLSPROXY_CERT_RESYNC_PERIOD)",
                self._certificates.name,
                why,
                self._resync,
            )
