"""Memory over a million requests of several kinds, one kind after the other, again and again: what grows shows."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle

from bench import proc
from bench.fronts import Running
from bench.loads import LOADS, Generation, GeneratorError, Tally

REQUESTS = 1_000_000
# Each turn is of one kind, over connections of its own.
KINDS = tuple(load for load in LOADS if load.name in {"small", "browser", "10k", "resumed"})
TURN = 2
# About how many are answered in a second, for the estimate, and after how many seconds no further turn begins.
RATE = 12_000
LONGEST = 200.0
# Between two looks at the memory.
LOOK = 0.1


@dataclass
class Endurance:
    """A front's memory as it answers.

    Attributes:
        front: the front's label.
        points: requests answered so far, and the most resident memory while the last turn of them was answered, in
            bytes. The first: none, and that of the front just started.
    """

    front: str
    points: list[tuple[int, int]] = field(default_factory=list)

    @property
    def answered(self) -> int:
        """Requests in all."""
        return self.points[-1][0]

    def at(self, share: float) -> int:
        """Bytes when so much of all was answered, 0 to 1."""
        return next(memory for answered, memory in self.points if answered >= share * self.answered)


class EnduranceError(Exception):
    """The front did not go on answering; the message says what happened."""


def run(running: Running, cores: Sequence[int], requests: int = REQUESTS) -> Endurance:
    """Takes turns until so many requests are answered, or for LONGEST.

    Raises:
        EnduranceError: a turn brought no answers.
    """
    found = Endurance(running.front.label, [(0, proc.memory(running.pid).resident)])
    until = time.monotonic() + LONGEST
    for load in cycle(KINDS):
        if found.answered >= requests or time.monotonic() > until:
            return found
        with ThreadPoolExecutor(1) as pool:
            turn = pool.submit(Generation(load, running.port, tuple(cores)).make, TURN)
            most = max(_looks(running, turn))
        try:
            answered = turn.result().answered
        except GeneratorError as error:
            raise EnduranceError(f"after {found.answered:,} requests: {error}") from error
        if not answered:
            raise EnduranceError(f"after {found.answered:,} requests '{load.title}' brought no answers")
        found.points.append((found.answered + answered, most))
    raise AssertionError("a cycle has no end")


def _looks(running: Running, turn: Future[Tally]) -> Iterator[int]:
    """Resident memory now and then while a turn goes on, at least once."""
    yield proc.memory(running.pid).resident
    while not turn.done():
        time.sleep(LOOK)
        yield proc.memory(running.pid).resident
