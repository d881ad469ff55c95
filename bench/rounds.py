"""Interleaved rounds: each front in turn under the same load, with the kernel's books read before and after.

A sample's CPU time includes the handshakes with which its connections begin: about 1 %, for every front.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench import loads, proc
from bench.fronts import Running
from bench.loads import Load
from bench.machine import Cores

# From here on a core is called full; below it, a front has room left.
FULL = 0.95
ROOM = 0.90
WARM_UP = 1


@dataclass(frozen=True)
class Sample:
    """One front under one load for some seconds.

    Attributes:
        answered: requests with a complete answer below 400.
        failed: requests with another one or none.
        cpu_us: CPU microseconds of the front's processes for each request answered.
        rate: requests answered a second.
        front_busy: CPU time of the front's processes over the time passed: 1 is one core.
        load_busy: how busy the cores of load generator and app were, 0 to 1.
        strangers: how busy the front's core was with anything else than the front.
        resumed: handshakes that resumed a session; None: the generator can't tell.
    """

    answered: int
    failed: int
    cpu_us: float
    rate: float
    front_busy: float
    load_busy: float
    strangers: float
    resumed: int | None

    @property
    def load_full(self) -> bool:
        """Whether generator and app were the bottleneck, so that `rate` says nothing of the front."""
        return self.load_busy >= FULL and self.front_busy < ROOM


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds."""

    median: float
    low: float
    high: float


def spread(figures: Sequence[float]) -> Spread:
    """Median, lowest and highest; `figures` must not be empty."""
    return Spread(statistics.median(figures), min(figures), max(figures))


def ratio(ours: Sequence[Sample], theirs: Sequence[Sample]) -> Spread | None:
    """How many times the CPU time of `ours` `theirs` takes, round by round: above 1, `ours` is the cheaper.

    None when no round has figures for both.
    """
    pairs = [(a.cpu_us, b.cpu_us) for a, b in zip(ours, theirs, strict=False) if a.answered and b.answered]
    return spread([b / a for a, b in pairs]) if pairs else None


def measure(running: Running, load: Load, seconds: int, cores: Cores) -> Sample:
    """One sample.

    Raises:
        loads.GeneratorError: the generator gave no figures.
    """
    front_core = (cores.front,)
    began, cpu = time.monotonic(), proc.cpu_seconds(running.child.pid)
    front_before, load_before = proc.core_times_of(front_core), proc.core_times_of(cores.load)
    tally = loads.run(load, running.port, seconds, cores.load)
    used = proc.cpu_seconds(running.child.pid) - cpu
    passed = time.monotonic() - began
    front_busy = used / passed
    return Sample(
        answered=tally.answered,
        failed=tally.refused + tally.broken,
        cpu_us=used * 1e6 / max(1, tally.answered),
        rate=tally.answered / tally.seconds,
        front_busy=front_busy,
        load_busy=proc.core_times_of(cores.load).busy_since(load_before),
        strangers=max(0.0, proc.core_times_of(front_core).busy_since(front_before) - front_busy),
        resumed=tally.resumed,
    )


def interleave(
    fronts: Sequence[Running],
    load: Load,
    *,
    rounds: int,
    seconds: int,
    cores: Cores,
    progress: Callable[[str], None],
) -> dict[str, list[Sample]]:
    """All the samples of a load by the front's label: A B C A B C, after a second of warm-up for each.

    Raises:
        loads.GeneratorError: the generator gave no figures.
    """
    for running in fronts:
        progress(f"{load.title}: warming up {running.front.label}")
        measure(running, load, WARM_UP, cores)
    samples: dict[str, list[Sample]] = {running.front.label: [] for running in fronts}
    for number in range(1, rounds + 1):
        for running in fronts:
            progress(f"{load.title}: round {number} of {rounds}, {running.front.label}")
            samples[running.front.label].append(measure(running, load, seconds, cores))
    return samples
