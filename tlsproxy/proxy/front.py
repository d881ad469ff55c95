"""One HTTP/1 client connection: deadlines, limits, framing, backpressure.

It costs no task and no future for a request. What stands below it is any asyncio transport, plain or TLS;
`eof_received` means that the client sends no more but reads on.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol, cast

from tlsproxy.proxy.feed import Feed
from tlsproxy.proxy.forwarding import Forwarding
from tlsproxy.proxy.heads import BY_CHUNKS, BY_CLOSE, Field, Framing, Piece, lines
from tlsproxy.proxy.journal import Journal, Record, client_of
from tlsproxy.proxy.limits import Limits, Timeouts
from tlsproxy.proxy.refusals import BodyTimeout, BodyTooLarge, Draining, HeadTimeout, Refusal, answer, phrase
from tlsproxy.proxy.request import Request
from tlsproxy.proxy.tunnel import Tunnel

_NEVER = math.inf
# What is kept of pipelined requests until their turn comes; then the client is held.
_TAIL = 64 * 1024
# How long a client may go on sending after an answer that ends its connection, so that it can read that answer
# (nginx: lingering_timeout, 5 s).
_LINGER = 2.0


class Exchange(Protocol):
    """What answers a request: proxy/exchange, or proxy/redirect."""

    deadline: float
    status: int
    """Of the answer; 0 until there is one."""

    def body(self, piece: bytes) -> None:
        """A piece of the request's body has come."""

    def end(self) -> None:
        """The request is whole."""

    def flush(self) -> None:
        """Nothing more has been read for now."""

    def slow(self) -> None:
        """The client takes no more of the response for now."""

    def ready(self) -> None:
        """The client takes more again."""

    def fail(self, refusal: Refusal) -> None:
        """The request can't be read on."""

    def gone(self) -> None:
        """The client has left."""

    def expired(self) -> None:
        """The deadline has passed."""


class Answering(Protocol):
    """Who makes exchanges."""

    def exchange(self, stream: "Front", request: Request, *, has_body: bool) -> Exchange:
        """Begin one; raises Refusal for a request that is not served."""


@dataclass(frozen=True, slots=True)
class Frontend:
    """What the fronts of one port share."""

    service: Answering
    forwarding: Forwarding
    """What the app is told of peers."""
    limits: Limits
    """`head` and `body` count."""
    timeouts: Timeouts
    """`head`, `body` and `keepalive` count."""
    journal: Journal
    """Where requests that never became an exchange are told of."""
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def front(self, server: "Owner") -> "Front":
        """A front for a new connection."""
        return Front(self, server)


class Owner(Protocol):
    """Who keeps the connections: the server."""

    draining: bool
    """Whether each response is to be the last of its connection."""

    def opened(self, conversation: "Front | Tunnel", transport: asyncio.Transport) -> None:
        """Take a connection in."""

    def ended(self, conversation: "Front | Tunnel") -> None:
        """Let a connection go."""


