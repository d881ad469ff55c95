"""When an app counts as ended, by what probes of its port find."""

import asyncio
from contextlib import suppress

import pytest

from tlsproxy.chassis.following import Following


class NoMoreProbesError(Exception):
    """The story is over."""


def follow(probes: str, patience: float = 0) -> tuple[int, bool]:
    """How many probes were made of a port that is open (+) or closed (-), and whether the app has ended then."""
    made = 0

    async def is_closed() -> bool:
        nonlocal made
        if made == len(probes):
            raise NoMoreProbesError
        made += 1
        return probes[made - 1] == "-"

    async def go() -> bool:
        following = Following(is_closed, patience, period=0)
        with suppress(NoMoreProbesError):
            await following.watch()
        assert following.seen is ("+" in probes[:made])
        return following.ended.is_set()

    ended = asyncio.run(go())
    return made, ended


@pytest.mark.parametrize(
    ("probes", "made", "ended"),
    [
        ("++", 2, False),
        ("---------", 9, False),  # it has not started yet
        ("--+--", 5, True),
        ("+-+-+-+--", 9, True),  # it restarts, quickly
        ("+-----", 3, True),
    ],
)
def test_ended(probes: str, made: int, ended: bool) -> None:
    """An app that was there has ended when two probes in a row find its port closed."""
    assert follow(probes) == (made, ended)


def test_patience() -> None:
    """They are as far apart as the app may take to restart."""
    assert follow("+" + "-" * 50, patience=60) == (51, False)
