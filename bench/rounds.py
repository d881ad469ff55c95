"""Interleaved rounds: each front in turn under the same load, with the kernel's books read before and after.

A sample's CPU time includes the handshakes with which its connections begin: about 1 %, for every front.
"""

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

from bench import proc
from bench.fronts import Running
from bench.loads import Generation, GeneratorError, Load
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
        front_busy: CPU time of the front's processes over the time passed: 1 is all of its cores.
        load_busy: how busy the cores of load generator and app were, 0 to 1.
        strangers: how busy the front's core was with anything else than the front.
        resumed: handshakes that resumed a session; None: the generator can't tell.
        latency: microseconds by percentile, where the generator takes them.
        late: microseconds by percentile by which the generator itself was late, where it sends at a rate.
    """

    answered: int
    failed: int
    cpu_us: float
    rate: float
    front_busy: float
    load_busy: float
    strangers: float
    resumed: int | None
    latency: Mapping[str, float] = field(default_factory=dict)
    late: Mapping[str, float] = field(default_factory=dict)

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
    pairs = [(a.cpu_us, b.cpu_us) for a, b in zip(ours, theirs, strict=False) if a.cpu_us and b.cpu_us]
    return spread([b / a for a, b in pairs]) if pairs else None


class Target(Protocol):
    """What is put under load: a front that is running, or the app itself."""

    @property
    def pid(self) -> int:
        """Root of its process tree."""

    @property
    def port(self) -> int:
        """Of 127.0.0.1."""


def measure(target: Target, generation: Generation, seconds: int, cores: Cores) -> Sample:
    """One sample. Connections that the generator opens beforehand are not in it.

    Raises:
        GeneratorError: the generator gave no figures.
    """
    generation.open()
    began, cpu = time.monotonic(), proc.cpu_seconds(target.pid)
    front_before, load_before = proc.core_times_of(cores.front), proc.core_times_of(cores.load)
    tally = generation.make(seconds)
    used = proc.cpu_seconds(target.pid) - cpu
    passed = time.monotonic() - began
    front_busy = used / passed / len(cores.front)
    return Sample(
        answered=tally.answered,
        failed=tally.refused + tally.broken,
        cpu_us=used * 1e6 / max(1, tally.answered),
        rate=tally.answered / tally.seconds,
        front_busy=front_busy,
        load_busy=proc.core_times_of(cores.load).busy_since(load_before),
        strangers=max(0.0, proc.core_times_of(cores.front).busy_since(front_before) - front_busy),
        resumed=tally.resumed,
        latency=tally.latency,
        late=tally.late,
    )


@dataclass(frozen=True)
class Reporter:
    """Who hears of the course: `progress` what is done at the moment, `note` what a reader must know."""

    progress: Callable[[str], None]
    note: Callable[[str], None]


def interleave(
    fronts: Sequence[Running], load: Load, *, rounds: int, seconds: int, cores: Cores, reporter: Reporter
) -> dict[str, list[Sample]]:
    """All the samples of a load by the front's label: A B C A B C, after a second of warm-up for each.

    A front that answers nothing while it is warmed up is left out. A round without figures counts as nothing
    answered.
    """
    with ExitStack() as stack:
        able = []
        for running in fronts:
            reporter.progress(f"{load.title}: warming up {running.front.label}")
            generation = Generation(load, running.port, cores.load)
            stack.callback(generation.close)
            if attempt(running.front.label, running, generation, WARM_UP, cores, reporter).answered:
                able.append((running, generation))
            else:
                reporter.note(f"{running.front.label} is left out of '{load.title}': it answered nothing")
        samples: dict[str, list[Sample]] = {running.front.label: [] for running, _ in able}
        for number in range(1, rounds + 1):
            for running, generation in able:
                reporter.progress(f"{load.title}: round {number} of {rounds}, {running.front.label}")
                samples[running.front.label].append(
                    attempt(running.front.label, running, generation, seconds, cores, reporter)
                )
        return samples


NOTHING = Sample(answered=0, failed=1, cpu_us=0, rate=0, front_busy=0, load_busy=0, strangers=0, resumed=None)


def attempt(
    label: str, target: Target, generation: Generation, seconds: int, cores: Cores, reporter: Reporter
) -> Sample:
    """A sample, or NOTHING and a note with the target's label when there are no figures."""
    try:
        return measure(target, generation, seconds, cores)
    except (GeneratorError, OSError, subprocess.TimeoutExpired) as error:
        reporter.note(f"{label}: the load generator failed: {error}")
        return NOTHING
