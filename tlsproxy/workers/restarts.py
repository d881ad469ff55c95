"""When a worker that has died is followed by another: at once, after a while, or not at all. Pure."""

from dataclasses import dataclass

SETTLED = 5.0
"""Seconds after which a worker that serves counts as one that can."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds; each pause is twice the one before."""
TRIES = 8
"""Deaths in a row, none of them of a settled worker, after which it is given up: about six seconds."""


@dataclass(slots=True)
class Restarts:
    """The deaths of one place's workers."""

    failures: int = 0
    """In a row."""

    def pause(self, lived: float) -> float | None:
        """Seconds until a successor begins; None: there is to be none.

        The first one comes at once: a worker that was killed is to be missed for a moment only.

        Args:
            lived: seconds that the worker which has died served; 0 where it never did.
        """
        self.failures = 1 if lived >= SETTLED else self.failures + 1
        if self.failures >= TRIES:
            return None
        return 0.0 if self.failures == 1 else min(FIRST_PAUSE * 2.0 ** (self.failures - 2), LONGEST_PAUSE)
