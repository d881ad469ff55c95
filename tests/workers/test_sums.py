"""What several processes have counted, in one scrape."""

import pytest

from tlsproxy.chassis.measures import Distribution, Measure
from tlsproxy.workers.sums import added, added_status, lasting


def counter(name: str, **samples: float) -> Measure:
    return Measure(name, "counter", "Help.", ("kind",), {(kind,): value for kind, value in samples.items()})


def histogram(*observed: float) -> Measure:
    distribution = Distribution((0.1, 1.0))
    for seconds in observed:
        distribution.observe(seconds)
    return Measure("durations", "histogram", "Help.", (), {(): distribution})


def test_samples_are_added() -> None:
    """By name and labels; what only one has is there too, and nobody's own values are touched."""
    one, other = counter("a", x=1, y=2), counter("a", y=3, z=4)
    assert added([[one, counter("b", x=1)], [other]]) == [counter("a", x=1, y=5, z=4), counter("b", x=1)]
    assert one == counter("a", x=1, y=2)


def test_histograms_are_added() -> None:
    """Bucket by bucket, and the sums."""
    one, other = histogram(0.05, 0.5), histogram(0.5, 5.0)
    assert added([[one], [other], []]) == [histogram(0.05, 0.5, 0.5, 5.0)]
    assert one == histogram(0.05, 0.5)


def test_nothing() -> None:
    """Where nobody tells anything there is nothing."""
    assert added([]) == []


def test_what_lasts() -> None:
    """Counters and histograms outlive a worker, a gauge ends with it."""
    gauge = Measure("now", "gauge", "Help.", (), {(): 1})
    assert lasting([counter("a", x=1), gauge, histogram(1.0)]) == [counter("a", x=1), histogram(1.0)]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([{"app": {"address": "a:1", "idle": 1}, "lost": 2}, {"app": {"address": "a:1", "idle": 3}, "lost": 0}],
         {"app": {"address": "a:1", "idle": 4}, "lost": 2}),
        ([{"flag": True}, {"flag": True}], {"flag": True}),
        ([], {}),
    ],
)  # fmt: skip
def test_statuses(statuses: list[dict[str, object]], expected: dict[str, object]) -> None:
    """Numbers are added up at every depth; texts and switches are the first one's."""
    assert added_status(statuses) == expected
