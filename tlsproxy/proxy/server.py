"""The client connections of one port, run by aiohttp: kept, swept, drained and cut.

What a connection is, is its maker's affair: a Front speaks HTTP/1, a Relay passes bytes, a Tunnel takes the place of
either. aiohttp's runner (ServerRunner) drains them as it does its own RequestHandlers; there is no Application, no
router and no middleware: a proxy has one handler.

Used of aiohttp beyond its documented surface: `web.Server` keeps its connections in `_connections` and is called as
the factory of protocols. tests/proxy/test_server.py says what broke when that changes.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from aiohttp import web

_logger = logging.getLogger("tlsproxy")

# How long a connection that has only just begun is given to ask for something while draining: its first request may
# be on the way, and who finds it closed can't tell whether that was heard. A second is many round trips.
_FIRST_REQUEST = 1.0


class Conversation(Protocol):
    """What stands on a client connection."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""

    def close(self) -> None:
        """End after what is under way."""

    def retire(self) -> None:
        """Let the next answer be the last, if there are answers; asked again and again until the end."""

    def stop(self) -> None:
        """End at once."""

    def sweep(self, now: float) -> None:
        """End what is overdue at this monotonic time."""


@dataclass(frozen=True, slots=True)
class Retirement:
    """When a connection is to end gently."""

    since: float
    """Monotonic time from which on the next answer is the last."""
    until: float
    """At this one what is idle is closed."""


class Server(web.Server):
    """The client connections of one port.

    Args:
        make: makes what stands on a new connection, and is handed this server to report to.
        below: makes the protocol that a new TCP connection gets, from what makes the one above it; without it that
            one stands on TCP itself.
        ended: called at the end of each connection that had been `opened` here; None: nobody asks.
    """

    def __init__(
        self,
        make: Callable[["Server"], asyncio.Protocol],
        below: Callable[[Callable[[], asyncio.Protocol]], asyncio.BaseProtocol] | None = None,
        ended: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(_unused)
        self._connections: dict[Conversation, asyncio.Transport] = {}  # type: ignore[assignment]  # in place of theirs
        self._make = make
        self._below = below
        self._ended = ended
        self._emptied: asyncio.Event | None = None
        self._retiring: dict[Conversation, Retirement] = {}
        self._retired = -math.inf
        """When connections were last retired."""
        self._grace = 0.0
        self.draining = False
        """Whether each response is to be the last of its connection."""

    def __call__(self) -> asyncio.BaseProtocol:  # type: ignore[override]  # aiohttp only hands it to the loop
        """The protocol for a new TCP connection."""
        return self._above() if self._below is None else self._below(self._above)

    def _above(self) -> asyncio.Protocol:
        return self._make(self)

    def opened(self, conversation: Conversation, transport: asyncio.Transport) -> None:
        """Take a connection in."""
        self._connections[conversation] = transport
        if self._grace and transport.get_extra_info("began", math.inf) <= self._retired:
            # Its handshake was under way.
            now = monotonic()
            self._retiring[conversation] = Retirement(now, max(now, self._retired + self._grace))
        if self.draining:
            now = monotonic()
            self._retiring[conversation] = Retirement(now, now + _FIRST_REQUEST)

    def ended(self, conversation: Conversation) -> None:
        """Let a connection go."""
        self._retiring.pop(conversation, None)
        if self._connections.pop(conversation, None) is not None and self._ended is not None:
            self._ended()
        if self._emptied is not None and not self._connections:
            self._emptied.set()

    def pre_shutdown(self) -> None:
        """Close what is idle, and each other connection after its response; who has only just come may ask once."""
        if self.draining:
            return
        self.draining = True
        now = monotonic()
        for conversation, transport in list(self._connections.items()):
            until = transport.get_extra_info("began", -math.inf) + _FIRST_REQUEST
            if conversation.is_idle and now < until:
                self._retiring[conversation] = Retirement(now, until)
            else:
                conversation.close()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as aiohttp calls it
        """Wait for what is under way, at most for so many seconds, and cut it then."""
        if not self._connections:
            return
        self._emptied = asyncio.Event()
        try:
            async with asyncio.timeout(timeout):
                await self._emptied.wait()
        except TimeoutError:
            self.cut()

    def retire(self, grace: float) -> None:
        """Let every connection that there is end within so many seconds; tunnels go on.

        The first half of the time is for taking leave: from a moment on that is its own, so that they do not all
        come back at once, each connection's next answer says that it was the last. Who asks for nothing is closed
        half of the time after that moment.
        """
        now = self._retired = monotonic()
        self._grace = grace
        fresh = [conversation for conversation in self._connections if conversation not in self._retiring]
        for place, conversation in enumerate(fresh):
            since = now + grace / 2 * place / len(fresh)
            self._retiring[conversation] = Retirement(since, since + grace / 2)

    def sweep(self, now: float) -> None:
        """Look at every connection's deadline."""
        self._take_leave(now)
        for conversation, transport in list(self._connections.items()):
            try:
                conversation.sweep(now)
            except Exception:
                # One connection's trouble is not to end every other's deadlines.
                _logger.exception("a connection failed and is cut: %r", conversation)
                transport.abort()

    def _take_leave(self, now: float) -> None:
        for conversation, retirement in list(self._retiring.items()):
            if now >= retirement.until:
                del self._retiring[conversation]
                conversation.close()
            elif now >= retirement.since:
                conversation.retire()

    def cut(self) -> None:
        """End every connection at once."""
        for conversation in list(self._connections):
            conversation.stop()

    def count(self) -> tuple[int, int]:
        """How many connections are idle, and how many have something under way."""
        idle = sum(conversation.is_idle for conversation in self._connections)
        return idle, len(self._connections) - idle


async def _unused(_: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError("requests are answered by exchanges")
