"""Long work in the loop's thread, taken in steps between which the loop does what else there is to do.

A generator is such work: it yields wherever it may be interrupted, and returns what came of it. How long a step takes
is for whoever takes the steps to say, not for the work.
"""

import asyncio
from collections.abc import Generator
from time import monotonic
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]

# Seconds for which the loop is held at most, and what runs between two yields: a request waits that long, and a turn
# of a busy loop for each of many short steps would take the work far longer.
HOLD = 0.002


async def in_steps(steps: Steps[T]) -> T:
    """What comes of the work; others run about every `HOLD` seconds."""
    until = monotonic() + HOLD
    try:
        while True:
            next(steps)
            if monotonic() > until:
                await asyncio.sleep(0)
                until = monotonic() + HOLD
    except StopIteration as ended:
        result: T = ended.value
        return result


def at_once(steps: Steps[T]) -> T:
    """What comes of the work, without a pause."""
    try:
        while True:
            next(steps)
    except StopIteration as ended:
        result: T = ended.value
        return result
