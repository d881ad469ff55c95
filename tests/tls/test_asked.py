"""tlsproxy/tls/asked.py."""

from tlsproxy.tls.asked import AskedNames


def test_a_name_that_was_asked_for_is_missed() -> None:
    """Of what is covered no more, only what clients have asked for is told, in order and once."""
    asked = AskedNames()
    for name in ("z.test", "a.test", "a.test", "stays.test", "never.test"):
        asked.note(name)
    before, after = {"a.test", "z.test", "stays.test", "unasked.test"}, {"stays.test"}
    assert asked.gone(before.__contains__, after.__contains__) == ("a.test", "z.test")


def test_the_memory_is_bounded() -> None:
    """A flood of made-up names drives out the oldest, which is remembered again when it is asked for again."""
    asked = AskedNames(limit=3)
    for name in ("real.test", *map(str, range(100)), "real.test"):
        asked.note(name)
    assert repr(asked) == "<AskedNames 3>"
    assert asked.gone(lambda _: True, lambda _: False) == ("98", "99", "real.test")
