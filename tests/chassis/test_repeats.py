"""Warnings in a storm: the first at once, then one with a count every ten seconds."""

from tlsproxy.chassis.repeats import Repeats


def test_a_storm_is_a_line_every_ten_seconds() -> None:
    """The first of a kind is told, those within ten seconds only counted, and the next tells how many they were."""
    repeats = Repeats()
    assert [repeats.untold("a", now) for now in (5.0, 5.1, 14.9, 15.0, 16.0, 25.1)] == [0, None, None, 2, None, 1]


def test_kinds_do_not_hide_each_other() -> None:
    """Each kind has a first and a count of its own."""
    repeats = Repeats()
    assert [repeats.untold(kind, 100.0) for kind in ("a", "b", "a")] == [0, 0, None]
    assert [repeats.untold(kind, 110.0) for kind in ("a", "b")] == [1, 0]


def test_the_first_is_told_whatever_the_clock() -> None:
    """A monotonic clock may begin at 0."""
    assert Repeats().untold("a", 0.0) == 0


def test_kinds_that_clients_make_are_bounded() -> None:
    """Beyond a thousand kinds at once all others are one, until the known ones are stale."""
    repeats = Repeats()
    told = [repeats.untold(f"client {number}", 1.0) for number in range(3000)]
    assert told.count(0) == 1025
    assert told[-1] is None
    assert repeats.untold("client 0", 2.0) is None
    assert repeats.untold("a new one", 12.0) == 0
    assert repeats.untold("client 2999", 12.0) == 0


def test_how_often_is_told_may_be_said() -> None:
    """What lasts for hours is told again less often than what is over in a minute."""
    repeats = Repeats(600.0)
    assert [repeats.untold("a", now) for now in (0.0, 20.0, 599.0, 601.0)] == [0, None, None, 2]
