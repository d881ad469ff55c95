"""Who gets which core."""

import os

import pytest

from bench.machine import Cores, pinned, share_out


@pytest.mark.parametrize(
    ("available", "siblings", "expected"),
    [
        ([0, 1], {1}, Cores(1, (0,))),
        ([0, 1, 2, 3], {3}, Cores(3, (0, 1))),
        ([0, 1, 2, 3], {2, 3}, Cores(3, (0, 1))),
        ([0, 1], {0, 1}, Cores(1, (0,))),
        ([5], {5}, Cores(5, (5,))),
    ],
)
def test_the_front_gets_a_core_of_its_own_where_there_is_one(
    available: list[int], siblings: set[int], expected: Cores
) -> None:
    """The load stays off the front's core and its hyper-thread as long as there are others."""
    assert share_out(available, siblings) == expected


def test_pinning_lasts_for_the_block() -> None:
    """The bench itself goes back to the cores that it had."""
    before = os.sched_getaffinity(0)
    with pinned((min(before),)):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before
