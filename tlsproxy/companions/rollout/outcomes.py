"""The seams of a change: what those who check, tell, watch and write are asked, and what comes of it for who asked."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Check = Callable[[Path], Awaitable[None]]
"""Looks at a release before anybody sees it. RefusedError: it is bad; any other error: that could not be found out."""
Tell = Callable[[str], Awaitable[None]]
"""Tells the app of a version. RefusedError: the app won't have it; any other error: the app was not reached."""
Watch = Callable[[], Awaitable[None]]
"""Watches the app after it was told; any error: it is not healthy."""
Fill = Callable[[Path], Awaitable[None]]
"""Writes a version into an empty directory. RefusedError, UnfitError: it is bad; others come back to who offers it."""


class RefusedError(Exception):
    """A check or the app says no to a version; the message says why, for people."""


class RolloutError(Exception):
    """What a person asked for can't be done; the message says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an offer, or of what a person asked for."""

    name: str
    """The version in question; of one that was restored, the one that failed."""
    result: Literal[
        "published",
        "rolled back",
        "pinned",
        "unchanged",
        "known bad",
        "held",
        "rejected",
        "restored",
        "failed",
        "untold",
        "superseded",
    ]
    """What became of it.

    published, rolled back, pinned: it is current, and the app is healthy.
    unchanged: it was current before.
    known bad: it failed before and is not tried again.
    held: another version is pinned.
    rejected: by a check.
    restored: it failed, and the version before it is current again.
    failed: the app is not healthy, and there is nothing to go back to.
    untold: it is current, and the app could not be reached; gone on with at the next offer or `go_on`.
    superseded: a person asked for another one while the app was watched; that is not at its end.
    """
    detail: str = ""
