"""Bytes both ways between a client and the app: what an Upgrade leads to, and the whole of tcp mode.

A tunnel takes over the two transports with their pauses, and knows nothing of what was said before. Each side's end
of its own direction is passed on to the other side (half-close); an end that is none, a reset or a cut, is passed on
as such, so that nothing looks complete that is not.
"""

import asyncio
import math
import socket
import struct
from contextlib import suppress
from time import monotonic
from typing import Protocol

from tlsproxy.proxy.app_reads import buffer, last_words, view
from tlsproxy.proxy.journal import Journal, Record
from tlsproxy.proxy.limits import Timeouts
from tlsproxy.proxy.refusals import AppReset, ClientGone, Draining, Refusal, TunnelTimeout
from tlsproxy.proxy.websocket_frames import GOING_AWAY, Frames

_RESET = struct.pack("ii", 1, 0)


class Owner(Protocol):
    """Who keeps the client's connection: the server."""

    draining: bool
    """Whether it is about to end."""

    def opened(self, conversation: "Tunnel", transport: asyncio.Transport) -> None:
        """Take a connection in."""

    def ended(self, conversation: "Tunnel") -> None:
        """Let a connection go."""


class End(asyncio.Protocol):
    """The client's side: what it says goes to the other side."""

    __slots__ = ("_tunnel", "lost", "moved", "other", "slow", "spoken", "transport")

    def __init__(self, tunnel: "Tunnel") -> None:
        self._tunnel: Tunnel | None = tunnel
        """None when it is over."""
        self.transport: asyncio.Transport
        self.other: End
        self.moved = 0
        """Bytes that came from here."""
        self.slow = False
        """Whether it takes no more for now."""
        self.spoken = False
        """Whether it has ended its direction, in order."""
        self.lost = False

    def take(self, transport: asyncio.Transport, *, slow: bool) -> None:
        """Stand on a transport from now on; `slow`: whether its writing is paused."""
        self.transport = transport
        self.slow = slow
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        """Hand on what it says."""
        self.moved += len(data)
        to = self.other.transport
        if not to.is_closing():
            to.write(data)

    def eof_received(self) -> bool:
        """It says no more; whether it still listens. On TLS this comes for close_notify, and again for TCP's end."""
        self.spoken = True
        other = self.other
        if other.spoken:
            other.transport.close()
            return False
        if not other.transport.is_closing():
            # asyncio's transport raises where a reset has come that it has not read yet; uvloop's tells of it later.
            with suppress(OSError):
                other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        """It is slow: hold the other side."""
        self.slow = True
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """It is ready again: let the other side go on."""
        self.slow = False
        self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self.lost = True
        if self._tunnel is not None:
            self._tunnel.lost_end(self, None if self.spoken else exc)
        # Ends in a cycle would keep both connections, with what TLS has of buffers, until a collection finds them.
        del self.other

    def leave(self) -> None:
        """Tell the tunnel no more."""
        self._tunnel = None

    def cut(self) -> None:
        """End so that what was said can't be taken for the whole: on TLS without close_notify."""
        self.transport.abort()


class AppEnd(End, asyncio.BufferedProtocol):
    """The app's side."""

    __slots__ = ()

    def get_buffer(self, sizehint: int) -> bytearray:
        """Where to read to."""
        return buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on what was read."""
        self.data_received(bytes(view[:nbytes]))

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone; what it had said before is handed on."""
        if exc is not None and not self.spoken:
            for size in last_words(self.transport):
                if size:
                    self.buffer_updated(size)
                elif isinstance(exc, BrokenPipeError):
                    # As Linux tells a reset that came behind a FIN from one that came without (ECONNRESET).
                    self.spoken = True
        super().connection_lost(exc)

    def cut(self) -> None:
        """End with a reset: a bare FIN would tell the app that the client has said all."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def take_leave(self) -> None:
        """Tell the client that it is to end: not in a protocol whose words are not known here."""


class WebSocketEnd(AppEnd):
    """The app's side of a WebSocket: knows where its frames begin, so that one more can be put between them."""

    __slots__ = ("_frames", "_leaving", "_left")

    def __init__(self, tunnel: "Tunnel") -> None:
        super().__init__(tunnel)
        self._frames = Frames()
        self._leaving = False
        """Whether the client is to be told at the next boundary."""
        self._left = False
        """Whether it has been told."""

    def data_received(self, data: bytes) -> None:
        """Hand on what it says, up to our own last word: nothing may follow a Close frame."""
        if self._left:
            return
        boundary = self._frames.pass_by(data)
        if self._leaving and boundary:
            super().data_received(data[:boundary])
            self._tell()
        else:
            super().data_received(data)

    def take_leave(self) -> None:
        """Tell the client as soon as no frame is half said; its answer tells the app, which then ends."""
        if self._left:
            return
        self._leaving = True
        if self._frames.at_boundary:
            self._tell()

    def _tell(self) -> None:
        self._left = True
        client = self.other.transport
        if not client.is_closing():
            client.write(GOING_AWAY)


