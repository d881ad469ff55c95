"""How many client connections there are at once, over all ports for clients; who comes above the limit waits.

Above it nothing is accepted: connections wait in the kernel's backlog, which costs nobody anything. What stands on a
connection is not known here, and so whoever is its last protocol tells of its end.

A loop can't be told to pause a server. So each stands on a copy of its listening socket: it is closed for a pause, and
the kernel goes on queueing for the socket itself, on a copy of which another server takes over.
"""

import asyncio
import logging
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from time import monotonic

from tlsproxy.chassis.listening import BACKLOG
from tlsproxy.chassis.measures import Measure
from tlsproxy.chassis.repeats import Repeats

_logger = logging.getLogger("tlsproxy")

_RETRY = 1.0
"""Seconds until accepting is tried again where it could not be resumed."""
_UNACKED_AT = 24
"""Where `tcpi_unacked` is in Linux' struct tcp_info: the length of the backlog of a socket that listens."""


class Admission:
    """Accepts connections on several ports as long as there is room for one more.

    Args:
        limit: connections at once, at least 1. Where connections come at one moment to several addresses, the last
            place may be taken once at each.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._listeners: list[_Listener] = []
        self._pausing = False
        self._resumption: asyncio.Task[None] | None = None
        """Kept because a loop keeps its tasks weakly."""
        self._repeats = Repeats()
        self._seen = 0
        """How many had been accepted at the last sweep."""
        self._accepted = 0
        self.admitted = 0
        """Connections that have been accepted and have not ended."""
        self.pauses = 0
        """How often the last place was taken."""

    async def open(self, sockets: Iterable[socket.socket], factory: Callable[[], asyncio.BaseProtocol]) -> None:
        """Accept on listening sockets, which belong to this object from here on.

        Args:
            sockets: they do not block.
            factory: makes the protocol of a new connection; `ended` is owed for each that it has made.
        """
        for sock in sockets:
            self._listeners.append(_Listener(sock, partial(self._admit, factory)))
        await self._start()

    async def finish(self) -> None:
        """Stop listening, for good, and let in who waits in the backlog, as far as there is room.

        To them they are connected, and the kernel would reset them with the socket.
        """
        loop = asyncio.get_running_loop()
        waiting: list[tuple[Callable[[], asyncio.BaseProtocol], socket.socket]] = []
        for listener in self._listeners:
            room = self._limit - self.admitted - len(waiting)
            waiting += [(listener.factory, connection) for connection in listener.take(room)]
        self.close()
        for factory, connection in waiting:
            await loop.connect_accepted_socket(factory, connection)

    def close(self) -> None:
        """Stop listening, for good; may be called twice. Who waits in the backlog is reset by the kernel."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def ended(self) -> None:
        """Take note that a connection has ended."""
        self.admitted -= 1
        if self._pausing and self.admitted < self._limit:
            self._pausing = False
            self._resume()

    def sweep(self, now: float) -> None:
        """Look for what uvloop does not tell: that accepting fails (ENOBUFS, say), and is tried again without rest."""
        stuck = not self._pausing and self._resumption is None and self._accepted == self._seen and self.waiting
        self._seen = self._accepted
        if stuck and not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
            for listener in self._listeners:
                listener.stop()
            self._resume(by_hand=True)

    @property
    def waiting(self) -> int:
        """Connections in the kernel's backlog."""
        return sum(listener.waiting for listener in self._listeners)

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
        protocol = factory()
        self.admitted += 1
        self._accepted += 1
        if self.admitted >= self._limit:
            # Not at once: with its server uvloop would close the connection that it is about to hand over.
            asyncio.get_running_loop().call_soon(self._pause)
        return protocol

    def _pause(self) -> None:
        if self._pausing or self.admitted < self._limit:
            return
        self._pausing = True
        self.pauses += 1
        for listener in self._listeners:
            listener.stop()
        if (untold := self._repeats.untold("full", monotonic())) is not None:
            _logger.warning(
                "%d client connections are open, and new ones wait until one ends (TLSPROXY_MAX_CONNECTIONS)%s",
                self.admitted,
                f"; {untold} more times since the last such line" if untold else "",
            )

    def _resume(self, *, by_hand: bool = False) -> None:
        start = self._start(by_hand=by_hand)
        self._resumption = asyncio.get_running_loop().create_task(start, name="accept again")

    async def _start(self, *, by_hand: bool = False) -> None:
        """Accept; `by_hand`: the first of each port without the loop, since only so an error becomes known."""
        try:
            for listener in self._listeners:
                if by_hand:
                    await listener.accept()
                if not self._pausing:
                    await listener.start()
        except OSError as error:
            if (untold := self._repeats.untold("refused", monotonic())) is not None:
                _logger.error(  # noqa: TRY400 - the way in says nothing
                    "new connections can't be accepted: %s; it is tried again in %gs%s",
                    error.strerror,
                    _RETRY,
                    f"; {untold} more times since the last such line" if untold else "",
                )
            asyncio.get_running_loop().call_later(_RETRY, partial(self._resume, by_hand=by_hand))
        else:
            self._resumption = None


class _Listener:
    """One listening socket, and the server that accepts on it while there is room."""

    def __init__(self, sock: socket.socket, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        self._socket = sock
        self.factory = factory
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Accept; may be called twice.

        Raises:
            OSError: for want of descriptors or memory.
        """
        if self._server is not None:
            return
        # asyncio takes as many connections at one go as this backlog says; the kernel is told the real one below.
        server = self._server = await asyncio.get_running_loop().create_server(
            self.factory, sock=self._socket.dup(), backlog=1, start_serving=False
        )
        await server.start_serving()
        if self._server is server:
            self._socket.listen(BACKLOG)

    async def accept(self) -> None:
        """Take the first of the backlog, if there is one.

        Raises:
            OSError: it can't be had.
        """
        with suppress(BlockingIOError):
            connection, _ = self._socket.accept()
            await asyncio.get_running_loop().connect_accepted_socket(self.factory, connection)

    def stop(self) -> None:
        """Accept no more; may be called twice."""
        server, self._server = self._server, None
        if server is None:
            return
        loop = asyncio.get_running_loop()
        # asyncio, whose reader this is, has perhaps accepted what it will hand over in a moment, and could not without
        # the server.
        if loop.remove_reader(server.sockets[0].fileno()):
            loop.call_soon(server.close)
        else:
            server.close()

    def take(self, most: int) -> list[socket.socket]:
        """The connections of the backlog, at most so many."""
        self.stop()
        taken: list[socket.socket] = []
        # An error is the end of the backlog, or of the descriptors; those who would have been next then bear it.
        with suppress(OSError):
            while len(taken) < most:
                taken.append(self._socket.accept()[0])
        return taken

    def close(self) -> None:
        """Listen no more."""
        self.stop()
        self._socket.close()

    @property
    def waiting(self) -> int:
        """How many are in the kernel's backlog; 0 where it does not tell."""
        if sys.platform != "linux":
            return 0
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED_AT + 4)
        length: int = struct.unpack_from("=I", info, _UNACKED_AT)[0]
        return length
