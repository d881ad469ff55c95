"""What becomes of samples."""

from dataclasses import replace

from bench.rounds import Sample, Spread, ratio, spread

SAMPLE = Sample(answered=10, failed=0, cpu_us=20, rate=100, front_busy=1, load_busy=0.5, strangers=0, resumed=None)


def samples(*figures: float | None) -> list[Sample]:
    """A sample for each CPU time; None: nothing was answered."""
    return [replace(SAMPLE, cpu_us=cpu or 0, answered=10 if cpu else 0) for cpu in figures]


def test_spread_is_median_lowest_highest() -> None:
    """The median stands between the extremes."""
    assert spread([3, 1, 2]) == Spread(2, 1, 3)


def test_a_ratio_is_taken_within_a_round() -> None:
    """A machine that slows down for both in the same round changes no ratio."""
    assert ratio(samples(10, 20, 40), samples(5, 10, 20)) == Spread(0.5, 0.5, 0.5)


def test_rounds_without_answers_have_no_ratio() -> None:
    """A round in which either answered nothing is left out; without any other there is no ratio."""
    assert ratio(samples(10, None), samples(20, 30)) == Spread(2, 2, 2)
    assert ratio(samples(10), samples(None)) is None
    assert ratio(samples(10), []) is None


def test_the_load_side_is_full_only_where_the_front_has_room() -> None:
    """Both at their limit is no fault of the generator's."""
    assert replace(SAMPLE, load_busy=0.97, front_busy=0.6).load_full
    assert not replace(SAMPLE, load_busy=0.97, front_busy=0.95).load_full
    assert not replace(SAMPLE, load_busy=0.80, front_busy=0.6).load_full
