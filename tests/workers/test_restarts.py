"""Pauses before a worker's successor begins."""

from tlsproxy.workers.restarts import LONGEST_PAUSE, SETTLED, TRIES, Restarts


def pauses(*lives: float) -> list[float | None]:
    restarts = Restarts()
    return [restarts.pause(lived) for lived in lives]


def test_the_first_successor_comes_at_once() -> None:
    """A worker that was killed is missed for a moment only, however long it lived."""
    assert pauses(0.0) == [0.0]
    assert pauses(3600.0) == [0.0]


def test_pauses_grow_and_end() -> None:
    """Workers that die at once again and again follow one another more and more slowly, and are given up."""
    assert pauses(*[0.0] * TRIES) == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, None]
    assert all(pause is None or pause <= LONGEST_PAUSE for pause in pauses(*[0.0] * TRIES))


def test_a_settled_worker_begins_the_count_anew() -> None:
    """Deaths that are hours apart never add up."""
    assert pauses(0.0, 0.0, SETTLED, 0.0) == [0.0, 0.1, 0.0, 0.1]
    assert None not in pauses(*[SETTLED] * 100)
