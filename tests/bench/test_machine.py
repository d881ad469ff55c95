"""Who gets which core."""

import os

import pytest

from bench.machine import Cores, pinned, share_out, version_number


@pytest.mark.parametrize(
    ("available", "siblings", "expected"),
    [
        ([0, 1], {1}, Cores((1,), (0,))),
        ([0, 1, 2, 3], {3}, Cores((3,), (0, 1))),
        ([0, 1, 2, 3], {2, 3}, Cores((3,), (0, 1))),
        ([0, 1], {0, 1}, Cores((1,), (0,))),
        ([5], {5}, Cores((5,), (5,))),
    ],
)
def test_the_front_gets_a_core_of_its_own_where_there_is_one(
    available: list[int], siblings: set[int], expected: Cores
) -> None:
    """The load stays off the front's core and its hyper-thread as long as there are others."""
    assert share_out(available, siblings) == expected


@pytest.mark.parametrize(
    ("available", "expected", "apart"),
    [([0, 1], Cores((0, 1), (0, 1)), False), ([0, 1, 2, 3], Cores((2, 3), (0, 1)), True)],
)
def test_two_cores_for_the_front_leave_others_for_the_load_if_there_are(
    available: list[int], expected: Cores, apart: bool
) -> None:
    """On a machine with two, front and load share them, and the division says so."""
    assert share_out(available, {available[-1]}, fronts=2) == expected
    assert expected.apart is apart


def test_pinning_lasts_for_the_block() -> None:
    """The bench itself goes back to the cores that it had."""
    before = os.sched_getaffinity(0)
    with pinned((min(before),)):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("nginx version: nginx/1.22.1\n", "1.22.1"),
        ("wrk debian/4.1.0-3+b2 [epoll] Copyright (C) 2012 Will Glozer\n", "4.1.0-3+b2"),
        (
            "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\nuntil around Q2 2027.\n",
            "2.6.12-1+deb12u4",
        ),
        ("hitch 1.7.2\n", "1.7.2"),
        ("", "unknown"),
    ],
)
def test_a_version_is_found_in_what_a_program_says(output: str, expected: str) -> None:
    """Each says it in a way of its own."""
    assert version_number(output) == expected
