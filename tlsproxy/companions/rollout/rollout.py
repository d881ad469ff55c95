"""The order of a change: check, publish, tell, watch over, and keep it or restore the one before.

Each step is noted in the history before it is taken. So what a killed or stopped process has begun is gone on with by
the next one, and the app is told at least once of what it sees. What checks, tells and watches is handed in; where
versions come from is not known here.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import ParamSpec

from tlsproxy.chassis.measures import Measure
from tlsproxy.chassis.repeats import Repeats
from tlsproxy.companions.rollout.history import BecameOf, Change, Entry, History, HistoryError, State, entry_of
from tlsproxy.companions.rollout.outcomes import Check, Fill, Outcome, RefusedError, RolloutError, Tell, Watch
from tlsproxy.companions.rollout.releases import ReleaseError, Releases, UnfitError
from tlsproxy.companions.rollout.tally import Standing, Tally
from tlsproxy.companions.rollout.threads import whole

_logger = logging.getLogger("tlsproxy.rollout")

_Arguments = ParamSpec("_Arguments")

_TELL_AGAIN = 600.0
"""Seconds after which what has been wrong since is said again."""


async def _no_check(staged: Path) -> None:
    pass


async def _tell_nobody(name: str) -> None:
    pass


async def _watch_nothing() -> None:
    pass


class Rollout:
    """One volume's changes, one at a time.

    `start` once, then `offer` as often as there is a version, and `go_on` where `unfinished` says so. All may be
    cancelled: what has been begun stays noted.
    """

    def __init__(
        self,
        releases: Releases,
        history: History,
        *,
        check: Check = _no_check,
        tell: Tell = _tell_nobody,
        watch: Watch = _watch_nothing,
    ) -> None:
        self._releases = releases
        self._history = history
        self._check = check
        self._tell = tell
        self._watch = watch
        self._lock = asyncio.Lock()
        self._people = 0
        """Who wait for the lock, and not for the end of a watch."""
        self._hurry = asyncio.Event()
        """Set while there are such people."""
        self._rejected: dict[str, str] = {}
        self._current: str | None = None
        self._kept: tuple[str, ...] = ()
        self._doing = ""
        self._repeats = Repeats(_TELL_AGAIN)
        self._tally = Tally()

    def __repr__(self) -> str:
        return f"<Rollout current={self._current} {self._doing or 'idle'}>"

    # ------------------------------------------------------------------ a start

    async def start(self) -> None:
        """Take the volume and put in order what a killed process left; `go_on` then tells the app of it.

        Raises:
            ReleaseError: the volume can't be used.
        """
        async with self._lock:
            await whole(self._releases.open)
            await whole(self._history.open)
            await self._look()
            if self._current is not None and not self._state.entries and self._state.change is None:
                # The history was lost: without this there would be nothing to go back to from the next version.
                found = Entry(self._current, "the volume", datetime.now(UTC), "published", "found at a start")
                await self._remember(self._history.end, found, is_good=True)

    async def close(self) -> None:
        """Let another process have the volume, after the change that is under way."""
        async with self._lock:
            await whole(self._releases.close)

    # ------------------------------------------------------------------ what is asked for

    async def offer(self, name: str, origin: str, fill: Fill) -> Outcome:
        """Have a version published, unless there is a reason not to.

        Args:
            name: the same for the same content, and for nothing else: a digest or a commit.
            origin: where it comes from, for the history.
            fill: writes it; called only when it is needed.

        Raises:
            ReleaseError: the volume can't be written, or has something of others in the way; nothing is lost.
            HistoryError: the history can't be written; nothing was changed.
            Exception: what `fill` raised, or `check` when it could not be made.
        """
        async with self._lock:
            if (reason := self._reason_against(name)) is not None:
                await self._go_on()
                return reason
            if name == self._current:
                return await self._stay(name, origin)
            if (refusal := await self._take_in(name, origin, fill)) is not None:
                return refusal
            return await self._carry_out(Change(name, origin, "published"))

    async def go_on(self) -> Outcome | None:
        """Bring a change to its end that was begun; None when there is none. Raises as `offer`."""
        async with self._lock:
            return await self._go_on()

    async def roll_back(self, who: str, name: str | None = None) -> Outcome:
        """Go back to a version, by default the last one that was good, and don't try the present one again.

        At once: where the app is being watched, that ends. Before, a version that is written or told of comes so far.

        Raises:
            RolloutError: there is no such version, or one is pinned.
            ReleaseError: as `offer`.
            HistoryError: as `offer`.
        """
        self._target(name)
        async with self._at_once():
            change = Change(self._target(name), who, "rolled back")
            return await self._carry_out(change, condemned=f"rolled back by {who}")

    def _target(self, name: str | None) -> str:
        """The version to go back to."""
        pinned = self._state.pinned
        if pinned is not None:
            raise RolloutError(f"version {pinned} is pinned; unpin it first")
        target = self._former(self._current) if name is None else name
        if target is None:
            raise RolloutError("there is no version to go back to")
        self._see_that_kept(target)
        if target == self._current:
            raise RolloutError(f"version {target} is current already")
        return target

    async def pin(self, name: str, who: str) -> Outcome:
        """Publish a version if it is not, and hold it against whatever is offered. Raises as `roll_back`."""
        self._see_that_kept(name)
        async with self._lock if name == self._current else self._at_once():
            self._see_that_kept(name)
            change = Change(name, who, "pinned")
            if name != self._current or self._state.change is not None:
                return await self._carry_out(change)
            await whole(self._history.pin, entry_of(change, "pinned", ""))
            self._note("pinned", name, f"by {who}")
            return Outcome(name, "pinned")

    async def unpin(self, who: str) -> None:
        """Hold nothing any longer: the next offer is taken.

        Raises:
            RolloutError: nothing is pinned.
            HistoryError: as `offer`.
        """
        async with self._lock:
            pinned = self._state.pinned
            if pinned is None:
                raise RolloutError("no version is pinned")
            await whole(self._history.unpin, Entry(pinned, who, datetime.now(UTC), "unpinned"))
            self._note("unpinned", pinned, f"by {who}")

    @asynccontextmanager
    async def _at_once(self) -> AsyncIterator[None]:
        """The lock, for a person who wants another version than the one that the app is watched over with."""
        self._people += 1
        self._hurry.set()
        try:
            await self._lock.acquire()
        finally:
            self._people -= 1
            if not self._people:
                self._hurry.clear()
        try:
            yield
        finally:
            self._lock.release()

    # ------------------------------------------------------------------ before anything is seen

    @property
    def _state(self) -> State:
        return self._history.state

    def _reason_against(self, name: str) -> Outcome | None:
        pinned, bad = self._state.pinned, {**self._rejected, **self._state.bad}
        if pinned not in (None, name):
            return Outcome(name, "held", f"version {pinned} is pinned")
        if name in bad:
            return Outcome(name, "known bad", bad[name])
        return None

    async def _stay(self, name: str, origin: str) -> Outcome:
        """What is current is offered: end what was begun, be it this version or another one that never came to be."""
        change = self._state.change
        if change is not None and change.name != name:
            return await self._carry_out(Change(name, origin, "published"))
        return await self._go_on() or Outcome(name, "unchanged")

    async def _take_in(self, name: str, origin: str, fill: Fill) -> Outcome | None:
        """Write and check it where nobody sees it; the outcome when it is refused."""
        self._doing = f"writing {name}"
        staged = self._releases.stage()  # at once: from a thread, what is made would be lost to who is cancelled
        try:
            await fill(staged)
            self._doing = f"checking {name}"
            await self._check(staged)
            await whole(self._releases.seal, staged, name)
        except (RefusedError, UnfitError) as error:
            await self._discard(staged)
            return await self._reject(name, origin, str(error))
        except BaseException:
            await self._discard(staged)
            raise
        finally:
            self._doing = ""
        await self._look()
        return None

    async def _discard(self, staged: Path) -> None:
        try:
            await whole(self._releases.discard, staged)
        except ReleaseError as error:
            _logger.warning("%s", error)

    async def _reject(self, name: str, origin: str, why: str) -> Outcome:
        # Until the process ends: the next one may have other checks.
        self._rejected[name] = why
        await self._remember(self._history.add, Entry(name, origin, datetime.now(UTC), "rejected", why))
        self._note("rejected", name, why, logging.ERROR)
        return Outcome(name, "rejected", why)

    # ------------------------------------------------------------------ a change

    async def _carry_out(self, change: Change, condemned: str = "") -> Outcome:
        """Begin a change and bring it to its end.

        Args:
            change: from the current version, or one that was under way.
            condemned: why the current version is not to be tried again.
        """
        instead_of = self._given_up(change)
        if condemned and self._current is not None:
            await self._remember(self._history.mark_bad, self._current, condemned)
        await whole(self._history.begin, change, instead_of=instead_of)
        self._rejected.pop(change.name, None)
        return await self._see_through(change)

    def _given_up(self, change: Change) -> Entry | None:
        """The change that was under way, where it was for another version."""
        under_way = self._state.change
        if under_way is None or under_way.name == change.name:
            return None
        self._tally.count("superseded")
        return entry_of(under_way, "superseded", f"by {change.name}")

    async def _go_on(self) -> Outcome | None:
        change = self._state.change
        if change is None:
            return None
        if change.name not in self._kept:
            change = await self._undo(change)
        return None if change is None else await self._see_through(change)

    async def _undo(self, change: Change) -> Change | None:
        """The version is no more: what is current stays, and the app is told of it, whatever it has seen meanwhile."""
        why = "the process was killed before it was published, and it is no longer kept"
        undone = entry_of(change, "undone", why)
        self._note("undone", change.name, why, logging.WARNING)
        if self._current is None:
            await self._remember(self._history.end, undone)
            return None
        instead = Change(self._current, change.origin, "restored", f"{change.name} was undone")
        await whole(self._history.begin, instead, instead_of=undone)
        return instead

    async def _see_through(self, change: Change) -> Outcome:
        try:
            return await self._finish(change)
        finally:
            # However it ended: versions that are never published, or never told of, would fill the volume.
            await self._collect()

    async def _finish(self, change: Change) -> Outcome:
        """Publish, tell, watch over, and end it, be it this version or the former."""
        began = monotonic()
        try:
            self._doing = f"publishing {change.name}"
            await whole(self._releases.publish, change.name)
            await self._look()
            self._doing = f"telling the app of {change.name}"
            try:
                await self._tell(change.name)
            except RefusedError as error:
                return await self._fail(change, str(error))
            except Exception as error:  # whatever it is, the version is there and the app does not know
                return self._untold(change, error)
            self._doing = f"watching over {change.name}"
            try:
                if not await self._watch_unless_hurried():
                    return Outcome(change.name, "superseded", "another version was asked for")
            except Exception as error:  # whatever it is, nobody knows that the app is well
                return await self._fail(change, str(error))
            return await self._keep(change, monotonic() - began)
        finally:
            self._doing = ""

    async def _watch_unless_hurried(self) -> bool:
        """Watch over the app; False where a person did not want to wait for the end of it."""
        watch, hurry = asyncio.ensure_future(self._watch()), asyncio.ensure_future(self._hurry.wait())
        try:
            await asyncio.wait({watch, hurry}, return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                await watch
            return watch.done()
        finally:
            for task in (watch, hurry):
                task.cancel()
            await asyncio.gather(watch, hurry, return_exceptions=True)

    async def _keep(self, change: Change, seconds: float) -> Outcome:
        await self._remember(self._history.end, entry_of(change, change.outcome, change.detail), is_good=True)
        self._tally.well_ended(seconds)
        self._note(change.outcome, change.name, change.detail or f"from {change.origin}")
        return Outcome(change.name, change.outcome, change.detail)

    def _untold(self, change: Change, error: Exception) -> Outcome:
        self._tally.count("untold")
        detail = str(error) or type(error).__name__
        if (untold := self._repeats.untold(f"{change.name}: {detail}", monotonic())) is not None:
            again = f" ({untold} more times since that was last said)" if untold else ""
            _logger.warning("version %s is published, but the app was not told: %s%s", change.name, detail, again)
        return Outcome(change.name, "untold", detail)

    # ------------------------------------------------------------------ when it goes wrong

    async def _fail(self, change: Change, why: str) -> Outcome:
        """Restore the last good version, unless this one is what there is to restore, or what a person asked for."""
        why = why or "the app is not healthy"
        failed = entry_of(change, "failed", why)
        self._note("failed", change.name, why, logging.ERROR)
        former = self._former(change.name) if change.outcome in ("published", "pinned") else None
        if former is None:
            await self._remember(self._history.end, failed)
            return Outcome(change.name, "failed", why)
        back = Change(former, change.origin, "restored", f"{change.name} failed: {why}")
        try:
            await whole(self._history.begin, back, instead_of=failed, condemned=why)
        except HistoryError as error:
            # The app comes first: it is brought back, and what can't be written is remembered as long as we live.
            _logger.warning("%s", error)
            await self._remember(self._history.mark_bad, change.name, why)
        return Outcome(change.name, (await self._finish(back)).result, why)

    def _former(self, name: str | None) -> str | None:
        """The last version that the app was healthy with, is still there and is not this one."""
        bad = self._state.bad
        good = [known for known in self._state.good if known != name and known in self._kept and known not in bad]
        return good[-1] if good else None

    def _see_that_kept(self, name: str) -> None:
        if name not in self._kept:
            raise RolloutError(f"there is no version {name}; kept are: {', '.join(self._kept) or 'none'}")

    async def _collect(self) -> None:
        change = self._state.change
        reasons = (self._former(self._current), self._state.pinned, change.name if change is not None else None)
        needed = {name for name in reasons if name is not None}
        try:
            await whole(self._releases.collect, needed)
            await self._look()
        except ReleaseError as error:
            _logger.warning("%s", error)

    async def _remember(
        self, step: Callable[_Arguments, None], *args: _Arguments.args, **how: _Arguments.kwargs
    ) -> None:
        """Take a step of the history that need not be on the disk for what comes next."""
        try:
            await whole(step, *args, **how)
        except HistoryError as error:
            _logger.warning("%s", error)

    async def _look(self) -> None:
        """Take up what there is, so that a probe need not ask the disk."""
        self._current, self._kept = await whole(lambda: (self._releases.current, self._releases.names()))

    # ------------------------------------------------------------------ what is told of it

    def _note(self, outcome: BecameOf, name: str, detail: str, level: int = logging.INFO) -> None:
        self._tally.count(outcome)
        _logger.log(level, "version %s %s: %s", name, outcome, detail)

    @property
    def current(self) -> str | None:
        """The version that is seen."""
        return self._current

    @property
    def unfinished(self) -> Change | None:
        """The change that was begun and is not at its end: under way, or waiting for `go_on`."""
        return self._state.change

    def status(self) -> Mapping[str, object]:
        """For /status: serialisable as JSON."""
        return {"current": self._current, "doing": self._doing or None, **self._tally.status(self._standing())}

    def measures(self, prefix: str) -> Iterable[Measure]:
        """For /metrics, each name beginning with the prefix and `_`."""
        return self._tally.measures(prefix, self._standing())

    def _standing(self) -> Standing:
        return Standing(self._current, self._kept, {**self._rejected, **self._state.bad}, self._state)
