"""tlsproxy/tls/steps.py."""

import asyncio
import threading
import time

import pytest

from tlsproxy.tls.steps import HOLD, Steps, at_once, in_steps


def work(count: int, seconds: float, done: list[str]) -> Steps[str]:
    """So many pieces, each of which takes so long."""
    for _ in range(count):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass
        done.append("piece")
        yield None
    return "result"


async def beside(count: int, seconds: float, done: list[str]) -> str:
    """What comes of it, with a task beside that runs whenever it may."""

    async def other() -> None:
        while True:
            done.append("other")
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    try:
        return await in_steps(work(count, seconds, done))
    finally:
        task.cancel()


def test_others_run_between_long_steps() -> None:
    """The loop is held for no more than one of them at a time."""
    done: list[str] = []
    assert asyncio.run(beside(4, HOLD * 1.1, done)) == "result"
    assert "piece piece" not in " ".join(done)


def test_short_steps_are_taken_together() -> None:
    """A turn of a busy loop may take longer than many of them."""
    done: list[str] = []
    asyncio.run(beside(1000, 0, done))
    assert done.count("other") < 500


def test_at_once() -> None:
    """Who has no loop takes all steps one after the other."""
    done: list[str] = []
    assert at_once(work(3, 0, done)) == "result"
    assert done == ["piece"] * 3


def test_a_call_is_made_in_a_thread() -> None:
    """The work goes on when it has ended; who has no loop makes it in place."""
    made: list[int] = []

    def calling() -> Steps[int]:
        yield lambda: made.append(threading.get_ident())
        return len(made)

    assert asyncio.run(in_steps(calling())) == 1
    assert at_once(calling()) == 2
    assert (made[0] == threading.get_ident(), made[1] == threading.get_ident()) == (False, True)


@pytest.mark.parametrize("pieces", [0, 3])
def test_what_is_raised_is_raised(pieces: int) -> None:
    """An error of the work is its taker's to handle."""

    def failing() -> Steps[str]:
        yield from work(pieces, 0, [])
        raise LookupError

    for take in (at_once, lambda steps: asyncio.run(in_steps(steps))):
        with pytest.raises(LookupError):
            take(failing())
