"""Percentiles by nearest rank."""

import pytest

from bench.generator.percentiles import GRID, percentile, summary

HUNDRED = list(range(1, 101))


@pytest.mark.parametrize(
    ("values", "wanted", "expected"),
    [
        (HUNDRED, 50, 50),
        (HUNDRED, 99, 99),
        (HUNDRED, 99.9, 100),
        (HUNDRED, 100, 100),
        (HUNDRED, 0, 1),
        (list(range(1, 1001)), 99.9, 999),
        (list(range(1, 10_001)), 99.99, 9999),
        ([7], 50, 7),
        ([1, 2], 50, 1),
        ([1, 2, 3], 50, 2),
    ],
)
def test_nearest_rank(values: list[float], wanted: float, expected: float) -> None:
    """The smallest value that at least so many per cent of all do not exceed; never one between two."""
    assert percentile(values, wanted) == expected


def test_a_summary_is_in_microseconds_and_needs_no_order() -> None:
    """From seconds, by the names of the percentiles; of nothing there is none."""
    told = summary([0.003, 0.001, 0.002])
    assert list(told) == list(GRID)
    assert (told["0"], told["50"], told["100"]) == (1000.0, 2000.0, 3000.0)
    assert summary([]) == {}
