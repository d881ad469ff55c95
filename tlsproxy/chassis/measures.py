"""What is measured, as plain values that any room can make; admin/metrics puts them into words for Prometheus.

Counting costs an integer addition where it happens; names, labels and formatting are paid for at scrape time.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(slots=True)
class Distribution:
    """A histogram in the making: how many observations fell at or under each bound, and their sum."""

    bounds: tuple[float, ...]
    """Upper bounds in seconds, ascending; what is above the last one is counted as well."""
    counts: list[int] = field(init=False)
    """One count for each bound and one for what is above; not cumulative."""
    total: float = 0.0
    """The sum of all observations, in seconds."""

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, seconds: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric family at one moment."""

    name: str
    """As in the contract, with its `_total` or unit."""
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    """One sentence for the operator, with the unit."""
    labels: tuple[str, ...]
    samples: Mapping[tuple[str, ...], float | Distribution]
    """Value for each combination of label values, in the order of `labels`; `()` where there are no labels."""
