"""How many client connections there are at once, over all ports for clients; who comes above the limit waits.

Above it nothing is accepted: connections wait in the kernel's backlog, which costs nobody anything. What stands on a
connection is not known here, and so whoever is its last protocol tells of its end.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from time import monotonic

from tlsproxy.chassis.accepting import Accepting
from tlsproxy.chassis.measures import Measure
from tlsproxy.chassis.repeats import Repeats

_logger = logging.getLogger("tlsproxy")


class Admission:
    """Accepts connections on several ports as long as there is room for one more.

    Args:
        limit: connections at once, at least 1.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._accepting = Accepting("new connections")
        self._repeats = Repeats()
        self.admitted = 0
        """Connections that have been accepted and have not ended."""
        self.pauses = 0
        """How often the last place was taken."""

    def open(self, sockets: Iterable[socket.socket], factory: Callable[[], asyncio.BaseProtocol]) -> None:
        """Accept on listening sockets, which belong to this object from here on.

        Args:
            sockets: they do not block.
            factory: makes the protocol of a new connection; `ended` is owed for each that it has made.
        """
        self._accepting.open(sockets, partial(self._admit, factory))

    async def finish(self) -> None:
        """Stop listening, for good, and let in who waits in the backlog, as far as there is room."""
        await self._accepting.finish()

    def close(self) -> None:
        """Stop listening, for good; may be called twice. Who waits in the backlog is reset by the kernel."""
        self._accepting.close()

    def ended(self) -> None:
        """Take note that a connection has ended."""
        self.admitted -= 1
        if self._accepting.paused and self.admitted < self._limit:
            self._accepting.resume()

    @property
    def waiting(self) -> int:
        """Connections in the kernel's backlog."""
        return self._accepting.waiting

    def measures(self) -> Iterator[Measure]:
        """The counts as metric families."""
        yield Measure(
            "tlsproxy_accept_pauses_total",
            "counter",
            "How often TLSPROXY_MAX_CONNECTIONS was reached, and new connections began to wait in the backlog.",
            (),
            {(): self.pauses},
        )

    # ------------------------------------------------------------------ one more, and no more

    def _admit(self, factory: Callable[[], asyncio.BaseProtocol]) -> asyncio.BaseProtocol:
        # First: what fails takes no place.
        protocol = factory()
        self.admitted += 1
        if self.admitted >= self._limit:
            self._pause()
        return protocol

    def _pause(self) -> None:
        self._accepting.pause()
        self.pauses += 1
        if (untold := self._repeats.untold("full", monotonic())) is not None:
            _logger.warning(
                "%d client connections are open, and new ones wait until one ends (TLSPROXY_MAX_CONNECTIONS)%s",
                self.admitted,
                f"; {untold} more times since the last such line" if untold else "",
            )
