"""When looks are taken, and by whom."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from time import monotonic

import pytest

from tests.companions.topz.snapshots import SNAPSHOT
from tlsproxy.companions.topz import looking
from tlsproxy.companions.topz.looking import Beside, Looking
from tlsproxy.companions.topz.snapshot import Snapshot

INTERVAL = 0.05


class Looks:
    """Looks as told: each is a snapshot of its moment, the first one without an interval."""

    def __init__(self) -> None:
        self.taken = 0
        self.hold: threading.Event | None = None
        self.failure: Exception | None = None
        self.thread = ""

    def look(self) -> Snapshot:
        self.thread = threading.current_thread().name
        if self.hold is not None:
            self.hold.wait(5)
        if self.failure is not None:
            raise self.failure
        self.taken += 1
        return replace(SNAPSHOT, at=monotonic(), interval=None if self.taken == 1 else INTERVAL, took=0.25)


@pytest.fixture
def looks() -> Looks:
    return Looks()


@pytest.fixture
def make(looks: Looks) -> Callable[[], Looking]:
    return lambda: Looking(looks.look, Beside("looker"), INTERVAL)


def test_the_first_answer_waits_for_a_second_look(make: Callable[[], Looking], looks: Looks) -> None:
    """CPU is measured over the interval; a look is done in a thread of its own."""

    async def ask() -> Snapshot:
        return await make().measured()

    began = monotonic()
    assert asyncio.run(ask()).interval == INTERVAL
    assert monotonic() - began >= INTERVAL
    assert (looks.taken, looks.thread) == (2, "looker")


def test_who_asks_at_once_shares_a_look(make: Callable[[], Looking], looks: Looks) -> None:
    """However many look, and whenever one comes within the interval, the processes are looked at once."""

    async def ask() -> list[Snapshot]:
        one = make()
        together = await asyncio.gather(*(one.measured() for _ in range(10)))
        return [*together, await one.measured(), await one.latest(5)]

    assert len({id(snapshot) for snapshot in asyncio.run(ask())}) == 1
    assert looks.taken == 2


def test_a_later_question_is_a_new_look(make: Callable[[], Looking], looks: Looks) -> None:
    """After the interval the next who asks has another look, for which nobody waits longer than it takes."""

    async def ask() -> None:
        one = make()
        await one.measured()
        await asyncio.sleep(INTERVAL)
        await one.measured()

    asyncio.run(ask())
    assert looks.taken == 3


def test_nobody_looks_when_nobody_asks(make: Callable[[], Looking], looks: Looks) -> None:
    """There is no look without a question."""

    async def wait() -> None:
        make()
        await asyncio.sleep(INTERVAL * 3)

    asyncio.run(wait())
    assert looks.taken == 0


def test_a_look_that_hangs_hangs_alone(make: Callable[[], Looking], looks: Looks) -> None:
    """The loop goes on, who has no time leaves, and the next who comes waits for the same look."""
    looks.hold = threading.Event()

    async def ask() -> Snapshot:
        one = make()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await one.latest(1)
        assert looks.hold is not None
        looks.hold.set()
        return await one.latest(1)

    asyncio.run(ask())
    assert looks.taken == 1


def test_progress(make: Callable[[], Looking], looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ready is who has looked, and not too long ago."""

    async def ask() -> None:
        one = make()
        assert str(one.condition()) == "[-]processes: there has been no look yet"
        await one.latest(1)
        assert one.condition().ok
        monkeypatch.setattr(looking, "LATE", -0.1)
        assert str(one.condition()) == "[-]processes: the last look was 0s ago"
        assert (one.taken, one.seconds) == (1, 0.25)

    asyncio.run(ask())


def test_failure(make: Callable[[], Looking], looks: Looks) -> None:
    """A look that fails is told to all who wait and to the probe; the next one that does not mends it."""
    looks.failure = FileNotFoundError(2, "No such file or directory", "/proc")

    async def ask() -> None:
        one = make()
        for failed in await asyncio.gather(one.latest(1), one.measured(), return_exceptions=True):
            assert isinstance(failed, FileNotFoundError)
        assert str(one.condition()) == "[-]processes: [Errno 2] No such file or directory: '/proc'"
        looks.failure = None
        await one.latest(1)
        assert one.condition().ok

    asyncio.run(ask())


def test_work_that_nobody_waits_for_is_not_done() -> None:
    """Questions that have been given up do not pile up behind a look that hangs."""
    done: list[str] = []

    async def ask() -> None:
        beside, hold = Beside("looker"), threading.Event()
        first = asyncio.create_task(beside.call(lambda: hold.wait(5)))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await beside.call(lambda: done.append("given up"))
        hold.set()
        await first
        await beside.call(lambda: done.append("wanted"))

    asyncio.run(ask())
    assert done == ["wanted"]
