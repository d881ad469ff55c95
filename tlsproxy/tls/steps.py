"""Long work in the loop's thread, taken in steps between which the loop does what else there is to do.

A generator is such work: it yields wherever it may be interrupted, and returns what came of it. How long a step takes
is for whoever takes the steps to say, not for the work. What can't be interrupted it yields as a call, which is made in
a thread.
"""

from collections.abc import Callable, Generator
from time import monotonic
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[Callable[[], None] | None, None, T]

# Seconds for which the loop is held at most, and what runs between two yields: a request waits that long, and a turn
# of a busy loop for each of many short steps would take the work far longer.
HOLD = 0.002


async def in_steps(steps: Steps[T]) -> T:
    """What comes of the work; others run about every `HOLD` seconds, and beside its calls."""
    import asyncio  # noqa: PLC0415 - the process of the first look has no use for it

    until = monotonic() + HOLD
    try:
        while True:
            call = next(steps)
            if call is not None:
                await asyncio.to_thread(call)
                until = monotonic() + HOLD
            elif monotonic() > until:
                await asyncio.sleep(0)
                until = monotonic() + HOLD
    except StopIteration as ended:
        result: T = ended.value
        return result


def at_once(steps: Steps[T]) -> T:
    """What comes of the work, without a pause."""
    try:
        while True:
            if (call := next(steps)) is not None:
                call()
    except StopIteration as ended:
        result: T = ended.value
        return result
