"""Connections taken from sockets that listen, a few in each turn of the loop; a rest where the kernel can give none.

No server of a loop's does that. uvloop's tries again without rest where accept(2) fails, and tells nobody; it closes
who comes next where no descriptor is left; and neither its nor asyncio's can be paused.
"""

import asyncio
import errno
import logging
import math
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from time import monotonic

from tlsproxy.chassis.repeats import Repeats

_logger = logging.getLogger("tlsproxy")

_AT_ONCE = 8
"""Connections to take in one turn of the loop: several cost less each, and many would keep waiting who is there."""
_REST = 1.0
"""Seconds until it is tried again where the kernel could not give a connection."""
_NOBODYS_FAULT_BUT_ITS_OWN = frozenset(
    {
        errno.EAGAIN,
        errno.ECONNABORTED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EPROTO,
    }
)
"""accept(2): there was no connection, or this one had failed already, and the next may be had at once."""
_UNACKED_AT = 24
"""Where `tcpi_unacked` is in Linux' struct tcp_info: the length of the backlog of a socket that listens."""

MakeProtocol = Callable[[], asyncio.BaseProtocol]


class Accepting:
    """Takes connections on several sockets, for as long as it is not paused; who comes meanwhile waits in the backlog.

    Args:
        what: is accepted, for the log.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._listening: dict[socket.socket, MakeProtocol] = {}
        self._resting: asyncio.TimerHandle | None = None
        self._beginning: set[asyncio.Task[object]] = set()
        """Connections that have been taken, and that their protocols have not been told of."""
        self._repeats = Repeats()
        self.paused = False

    def open(self, sockets: Iterable[socket.socket], make: MakeProtocol) -> None:
        """Accept on sockets that listen and do not block, and belong to this object from here on.

        Args:
            sockets: may be of several ports; called again, these join those before.
            make: makes the protocol of a new connection, which is told of that a moment later. It may `pause`.
        """
        self._listening |= dict.fromkeys(sockets, make)
        self._go_on()

    def pause(self) -> None:
        """Accept no more until `resume`; may be called twice."""
        self.paused = True
        self._leave_off()

    def resume(self) -> None:
        """Accept again, after a rest if there is one; may be called twice."""
        self.paused = False
        self._go_on()

    async def finish(self) -> None:
        """Stop listening, for good, and let in who waits in the backlog until paused.

        To them they are connected, and the kernel would reset them with the socket.
        """
        for sock, make in self._listening.items():
            self._take(sock, make, math.inf)
        self.close()
        await asyncio.gather(*self._beginning, return_exceptions=True)

    def close(self) -> None:
        """Stop listening, for good; may be called twice. Who waits in the backlog is reset by the kernel."""
        self._leave_off()
        for sock in self._listening:
            sock.close()
        self._listening.clear()

    @property
    def waiting(self) -> int:
        """How many connections are in the kernel's backlog; 0 where it does not tell."""
        return sum(map(_waiting, self._listening))

    # ------------------------------------------------------------------ a few at a time

    def _go_on(self) -> None:
        if self.paused or self._resting is not None:
            return
        loop = asyncio.get_running_loop()
        for sock, make in self._listening.items():
            loop.add_reader(sock.fileno(), self._take, sock, make)

    def _leave_off(self) -> None:
        for sock in self._listening:
            asyncio.get_running_loop().remove_reader(sock.fileno())

    def _take(self, sock: socket.socket, make: MakeProtocol, most: float = _AT_ONCE) -> None:
        """Take the first of the backlog, until paused."""
        while most and not self.paused and self._take_one(sock, make):
            most -= 1

    def _take_one(self, sock: socket.socket, make: MakeProtocol) -> bool:
        """Take the first of the backlog; whether there was one to be had."""
        try:
            connection, _ = sock.accept()
        except OSError as error:
            if error.errno not in _NOBODYS_FAULT_BUT_ITS_OWN:
                self._rest(error)
            return False
        try:
            protocol = make()
        except BaseException:
            connection.close()
            raise
        loop = asyncio.get_running_loop()
        begun = loop.create_task(loop.connect_accepted_socket(lambda: protocol, connection))
        self._beginning.add(begun)
        begun.add_done_callback(self._beginning.discard)
        return True

    def _rest(self, error: OSError) -> None:
        """Leave off for a while: descriptors or memory are wanting, and the socket would go on to be ready."""
        self._leave_off()
        self._resting = asyncio.get_running_loop().call_later(_REST, self._rested)
        if (untold := self._repeats.untold("refused", monotonic())) is not None:
            _logger.error(
                "%s can't be accepted: %s; it is tried again in %gs%s",
                self._what,
                error.strerror,
                _REST,
                f"; {untold} more times since the last such line" if untold else "",
            )

    def _rested(self) -> None:
        self._resting = None
        self._go_on()


def _waiting(sock: socket.socket) -> int:
    if sys.platform != "linux":
        return 0
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED_AT + 4)
    length: int = struct.unpack_from("=I", info, _UNACKED_AT)[0]
    return length
