"""Limits divided among workers."""

import pytest

from tlsproxy.workers.shares import fitting, share


@pytest.mark.parametrize("limit", [7, 8, 100, 10_000])
@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_shares_add_up(limit: int, workers: int) -> None:
    """Exactly to the limit, none is empty, and no two differ by more than one."""
    shares = [share(limit, workers, place) for place in range(workers)]
    assert sum(shares) == limit
    assert 1 <= min(shares) <= max(shares) <= min(shares) + 1


def test_no_limit_is_none_for_anybody() -> None:
    """0 is not divided: it stands for no limit."""
    assert [share(0, 3, place) for place in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("workers", "limits", "expected"), [(4, (10_000, 0), 4), (4, (10_000, 3), 3), (4, (1, 0), 1), (1, (1, 1), 1)]
)
def test_workers_are_no_more_than_fit(workers: int, limits: tuple[int, ...], expected: int) -> None:
    """A share of 0 would be no limit at all, or nobody served."""
    assert fitting(workers, *limits) == expected
