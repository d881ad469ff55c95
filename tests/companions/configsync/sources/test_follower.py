"""Following a source: how often it is asked, and what is said, whatever it does."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import pairwise
from time import monotonic

import pytest

from tlsproxy.companions.configsync.sources.content import Content, SourceError
from tlsproxy.companions.configsync.sources.follower import Follower, Pace

FAST = Pace(period=30.0, apart=0.0, first_retry=0.01, longest_retry=0.02)


class Scripted:
    """A source that does what the test says."""

    name = "https://h/x"

    def __init__(self) -> None:
        self.content: bytes | SourceError = b"1"
        self.fetched: list[float] = []
        self.waits = 0
        self.told = asyncio.Event()
        self.held = True
        """Whether a wait lasts until a change."""
        self.wait_fault: SourceError | None = None
        self._last: bytes | None = None

    async def fetch(self) -> Content | None:
        self.fetched.append(monotonic())
        await asyncio.sleep(0)
        if isinstance(self.content, SourceError):
            raise self.content
        if self.content == self._last:
            return None
        self._last = self.content
        return Content({"x": self.content}, self.content.decode())

    async def wait(self) -> None:
        self.waits += 1
        if self.wait_fault is not None:
            raise self.wait_fault
        if self.held:
            await self.told.wait()
        self.told.clear()

    async def aclose(self) -> None:
        """Nothing is open."""

    def put(self, content: bytes | SourceError) -> None:
        self.content = content
        self.told.set()


Work = Callable[[Scripted, Follower, list[str]], Awaitable[None]]


def run(work: Work, pace: Pace = FAST) -> None:
    async def play() -> None:
        source, emitted = Scripted(), list[str]()
        follower = Follower(source, lambda content: emitted.append(content.version), pace, chance=lambda: 1.0)
        following = asyncio.create_task(follower.run())
        try:
            await work(source, follower, emitted)
        finally:
            following.cancel()
            ended = await asyncio.gather(following, return_exceptions=True)
        assert isinstance(ended[0], asyncio.CancelledError)
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    asyncio.run(play(), debug=True)


async def until(condition: Callable[[], object], what: str) -> None:
    deadline = monotonic() + 3
    while not condition():
        assert monotonic() < deadline, what
        await asyncio.sleep(0.002)


# ---------------------------------------------------------------------------- the arithmetic


def test_the_period_varies() -> None:
    """By a tenth to either side, so that many pods do not ask at once."""
    assert [round(Pace(period=60).until_next(chance), 6) for chance in (0.0, 0.5, 1.0)] == [54.0, 60.0, 66.0]


def test_retries() -> None:
    """The longest pause doubles up to the ceiling, and the pause is anything up to it."""
    pace = Pace()
    assert [pace.until_retry(failures, 1.0, None) for failures in (1, 2, 3, 7, 8, 10_000)] == [1, 2, 4, 60, 60, 60]
    assert pace.until_retry(3, 0.5, None) == 2.0
    assert pace.until_retry(3, 0.0, None) == 0.1


def test_what_a_source_asks_for() -> None:
    """Retry-After is not undercut, exceeded by up to a tenth, and heeded up to a bound."""
    pace = Pace()
    assert pace.until_retry(1, 0.0, 30.0) == 30.0
    assert pace.until_retry(1, 1.0, 30.0) == pytest.approx(33.0)
    assert pace.until_retry(1, 0.0, 1e9) == 600.0
    assert pace.until_retry(7, 1.0, 5.0) == 60.0


def test_fetches_in_vain() -> None:
    """Where waits are short and fetches find nothing, the pause doubles up to the period."""
    pace = Pace(period=10)
    assert [pace.until_fetch(in_vain) for in_vain in (0, 1, 2, 3, 99)] == [1, 1, 2, 4, 10]


# ---------------------------------------------------------------------------- what it does


def test_changes_are_passed_on_once() -> None:
    """The first content and each that differs, at once when something is heard of."""

    async def work(source: Scripted, follower: Follower, emitted: list[str]) -> None:
        await until(lambda: source.waits, "it waits")
        source.put(b"2")
        await until(lambda: emitted == ["1", "2"], "the change is passed on")
        source.put(b"2")
        await until(lambda: len(source.fetched) == 3, "it looks again")
        assert emitted == ["1", "2"]
        assert follower.progress.changes == 2
        assert follower.progress.version == "2"

    run(work)


def test_the_period_brings_a_fetch() -> None:
    """Though it waits for changes and hears of none: a watch may be dead without a word."""

    async def work(source: Scripted, _: Follower, emitted: list[str]) -> None:
        await until(lambda: emitted == ["1"], "the first")
        source.content = b"2"
        await until(lambda: emitted == ["1", "2"], "the second")
        assert source.fetched[1] - source.fetched[0] >= 0.05

    run(work, replace(FAST, period=0.05))


def test_it_can_be_asked_to_look() -> None:
    """At once and once, in the middle of the period as in a pause after a failure."""

    async def work(source: Scripted, follower: Follower, emitted: list[str]) -> None:
        await until(lambda: source.waits, "it waits")
        source.content = SourceError("closed")
        follower.look()
        await until(lambda: follower.progress.problem, "it has failed")
        source.content = b"2"
        follower.look()
        await until(lambda: emitted == ["1", "2"], "the change is passed on")
        await asyncio.sleep(0.05)
        assert len(source.fetched) == 3

    run(work, replace(FAST, first_retry=60.0))


def test_a_storm_of_changes() -> None:
    """However often something is heard of, fetches keep their distance; which does not grow where there is news."""

    async def work(source: Scripted, follower: Follower, _: list[str]) -> None:
        for turn in range(2, 5):
            await until(lambda turn=turn: source.waits >= turn - 1, "it waits")  # type: ignore[misc]  # bound by its default
            source.put(str(turn).encode())
            await until(lambda turn=turn: len(source.fetched) == turn, "it has looked")  # type: ignore[misc]  # the same
        assert all(later - earlier >= 0.05 for earlier, later in pairwise(source.fetched))
        assert follower._in_vain <= 1

    run(work, replace(FAST, apart=0.05))


def test_a_source_that_is_heard_of_in_vain() -> None:
    """A server that never holds a request is asked less and less often, as if there were the period alone."""

    async def work(source: Scripted, _: Follower, __: list[str]) -> None:
        source.told.set()
        source.held = False
        await until(lambda: len(source.fetched) == 6, "it was asked six times")
        gaps = [later - earlier for earlier, later in pairwise(source.fetched)]
        assert gaps[4] > 3 * gaps[1]

    run(work, replace(FAST, apart=0.01))


def test_watching_fails_and_fetching_works() -> None:
    """Changes are found each period, and it is tried again to wait for them."""

    async def work(source: Scripted, follower: Follower, emitted: list[str]) -> None:
        source.wait_fault = SourceError("no stream")
        source.content = b"2"
        await until(lambda: len(source.fetched) >= 3, "it is asked each period")
        assert emitted[-1] == "2"
        assert follower.progress.watch_failures >= 2
        assert follower.progress.watch_problem == "no stream"
        assert follower.progress.failures == 0
        source.wait_fault = None
        source.put(b"3")
        await until(lambda: emitted[-1] == "3" and not follower.progress.watch_problem, "it waits again")

    run(work, replace(FAST, period=0.05))


def test_down_for_long(caplog: pytest.LogCaptureFixture) -> None:
    """Hundreds of failures are one line, nothing grows, and the first answer is passed on at once."""
    caplog.set_level(logging.INFO, "tlsproxy.sources")

    async def work(source: Scripted, follower: Follower, emitted: list[str]) -> None:
        await until(lambda: emitted, "the first")
        source.put(SourceError("no connection to port 80: refused"))
        await until(lambda: follower.progress.failures, "it has failed")
        since = follower._down_since
        await until(lambda: follower.progress.failures >= 100, "it has failed often")
        assert follower._down_since == since
        assert len(asyncio.all_tasks()) <= 5
        source.content = b"2"
        await until(lambda: emitted == ["1", "2"], "it is back")
        assert follower.progress.failures_in_a_row == 0
        assert follower.progress.problem == ""
        asked = len(source.fetched)
        follower.look()
        await until(lambda: len(source.fetched) > asked, "it is asked again")

    run(work, replace(FAST, first_retry=0.001, longest_retry=0.002))
    down, up = caplog.messages
    assert down == "https://h/x can't be read: no connection to port 80: refused; the last good content stays"
    assert up.startswith("https://h/x can be read again, after ")


def test_a_source_that_was_never_there(caplog: pytest.LogCaptureFixture) -> None:
    """The line says that there is nothing yet."""

    async def work(source: Scripted, follower: Follower, _: list[str]) -> None:
        source.content = SourceError("closed", retry_after=50.0)
        await until(lambda: follower.progress.failures, "it has failed")
        assert follower.progress.age is None
        await asyncio.sleep(0.05)
        assert len(source.fetched) == 1

    run(work)
    assert caplog.messages == ["https://h/x can't be read: closed; there is none yet"]


def test_other_faults_are_not_swallowed() -> None:
    """What is no SourceError is a fault of the program, and ends it."""

    async def play() -> None:
        source = Scripted()

        async def broken() -> None:
            raise RuntimeError("broken")

        source.wait = broken  # type: ignore[method-assign]  # a source with a fault
        with pytest.raises(RuntimeError, match="broken"):
            await asyncio.wait_for(Follower(source, lambda _: None, FAST).run(), 2)

    asyncio.run(play(), debug=True)
