"""Memory that clients have left behind, given back to the system.

What has been freed the C library keeps, and gives back by itself only what lies at the end of its heap. When 9,800
connections had ended, 10 of the heap's 183 MB were in use and all were resident. To give back what is free takes 2 us
for each such connection, once; 28 MB more stay with Python's own allocator.
"""

from collections.abc import Callable
from functools import cache

# So many connections have to have ended, or it is not worth a millisecond: 10 MB.
_WORTH = 500


class Slack:
    """Watches how many connections there are, and has memory given back when the half of them has ended.

    Args:
        give_back: does it.
    """

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back = give_back
        self._most = 0

    def look(self, connections: int) -> None:
        """Take note of how many there are at this moment; to be told now and then."""
        self._most = max(self._most, connections)
        if self._most - connections >= max(_WORTH, self._most / 2):
            self._most = connections
            self._give_back()


def give_back() -> None:
    """Give back what is free anywhere in the heap; nothing where the C library is not glibc (malloc_trim(3))."""
    _trim()(0)


@cache
def _trim() -> Callable[[int], object]:
    try:
        import ctypes  # noqa: PLC0415 - for those alone who have had so many connections; not every Python has it

        trim: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (ImportError, OSError, AttributeError):
        return lambda _: None
    return trim
