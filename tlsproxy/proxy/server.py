"""The HTTP/1 connections of one port, on aiohttp's low-level server.

A Server makes a Front for each connection in place of aiohttp's RequestHandler; aiohttp runs it (ServerRunner, SockSite
and `cleanup()`, which drains). There is no Application, no router and no middleware: a proxy has one handler.

Used of aiohttp beyond its documented surface: `web.Server` calls of its connections `close()` and `shutdown(timeout)`,
and keeps them in `_connections`. tests/proxy/test_server.py says what broke when that changes.
"""

import asyncio
import logging
from collections.abc import Callable

from aiohttp import web

from tlsproxy.proxy.forwarding import Forwarding
from tlsproxy.proxy.front import Answering, Front
from tlsproxy.proxy.journal import Journal
from tlsproxy.proxy.limits import Limits, Timeouts

_logger = logging.getLogger("tlsproxy")


class Server(web.Server):
    """The HTTP/1 connections of one listener.

    Args:
        service: who answers.
        forwarding: what the app is told of peers.
        limits: `head` and `body` count.
        timeouts: `head`, `body` and `keepalive` count.
        journal: where requests that never became an exchange are told of.
        below: makes the protocol that a new TCP connection gets from the factory of fronts; without it a front
            stands on TCP itself.
    """

    def __init__(
        self,
        service: Answering,
        forwarding: Forwarding,
        limits: Limits,
        timeouts: Timeouts,
        journal: Journal,
        below: Callable[[Callable[[], Front]], asyncio.BaseProtocol] | None = None,
    ) -> None:
        super().__init__(_unused)
        self._connections: dict[Front, asyncio.Transport] = {}  # type: ignore[assignment]  # ours in place of aiohttp's
        self.loop = asyncio.get_running_loop()
        self.service = service
        self.forwarding = forwarding
        self.limits = limits
        self.timeouts = timeouts
        self.journal = journal
        self.draining = False
        """Whether each response is to be the last of its connection."""
        self._below = below

    def __call__(self) -> asyncio.BaseProtocol:  # type: ignore[override]  # aiohttp only hands it to the loop
        """The protocol for a new TCP connection."""
        return self.front() if self._below is None else self._below(self.front)

    def front(self) -> Front:
        """A front for a new connection."""
        return Front(self)

    def opened(self, front: Front, transport: asyncio.Transport) -> None:
        """Take a connection in."""
        self._connections[front] = transport

    def ended(self, front: Front) -> None:
        """Let a connection go."""
        self._connections.pop(front, None)

    def pre_shutdown(self) -> None:
        """Close what is idle, and each other connection after its response."""
        self.draining = True
        super().pre_shutdown()

    def sweep(self, now: float) -> None:
        """Look at every connection's deadline."""
        for front in list(self._connections):
            try:
                front.sweep(now)
            except Exception:
                # One connection's trouble is not to end every other's deadlines.
                _logger.exception("a connection failed and is cut: %r", front)
                front.transport.abort()

    def has(self, front: Front) -> bool:
        """Whether the connection has not ended."""
        return front in self._connections

    def cut(self) -> None:
        """End every connection at once."""
        for front in list(self._connections):
            front.stop()

    def count(self) -> tuple[int, int]:
        """How many connections are idle, and how many in a request."""
        idle = sum(front.is_idle for front in self._connections)
        return idle, len(self._connections) - idle


async def _unused(_: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError("requests are answered by exchanges")