class Front(asyncio.Protocol):
    """One client connection: its requests one after the other, and the Stream of each one's exchange.

    What it writes its transport has to take, or to copy, before `write` returns, as one that encrypts does: pieces of
    bodies are views of where the app's next words will lie. That they are not copied is 4 % of 1 MB.
    """

    __slots__ = (
        "_chunking",
        "_close",
        "_deadline",
        "_exchange",
        "_feed",
        "_frontend",
        "_half_closed",
        "_held",
        "_http10",
        "_lingering",
        "_server",
        "_tail",
        "_waited",
        "client",
        "slow",
        "transport",
    )

    def __init__(self, frontend: Frontend, server: Owner) -> None:
        self._frontend = frontend
        self._server = server
        self._feed = Feed(frontend.limits, frontend.loop)
        self._exchange: Exchange | None = None
        self._tail = b""
        """Bytes read ahead of their turn."""
        self._held = 0
        """Why reading is paused; a sum of _BY_EXCHANGE and _BY_TAIL."""
        self._half_closed = False
        self._lingering = False
        self._waited = False
        """Whether lingering was prolonged for a client that reads slowly."""
        self._close = False
        """Whether the connection ends with this response."""
        self._http10 = False
        self._chunking = False
        self._deadline = _NEVER
        self.slow = False

    def __repr__(self) -> str:
        state = "lingering" if self._lingering else "idle" if self.is_idle else repr(self._exchange)
        return (
            f"<Front {self.client.peer.address} {state}{' slow' if self.slow else ''}{' held' if self._held else ''}>"
        )

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way, not even in part."""
        return self._exchange is None and not self._feed.in_head and not self._tail

    # ------------------------------------------------------------------ the connection begins and ends

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.Transport", transport)
        self.client = client_of(self.transport.get_extra_info, self._frontend.forwarding)
        self._deadline = monotonic() + self._frontend.timeouts.keepalive
        self._server.opened(self, self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the client has left, or we have closed."""
        self._server.ended(self)
        exchange, self._exchange = self._exchange, None
        self._tail = b""
        if exchange is not None:
            exchange.gone()

    def close(self) -> None:
        """End after what is under way."""
        self._close = True
        if self.is_idle and not self._lingering:
            self.transport.close()

    def retire(self) -> None:
        """Let the next answer be the last; one whose head has gone out can't say so any more, and is not it."""
        if self._exchange is None or not self._exchange.status:
            self._close = True

    def stop(self) -> None:
        """End at once, with a word to a client that has not been answered yet."""
        self._close = True
        if self._exchange is not None:
            self._exchange.fail(Draining("cut at the end of draining"))
        else:
            self.transport.abort()

    # ------------------------------------------------------------------ what the client sends

    def data_received(self, data: bytes) -> None:
        """Read on, or keep what comes before its turn."""
        if self._lingering:
            return
        if not self._tail and (self._feed.body_expected or (self._exchange is None and not self.slow)):
            self._read(data)
        else:
            self._keep(data)

    def _read(self, data: bytes) -> None:
        try:
            while data:
                if self._exchange is None:
                    data = self._read_head(data)
                elif self._feed.body_expected:
                    data = self._read_body(self._exchange, data)
                    if data and self._feed.body_expected:
                        self._put_off(data)
                        break
                else:
                    self._keep(data)
                    break
        except Refusal as refusal:
            self._refuse(refusal)
        else:
            if self._exchange is not None:
                self._exchange.flush()

    def _read_head(self, data: bytes) -> bytes:
        """Read on in a head, and begin an exchange when it is whole; returns what was not used."""
        feed, frontend = self._feed, self._frontend
        fresh = not feed.in_head
        request, rest = feed.head(data)
        if request is None:
            if fresh and feed.in_head:
                self._deadline = monotonic() + frontend.timeouts.head
            return rest
        self._http10 = request.version == (1, 0)
        if request.should_close:
            self._close = True
        has_body = feed.body_expected
        try:
            self._exchange = frontend.service.exchange(self, request, has_body=has_body)
        except Refusal as refusal:
            self._refuse(refusal, request)
            return b""
        self._deadline = _NEVER
        if has_body:
            self._deadline = monotonic() + frontend.timeouts.body
            if frontend.limits.body and feed.announced > frontend.limits.body:
                raise BodyTooLarge(f"Content-Length {feed.announced}")
        return rest

    def _read_body(self, exchange: Exchange, data: bytes) -> bytes:
        feed = self._feed
        piece, rest = feed.body(data)
        if piece:
            exchange.body(piece)
        if feed.body_expected:
            self._deadline = monotonic() + self._frontend.timeouts.body
        else:
            self._deadline = _NEVER
            exchange.end()
        return rest

    def _keep(self, data: bytes) -> None:
        """Keep what came before its turn, and hold the client when that is enough."""
        self._tail += data
        if len(self._tail) > _TAIL:
            self._pause(_BY_TAIL)

    def _put_off(self, data: bytes) -> None:
        """Keep the rest of what takes long to read, and let others have their turn before it."""
        self._tail = data
        self._pause(_BY_TAIL)
        self._frontend.loop.call_soon(self._read_tail)

    def _read_tail(self) -> None:
        """Go on with what was kept, unless its turn has not come yet."""
        in_body = self._feed.body_expected
        ready = not self._held & _BY_EXCHANGE if in_body else self._exchange is None and not self.slow
        if ready and self._tail and not self._lingering:
            data, self._tail = self._tail, b""
            self._resume(_BY_TAIL)
            self._read(data)
            self._close_if_done()

    def _close_if_done(self) -> None:
        """Close when a client that sends no more has nothing left to be answered."""
        if self._half_closed and self._exchange is None and not self._lingering:
            self.transport.close()

    def eof_received(self) -> bool:
        """The client sends no more; whether it is still to be answered.

        A client that waits for an answer ends its direction by close_notify; one that ends TCP as well has left.
        """
        if self._half_closed:
            return False
        while self._tail and self._feed.body_expected:
            data, self._tail = self._tail, b""
            self._read(data)
        if not self._tail:
            self._resume(_BY_TAIL)
        self._half_closed = True
        return not self._lingering and not self._feed.body_expected and (self._exchange is not None or bool(self._tail))

    # ------------------------------------------------------------------ what the client gets: the Stream

    def interim(self, head: bytes) -> None:
        """Send a 1xx response."""
        self.transport.write(head + b"\r\n")

    def start(
        self, head: bytes, framing: Framing, chunks: Sequence[Piece], *, end: bool, trailers: Sequence[Field] = ()
    ) -> None:
        """Send the head and what there is of the body, in one write."""
        parts: list[Piece] = [head]
        self._chunking = False
        if framing in _UNSIZED:
            # RFC 9112 section 6.1: an HTTP/1.0 client knows no chunks; the end of the connection ends its body.
            if self._http10:
                self._close = True
            else:
                self._chunking = True
                parts.append(b"Transfer-Encoding: chunked\r\n")
        if self._server.draining or (end and self._feed.body_expected):
            self._close = True
        if self._close:
            parts.append(b"Connection: close\r\n")
        elif self._http10:
            parts.append(b"Connection: keep-alive\r\n")
        parts.append(b"\r\n")
        parts += _chunked(chunks, end=end, trailers=trailers) if self._chunking else chunks
        self.transport.write(b"".join(parts))
        if end:
            self._answered()

    def send(self, chunks: Sequence[Piece], *, end: bool, trailers: Sequence[Field] = ()) -> None:
        """Send more of the body, in one write."""
        parts = _chunked(chunks, end=end, trailers=trailers) if self._chunking else chunks
        if parts:
            self.transport.write(parts[0] if len(parts) == 1 else b"".join(parts))
        if end:
            self._answered()

    def switch(self, head: bytes, tunnel: Tunnel) -> None:
        """Send a 101, and leave the connection and what the client has said already to the tunnel."""
        self.transport.write(head + b"\r\n")
        self._exchange = None
        tail, self._tail = self._tail, b""
        self._resume(_BY_EXCHANGE | _BY_TAIL)
        tunnel.client.take(self.transport, slow=self.slow)
        tunnel.open(self._server, tail, half_closed=self._half_closed)
        self._server.ended(self)

    def _answered(self) -> None:
        """Go on after a response: to the next request, or to the end."""
        self._exchange = None
        if self._feed.body_expected or (self._close and self._tail.strip(b"\r\n")):
            self._linger()
        elif self._close or (self._half_closed and not self._tail):
            self.transport.close()
        else:
            timeouts = self._frontend.timeouts
            self._deadline = monotonic() + (timeouts.body if self.slow else timeouts.keepalive)
            if self._held:
                self._resume(_BY_EXCHANGE)
            if self._tail and not self.slow:
                self._frontend.loop.call_soon(self._read_tail)

    def _refuse(self, refusal: Refusal, request: Request | None = None) -> None:
        """Answer what can't be read on, and end the connection so that the client can read the answer."""
        exchange = self._exchange
        if exchange is not None:
            exchange.fail(refusal)
            return
        record = Record(self.client, request)
        record.request_id = self._frontend.journal.next_id()
        fields, body = answer(refusal, record.request_id)
        if request is not None and request.method == "HEAD":
            body = b""
        self._close = True
        head = lines(refusal.status, phrase(refusal.status), fields)
        self.transport.write(b"%bConnection: close\r\n\r\n%b" % (head, body))
        record.sent = len(body)
        self._frontend.journal.ended(record, refusal)
        self._linger()

    def _linger(self) -> None:
        """Send no more, and throw away what still comes until the client has hung up."""
        self._lingering = True
        self._tail = b""
        self._deadline = monotonic() + _LINGER
        self._resume(_BY_EXCHANGE | _BY_TAIL)
        if self._half_closed:
            self.transport.close()
        else:
            self.transport.write_eof()

    def cut(self) -> None:
        """End the connection at once."""
        self._exchange = None
        self.transport.abort()

    # ------------------------------------------------------------------ backpressure

    def hold(self) -> None:
        """Take no more of a body: the app is slow."""
        self._deadline = _NEVER
        self._pause(_BY_EXCHANGE)

    def let(self) -> None:
        """Take more of it."""
        if self._feed.body_expected:
            self._deadline = monotonic() + self._frontend.timeouts.body
            if self._tail:
                self._frontend.loop.call_soon(self._read_tail)
        self._resume(_BY_EXCHANGE)

    def _pause(self, why: int) -> None:
        if not self._held:
            self.transport.pause_reading()
        self._held |= why

    def _resume(self, why: int) -> None:
        if self._held & why:
            self._held &= ~why
            if not self._held:
                self.transport.resume_reading()

    def pause_writing(self) -> None:
        """The client is slow."""
        self.slow = True
        if self._exchange is not None:
            self._exchange.slow()

    def resume_writing(self) -> None:
        """The client is ready again."""
        self.slow = False
        if self._exchange is not None:
            self._exchange.ready()
        elif self._tail:
            self._read_tail()

    # ------------------------------------------------------------------ time

    def sweep(self, now: float) -> None:
        """End what is overdue."""
        exchange = self._exchange
        if exchange is not None and now > exchange.deadline:
            exchange.expired()
        elif now > self._deadline:
            self._overdue()

    def _overdue(self) -> None:
        if self._exchange is not None:
            self._exchange.fail(BodyTimeout())
        elif self._lingering and not self._waited and self.transport.get_write_buffer_size():
            # What was said has not even gone out: the client gets the time of one that does not read.
            self._waited = True
            self._deadline = monotonic() + self._frontend.timeouts.body
        elif self._lingering or self.slow:
            self.transport.abort()
        elif self._feed.in_head:
            self._refuse(HeadTimeout())
        else:
            self.transport.close()


_BY_EXCHANGE, _BY_TAIL = 1, 2
_UNSIZED = frozenset({BY_CHUNKS, BY_CLOSE})


def _chunked(chunks: Sequence[Piece], *, end: bool, trailers: Sequence[Field]) -> list[Piece]:
    """Pieces of a body in chunks (RFC 9112 section 7.1)."""
    parts: list[Piece] = []
    for chunk in chunks:
        parts += b"%x\r\n" % len(chunk), chunk, b"\r\n"
    if end:
        parts.append(b"0\r\n")
        parts.extend(b"%b: %b\r\n" % field for field in trailers)
        parts.append(b"\r\n")
    return parts
