"""How far each source has been followed, for probes, /status and metrics."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Literal

from tlsproxy.chassis.measures import Distribution, Measure


@dataclass(slots=True)
class Progress:
    """Of one source."""

    name: str
    attempts: int = 0
    failures: int = 0
    """Of the attempts."""
    failures_in_a_row: int = 0
    """Since the last success; 0: the source answers, or has not been asked."""
    changes: int = 0
    """Contents that were passed on, the first one included."""
    watch_failures: int = 0
    """How often changes could not be waited for."""
    attempted: datetime | None = None
    """When it was last asked; None: never. Also below."""
    succeeded: datetime | None = None
    changed: datetime | None = None
    problem: str = ""
    """What went wrong with the last attempt; empty: nothing."""
    watch_problem: str = ""
    """What went wrong with waiting for changes, which are found by asking alone since; empty: nothing."""
    version: str = ""
    """Of the last content, as the source calls it."""
    _succeeded_at: float | None = None
    """As `succeeded`, in monotonic seconds: clocks are set."""

    def attempt(self) -> None:
        """It is asked."""
        self.attempts += 1
        self.attempted = datetime.now(UTC)

    def success(self, version: str | None) -> None:
        """It has answered, with new content of this version; None: with nothing new."""
        self.failures_in_a_row, self.problem = 0, ""
        self.succeeded, self._succeeded_at = datetime.now(UTC), monotonic()
        if version is not None:
            self.changes += 1
            self.changed, self.version = self.succeeded, version

    def failure(self, problem: str) -> None:
        """It has not answered, or with what can't be used."""
        self.failures += 1
        self.failures_in_a_row += 1
        self.problem = problem

    @property
    def age(self) -> float | None:
        """Seconds since it last answered; None: it never has."""
        return None if self._succeeded_at is None else monotonic() - self._succeeded_at

    def status(self) -> dict[str, object]:
        """For /status: serialisable as JSON, the empty left out."""
        times = {"attempted": self.attempted, "succeeded": self.succeeded, "changed": self.changed}
        return {
            "source": self.name,
            "version": self.version or None,
            **{name: time and time.isoformat("T", "seconds") for name, time in times.items()},
            "failures_in_a_row": self.failures_in_a_row,
            **({"problem": self.problem} if self.problem else {}),
            **({"watch_problem": self.watch_problem} if self.watch_problem else {}),
        }


_COUNTERS: Mapping[str, tuple[str, Callable[[Progress], float]]] = {
    "fetches_total": ("How often a source was asked.", lambda source: source.attempts),
    "fetch_failures_total": ("How often that failed.", lambda source: source.failures),
    "changes_total": ("How many different contents a source gave.", lambda source: source.changes),
    "watch_failures_total": ("How often changes could not be waited for.", lambda source: source.watch_failures),
}


def measures(sources: Iterable[Progress]) -> Iterator[Measure]:
    """For /metrics, each by source."""
    sources = tuple(sources)
    for name, (about, count) in _COUNTERS.items():
        yield _measure(name, "counter", about, {source.name: count(source) for source in sources})
    up = {source.name: 0.0 if source.failures_in_a_row or source.age is None else 1.0 for source in sources}
    yield _measure("up", "gauge", "1 where the last fetch succeeded, else 0.", up)
    ages = {source.name: source.age for source in sources if source.age is not None}
    yield _measure("age_seconds", "gauge", "Seconds since a source last answered; absent where it never has.", ages)


def _measure(name: str, kind: Literal["counter", "gauge"], about: str, values: Mapping[str, float]) -> Measure:
    samples: dict[tuple[str, ...], float | Distribution] = {(source,): value for source, value in values.items()}
    return Measure(f"configsync_source_{name}", kind, about, ("source",), samples)
