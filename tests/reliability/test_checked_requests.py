"""Between the sidecar and its app connections are cut, delayed, split, reset and half-closed: nothing goes wrong by it.

The same for 100,000 requests, with figures for the docs: python -m tests.reliability faults.
"""

import sys
from collections.abc import Callable

import pytest

from tests.reliability import faults
from tests.reliability.asking import asking
from tests.reliability.relay import Kind, plan

FEW = 700
MANY = 10_000


@pytest.fixture(scope="module")
def figures() -> faults.Figures:
    """What a small run came to."""
    return faults.run(FEW, seed=1)


def test_each_answer_is_right_or_plainly_an_error(figures: faults.Figures) -> None:
    """Every response is complete and its request's own, or a 5xx that says so, or a cut that the client sees."""
    assert figures.outcome.wrong == []
    assert figures.outcome.asked >= FEW
    assert figures.outcome.counts["right"] > FEW / 2


def test_nothing_with_effects_comes_twice(figures: faults.Figures) -> None:
    """No POST and no request with a body reaches the app more than once, and none that comes whole is damaged."""
    assert figures.twice == []
    assert figures.damaged == 0
    assert figures.with_effects > FEW / 8


def test_harm_was_done(figures: faults.Figures) -> None:
    """Each kind of fault has come to pass, and clients have seen errors by them."""
    assert set(figures.faults) >= set(Kind) - {Kind.STALL}
    assert figures.outcome.counts["502"] > 0
    assert figures.outcome.counts["cut"] > 0


def test_nothing_is_left_behind(figures: faults.Figures) -> None:
    """When all is over, the sidecar holds the descriptors that it had, and those of idle connections to the app."""
    assert figures.descriptors_left == 0


@pytest.mark.parametrize("made", [plan, asking])
def test_a_seed_stands_for_the_same(made: Callable[[int, int], object]) -> None:
    """The faults of a connection and what is asked follow from the seed and a number alone."""
    assert [made(5, number) for number in range(50)] == [made(5, number) for number in range(50)]
    assert made(5, 1) != made(6, 1)


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_many(capsys: pytest.CaptureFixture[str]) -> None:
    """The same holds for many more."""
    figures = faults.run(MANY, seed=2)
    with capsys.disabled():
        sys.stdout.write(f"\n{figures.outcome.counts} in {figures.seconds:.0f} s, {figures.faults.total()} faults\n")
    assert figures.outcome.wrong == []
    assert (figures.twice, figures.damaged, figures.descriptors_left) == ([], 0, 0)
