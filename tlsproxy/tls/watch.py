"""The mounted directory's changes, as reload attempts.

One round is: arm a fresh watch, look at the files, wait. Arming comes before looking, so that no change falls
between the two, and is done anew each round, because a directory that was replaced by another of the same
name is no longer watched. Where no watch can be had, the resync alone brings the rounds.

An armed watch that sees nothing costs 0.05 % of one CPU, and ends within a tenth of a second when told.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from watchfiles import awatch

from tlsproxy.tls.store import Store

# Pauses in seconds between looks at files that cannot be served as they are: whoever writes two files one
# after the other is done within them, and what is broken after their sum is reported.
RETRIES = (0.1, 0.3, 0.6, 1.0)
# Milliseconds: a burst ends when so long nothing more happens, or after the longer time in any case.
QUIET, BURST = 100, 500

log = logging.getLogger("tlsproxy.certificates")
# It tells of each burst, at the level at which we tell what came of it.
logging.getLogger("watchfiles").setLevel(logging.WARNING)


class Watch:
    """Keeps one store at what lies on disk."""

    def __init__(self, store: Store, directories: Callable[[], frozenset[Path]], resync: float) -> None:
        """Nothing happens before `run`.

        Args:
            store: whose `load` is called, in the loop's thread: its files are small.
            directories: those to watch at this moment, all existing; called in each round.
            resync: seconds after which the files are looked at though no event came.
        """
        self._store = store
        self._directories = directories
        self._resync = resync
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
            finally:
                stop.set()
                await change

    async def _settle(self) -> None:
        """Look until what is there can be served, or has been broken for so long that it is reported."""
        asked = self._asked.is_set()
        self._asked.clear()
        for pause in RETRIES:
            result = self._store.load(provisional=True)
            if result.kind != "failed":
                break
            await asyncio.sleep(pause)
        else:
            result = self._store.load()
        if asked and result.kind == "unchanged":
            log.info("certificate %s: %s", self._store.name, result.message)

    async def _wait(self, change: asyncio.Task[None]) -> None:
        """Until files have changed, somebody asks, or the resync is due."""
        asked = asyncio.create_task(self._asked.wait())
        try:
            await asyncio.wait({change, asked}, timeout=self._resync, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()

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
            self._complain(error)
            await stop.wait()

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            log.warning(
                "certificate %s: its directory cannot be watched (%s); its files are compared every %g s "
                "(TLSPROXY_CERT_RESYNC_PERIOD)",
                self._store.name,
                error,
                self._resync,
            )
