"""A storm of one kind of warning: the first is told at once, then one with a count every so often. Pure."""

_AGAIN_AFTER = 10.0
"""Seconds."""
_KINDS = 1024
"""More are one kind, until some have gone stale: clients can make as many as they like."""
_OTHERS = ""


class Repeats:
    """What was told, by its kind.

    Args:
        again_after: seconds after which a kind is told again.
    """

    def __init__(self, again_after: float = _AGAIN_AFTER) -> None:
        self._again_after = again_after
        self._told: dict[str, tuple[float, int]] = {}

    def untold(self, kind: str, now: float) -> int | None:
        """How many of that kind went untold before this one; None: this one is to go untold too.

        Args:
            kind: what would be said again.
            now: a monotonic time, in seconds.
        """
        if kind not in self._told and len(self._told) >= _KINDS:
            self._told = {kind: told for kind, told in self._told.items() if now - told[0] < self._again_after}
            kind = kind if len(self._told) < _KINDS else _OTHERS
        since, untold = self._told.get(kind, (-self._again_after, 0))
        if now - since < self._again_after:
            self._told[kind] = since, untold + 1
            return None
        self._told[kind] = now, 0
        return untold