_ENDS = {b"websocket": WebSocketEnd}
"""What stands at the app's side of protocols that more is known of than that they are bytes."""


class Tunnel:
    """The bytes between a client and the app, until both are gone.

    Args:
        record: of the request or connection that it belongs to; told of to the journal when the tunnel has ended.
        journal: its tally is kept up to date while bytes pass.
        timeouts: `tunnel` bounds the time without a byte either way; `body` how long one side may take to read what is
            left for it after the other has gone.
        protocol: what it speaks, as in `Upgrade`; empty where that is not known.
    """

    __slots__ = (
        "_deadline",
        "_fault",
        "_journal",
        "_owner",
        "_received",
        "_record",
        "_sent",
        "_timeouts",
        "app",
        "client",
    )

    def __init__(self, record: Record, journal: Journal, timeouts: Timeouts, protocol: bytes = b"") -> None:
        self._record = record
        self._journal = journal
        self._timeouts = timeouts
        self._owner: Owner
        self._fault: Refusal | None = None
        self._received = self._sent = 0
        """What has been counted."""
        self._deadline = math.inf
        self.client = End(self)
        self.app = _ENDS.get(protocol.lower(), AppEnd)(self)
        self.client.other, self.app.other = self.app, self.client

    def __repr__(self) -> str:
        moved = f"{self.client.moved} bytes in, {self.app.moved} out"
        return f"<Tunnel {self._record.request_id.decode()} {self._record.address}: {moved}>"

    @property
    def is_idle(self) -> bool:
        """Never: only its two sides know when it is over."""
        return False

    def open(self, owner: Owner, early: bytes, *, half_closed: bool) -> None:
        """Begin, once both ends stand on their transports.

        Args:
            owner: keeps the connection from now on.
            early: what the client has said already.
            half_closed: whether it has ended its direction.
        """
        self._owner = owner
        owner.opened(self, self.client.transport)
        self._journal.tally.tunnels += 1
        self._deadline = self._idle_deadline(monotonic())
        for end in (self.client, self.app):
            if end.slow:
                # Its transport says so only once.
                end.pause_writing()
        if early:
            self.client.data_received(early)
        if half_closed:
            self.client.eof_received()

    def _idle_deadline(self, now: float) -> float:
        return now + self._timeouts.tunnel if self._timeouts.tunnel else math.inf

    def lost_end(self, end: End, exc: Exception | None) -> None:
        """One side is gone; `exc`: what broke it off before it had said all."""
        other = end.other
        if exc is not None and self._fault is None:
            self._fault = ClientGone() if end is self.client else AppReset(f"the app reset a tunnel: {exc}")
        if other.lost:
            self._over()
            return
        self._deadline = monotonic() + self._timeouts.body
        if self._fault is None:
            other.transport.close()
        else:
            other.cut()

    def _over(self) -> None:
        for end in (self.client, self.app):
            end.leave()
        self._count()
        self._journal.tally.tunnels -= 1
        self._owner.ended(self)
        self._journal.closed(self._record, self._fault)

    def _count(self) -> None:
        received, sent = self.client.moved - self._received, self.app.moved - self._sent
        self._received, self._sent = self.client.moved, self.app.moved
        self._record.received += received
        self._record.sent += sent
        self._journal.tally.received += received
        self._journal.tally.sent += sent

    # ------------------------------------------------------------------ what its server does

    def close(self) -> None:
        """Go on, since a tunnel has no next request before which it could end; but take leave when all is to end."""
        if self._owner.draining and not self.client.lost and not self.app.lost:
            self.app.take_leave()

    def retire(self) -> None:
        """Go on."""

    def stop(self) -> None:
        """End both sides at once, and do not wait for that: the process may be faster."""
        self._cut(Draining("a tunnel was cut at the end of draining"))
        self._over()

    def sweep(self, now: float) -> None:
        """Keep the counts up to date, and end what has been silent for too long."""
        if self.client.moved != self._received or self.app.moved != self._sent:
            self._count()
            if not self.client.lost and not self.app.lost:
                self._deadline = self._idle_deadline(now)
        elif now > self._deadline:
            self._cut(TunnelTimeout())

    def _cut(self, why: Refusal) -> None:
        self._fault = self._fault or why
        for end in (self.client, self.app):
            if not end.lost:
                end.cut()
