"""What is counted of changes, and how they are told to the admin port; how a change is made is not known here."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

from tlsproxy.chassis.measures import Distribution, Measure
from tlsproxy.companions.rollout.history import BecameOf, State, shown

_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds; with a watch, a change lasts as long as that is set to."""
_SHOWN = 20
"""Entries of the history in the status, the newest; the command shows all."""
_OUTCOMES: tuple[BecameOf | Literal["untold"], ...] = (
    "published", "rejected", "failed", "restored", "rolled back", "pinned", "unpinned", "superseded", "undone", "untold"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Standing:
    """How things are at the moment of asking."""

    current: str | None
    """The version that is seen."""
    kept: tuple[str, ...]
    """The versions in the volume, the oldest first."""
    bad: Mapping[str, str]
    """The versions that are not tried again, with those that a check has rejected, and why."""
    remembered: State


class Tally:
    """The counts of one process."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._durations = Distribution(_BOUNDS)
        self._ended_at: float | None = None

    def count(self, outcome: BecameOf | Literal["untold"]) -> None:
        """Something became of a version."""
        self._counts[outcome] += 1

    def well_ended(self, seconds: float) -> None:
        """A change came to a good end, so many seconds after it was begun to be published."""
        self._durations.observe(seconds)
        self._ended_at = datetime.now(UTC).timestamp()

    def status(self, now: Standing) -> Mapping[str, object]:
        """Serialisable as JSON."""
        state = now.remembered
        return {
            "pinned": state.pinned,
            "unfinished": None if state.change is None else asdict(state.change),
            "kept": list(now.kept),
            "good": list(state.good),
            "bad": dict(now.bad),
            "history": [shown(entry) for entry in reversed(state.entries[-_SHOWN:])],
        }

    def measures(self, prefix: str, now: Standing) -> Iterable[Measure]:
        """Each name begins with the prefix and `_`."""
        state = now.remembered
        yield Measure(
            f"{prefix}_changes_total",
            "counter",
            "What became of versions, by outcome.",
            ("outcome",),
            {(outcome,): self._counts[outcome] for outcome in _OUTCOMES},
        )
        yield Measure(
            f"{prefix}_change_seconds",
            "histogram",
            "Seconds from the publishing of a version to the good end of the watch over it.",
            (),
            {(): self._durations},
        )
        yield Measure(
            f"{prefix}_version_info",
            "gauge",
            "1 for the version that is published.",
            ("version",),
            {(now.current,): 1.0} if now.current is not None else {},
        )
        yield _gauge(
            f"{prefix}_last_change_timestamp_seconds",
            "When the last change of this process came to a good end, in Unix time; absent before.",
            self._ended_at,
        )
        yield _gauge(f"{prefix}_change_unfinished", "1 while a change is not at its end.", state.change is not None)
        yield _gauge(f"{prefix}_version_pinned", "1 while a version is pinned.", state.pinned is not None)
        yield _gauge(f"{prefix}_bad_versions", "Versions that are not tried again.", len(now.bad))
        yield _gauge(f"{prefix}_kept_versions", "Versions in the volume.", len(now.kept))


def _gauge(name: str, what: str, value: float | None) -> Measure:
    return Measure(name, "gauge", what, (), {} if value is None else {(): float(value)})
