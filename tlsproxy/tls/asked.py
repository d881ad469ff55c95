"""The names that clients have asked for by SNI, so that one that goes from the certificates is missed. Pure.

Each handshake with a name costs one look-up; a name that is new, or has been forgotten, an insertion besides.
"""

from collections.abc import Callable

# More than a sidecar has; a flood of made-up names drives the others out, until they are asked for again.
LIMIT = 1024


class AskedNames:
    """The last names that were new, at most `limit` of them."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._names: dict[str, None] = {}

    def __repr__(self) -> str:
        return f"<AskedNames {len(self._names)}>"

    def note(self, name: str) -> None:
        """A client has asked for it."""
        if name in self._names:
            return
        if len(self._names) >= self._limit:
            del self._names[next(iter(self._names))]
        self._names[name] = None

    def gone(self, before: Callable[[str], object], after: Callable[[str], object]) -> tuple[str, ...]:
        """Those that were covered before a change and are not after it, in alphabetical order."""
        return tuple(sorted(name for name in self._names if before(name) and not after(name)))
