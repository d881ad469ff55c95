"""Handshakes' share of a turn of the loop; who comes above it has the next turns, in order.

A handshake costs the processor as much as ten requests, and a flood of them arrives in one turn: each of its clients
would be answered before anybody who has long been connected.
"""

import asyncio
from collections import deque
from time import monotonic
from typing import Protocol

_SHARE = 0.001
"""Seconds at least: a few handshakes with a P-256 key, or one with a large RSA key."""
_PART = 1 / 3
"""Of what the others had since the share before: where their turns are long, there are few in the handshake's time."""


class Shaking(Protocol):
    """A connection in its handshake."""

    def go_on(self, data: bytes) -> None:
        """Go on with what has come; asked once for each time that it had to wait."""


class HandshakeTurns:
    """Whose handshake goes on in this turn of the loop, and who waits."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Shaking, bytes]] = deque()
        self._until = 0.0
        self._begun = False
        """Whether a handshake has had its share of this turn, or of the one that comes."""

    def has(self, connection: Shaking, data: bytes) -> bool:
        """Whether a connection may go on at once; False: it is asked to `go_on`, and reads nothing until then."""
        if not self._begun:
            self._begin(_SHARE)
            return True
        if monotonic() < self._until:
            # Nobody waits: the share is not spent.
            return True
        self._waiting.append((connection, data))
        return False

    def _begin(self, share: float) -> None:
        self._begun = True
        self._until = monotonic() + share
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        """The turn is over, and the next begins with who had to wait: one of them at least."""
        self._begun = False
        if not self._waiting:
            return
        self._begin(max(_SHARE, _PART * (monotonic() - self._until)))
        while self._waiting:
            connection, data = self._waiting.popleft()
            connection.go_on(data)
            if monotonic() >= self._until:
                break
