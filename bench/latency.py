"""Latency at a constant rate: which rates, over which fronts, and what was found.

A front's capacity is what one core of CPU time would answer, by the CPU time that a request costs under a full load. It
is loaded with half of that; nginx and the app alone get the same rate in the same round. How a latency is taken:
`generator/courses.py`.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.certificate import Certificate
from bench.loads import Load
from bench.rounds import Sample, Spread, spread

APP = "the app alone"
SHARE = 0.5
CONNECTIONS = 50
# Above this a latency is more the generator's than the front's: it sends that late itself, in microseconds at p99.
LATE = 1000.0


@dataclass(frozen=True)
class Course:
    """One target at one rate.

    Attributes:
        target: a front's label, or APP.
        rate: requests a second.
        of: the front whose half capacity the rate is.
        rotating: whether the certificate is replaced every second meanwhile.
    """

    target: str
    rate: float
    of: str
    rotating: bool = False

    @property
    def load(self) -> Load:
        """What is sent: the small request."""
        title = f"100 B at {self.rate:.0f}/s" + (", a new certificate every second" if self.rotating else "")
        tls = self.target != APP
        return Load("latency", title, 100, CONNECTIONS, generator="requests", rate=self.rate, tls=tls)


@dataclass
class Found:
    """A course and its samples, in the order of the rounds; `renewed`: how often the certificate was replaced."""

    course: Course
    samples: list[Sample] = field(default_factory=list)
    renewed: int = 0

    def at(self, percentile: str) -> Spread | None:
        """Microseconds at a percentile over the rounds; None without any."""
        figures = [sample.latency[percentile] for sample in self.samples if percentile in sample.latency]
        return spread(figures) if figures else None

    @property
    def generator_late(self) -> bool:
        """Whether the generator was too late itself, in most rounds, for the tail to mean the front."""
        late = [sample.late["99"] for sample in self.samples if "99" in sample.late]
        return bool(late) and spread(late).median > LATE


def courses(cpu_us: Mapping[str, float], ours: Sequence[str], beside: str, *, only_ours: bool) -> list[Course]:
    """Every front at half of its own capacity, `beside` and the app at the same rate, ours with rotations too.

    Args:
        cpu_us: CPU microseconds for a request under a full load, by front.
        ours: which of them are ours.
        beside: the front that all are compared with; none is where it is not among them.
        only_ours: no rates but those of ours.
    """
    planned = []
    for front, cost in cpu_us.items():
        if only_ours and front not in ours:
            continue
        rate = SHARE * 1e6 / cost
        others = [beside] if beside in cpu_us and beside != front else []
        planned += [Course(target, rate, front) for target in (front, *others, APP)]
        if front in ours:
            planned.append(Course(front, rate, front, rotating=True))
    return planned


def p99_ratio(found: Sequence[Found], front: str, beside: str) -> Spread | None:
    """p99 of a front at half of its capacity over that of `beside` at the same rate, round by round.

    None: not taken.
    """
    at_rate = {one.course.target: one.samples for one in found if one.course.of == front and not one.course.rotating}
    pairs = zip(at_rate.get(front, []), at_rate.get(beside, []), strict=False)
    ratios = [a.latency["99"] / b.latency["99"] for a, b in pairs if a.latency and b.latency]
    return spread(ratios) if ratios else None


@contextmanager
def rotations(served: Certificate, spares: Sequence[Certificate], every: float = 1.0) -> Iterator[list[int]]:
    """Replaces what a front serves by the spares in turn, every so many seconds; the list grows by one each time."""
    done: list[int] = []
    over = threading.Event()

    def rotate() -> None:
        while not over.wait(every):
            served.replace(spares[len(done) % len(spares)])
            done.append(len(done))

    thread = threading.Thread(target=rotate)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()
