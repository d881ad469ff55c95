"""Percentiles of all values that were taken, by nearest rank: no buckets, nothing interpolated."""

import math
from collections.abc import Mapping, Sequence

GRID = ("0", "10", "25", "50", "75", "90", "95", "99", "99.5", "99.9", "99.99", "100")
"""Which percentiles are told, as they are called in results."""


def percentile(ordered: Sequence[float], wanted: float) -> float:
    """The smallest value that at least `wanted` per cent of all do not exceed; `ordered` ascends, and is not empty."""
    # A product such as 99.9 / 100 * 1000 is a little above the whole number that it stands for.
    return ordered[max(0, math.ceil(round(wanted * len(ordered) / 100, 9)) - 1)]


def summary(seconds: Sequence[float]) -> Mapping[str, float]:
    """Microseconds at each percentile of GRID; empty without values."""
    ordered = sorted(seconds)
    return {name: round(percentile(ordered, float(name)) * 1e6, 1) for name in GRID} if ordered else {}
