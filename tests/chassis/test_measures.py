"""Distributions: where an observation is counted."""

import pytest

from tlsproxy.chassis.measures import Distribution


@pytest.mark.parametrize(
    ("seconds", "counts"),
    [(0.0, [1, 0, 0]), (1.0, [1, 0, 0]), (1.1, [0, 1, 0]), (2.0, [0, 1, 0]), (2.1, [0, 0, 1]), (1e9, [0, 0, 1])],
)
def test_an_observation_is_counted_at_its_bound(seconds: float, counts: list[int]) -> None:
    """At or under a bound belongs to it; what is above the last one is counted as well."""
    distribution = Distribution((1.0, 2.0))
    distribution.observe(seconds)
    assert (distribution.counts, distribution.total) == (counts, seconds)


def test_distributions_share_nothing() -> None:
    """Each has counts of its own."""
    one, other = Distribution((1.0,)), Distribution((1.0,))
    one.observe(1)
    assert other.counts == [0, 0]
