"""One connection to the app: writes a request, has its response read, and is lent again.

It knows nothing of clients. Whoever borrows it (an exchange) is told what the app says, once for each read: a
response's head comes together with what of its body was in the same read, so that the client gets both in one write.
"""

import asyncio
import select
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from tlsproxy.proxy.app_reads import buffer, last_words, view
from tlsproxy.proxy.heads import NO_BODY, Field, Piece, Response
from tlsproxy.proxy.refusals import AppFault, AppInvalid, AppReset, AppTruncated
from tlsproxy.proxy.response_reader import BODY, DONE, ResponseReader
from tlsproxy.proxy.tunnel import AppEnd


class Borrower(Protocol):
    """Who uses a connection for one request, and is told what the app says to it."""

    def interim(self, response: Response) -> None:
        """A 1xx response has come."""

    def respond(self, response: Response, chunks: Sequence[Piece], *, end: bool, trailers: Sequence[Field]) -> None:
        """The head has come, with the pieces of body that came in the same read; `end`: the response is whole."""

    def relay(self, chunks: Sequence[Piece], *, end: bool, trailers: Sequence[Field]) -> None:
        """More of the body has come."""

    def lost(self, fault: AppFault, *, heard: bool) -> None:
        """The response will not be completed, the connection is gone; `heard`: some of the response had come."""

    def app_slow(self) -> None:
        """The app takes no more of the request for now."""

    def app_ready(self) -> None:
        """The app takes more again."""


class Owner(Protocol):
    """Where connections go back to: the pool."""

    def returned(self, upstream: "Upstream") -> None:
        """It may be lent again."""

    def ended(self, upstream: "Upstream") -> None:
        """It is no more, or will carry no further request; may be told more than once."""


class Upstream(asyncio.BufferedProtocol):
    """A connection to the app.

    A borrower calls `begin`, then `write` as often as it likes, and is told the rest. It ends with `release` after a
    whole response or with `drop` at any time, and owes nothing afterwards; after `lost` it owes nothing either.
    """

    __slots__ = (
        "_borrower",
        "_early",
        "_holding",
        "_owner",
        "_reader",
        "_told",
        "_transport",
        "_writing_paused",
        "ended_early",
        "idle_since",
        "write",
    )

    write: Callable[[bytes], None]
    """Sends bytes of the request; the borrower stops when it is told `app_slow`."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._borrower: Borrower | None = None
        self._reader = ResponseReader()
        self._told = False
        self._holding = False
        self._writing_paused = False
        self._early = b""
        """What the app has said before anybody had it."""
        self.ended_early = False
        """Whether it has ended its direction before anybody had it."""
        self.idle_since = 0.0
        """0 until it has been idle."""

    def __repr__(self) -> str:
        state = "idle" if self._borrower is None else "lent"
        return f"<Upstream {state}{', held' if self._holding else ''}{', slow' if self._writing_paused else ''}>"

    # ------------------------------------------------------------------ what its borrower does

    def begin(self, borrower: Borrower, *, for_head: bool, offered: bytes = b"") -> None:
        """Take the connection for one request; `for_head`: a HEAD; `offered`: the protocols of its Upgrade."""
        self._borrower = borrower
        self._told = False
        self._reader.begin(for_head=for_head, offered=offered)
        if self._early:
            # Reading stays paused until that has been heard, unless the borrower holds it for longer.
            self._holding = False
            asyncio.get_running_loop().call_soon(self._hear_early)
        elif self.ended_early:
            self._transport.close()

    def hold(self) -> None:
        """Read no more of the response for now: the client is slow."""
        if not self._holding and not self._transport.is_closing():
            self._holding = True
            self._transport.pause_reading()

    def let(self) -> None:
        """Read on."""
        if self._holding:
            self._holding = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def release(self) -> None:
        """Give the connection back after a whole response; one that can't be lent again is closed."""
        self._borrower = None
        reader = self._reader
        if not reader.reusable or self._writing_paused:
            self.close()
            return
        if reader.response is not None and reader.response.framing == NO_BODY:
            reader.forget()
        if self._holding:
            self.let()
        self._owner.returned(self)

    def drop(self) -> None:
        """Cut the connection: the app's work on this request ends at once."""
        self._borrower = None
        self._owner.ended(self)
        self._transport.abort()

    def switch(self, end: AppEnd) -> bytes:
        """Leave the connection to a tunnel; returns what the app has said already in the tunnel's protocol."""
        self._borrower = None
        rest = self._early or self._reader.rest
        self._reader.forget()
        self._owner.ended(self)
        self.let()
        end.take(self._transport, slow=self._writing_paused)
        return rest

    # ------------------------------------------------------------------ what its owner does

    def unclaimed(self, now: float) -> None:
        """Be idle before anybody had it; what an app has said to nobody can't be anybody's answer."""
        self.idle_since = now
        if self._early or self.ended_early:
            self.close()

    @property
    def is_closing(self) -> bool:
        """Whether it has been closed, from either side."""
        return self._transport.is_closing()

    def is_quiet(self) -> bool:
        """Whether an idle connection is open and silent as the kernel knows it, whose news may not have reached us."""
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Close the connection once what was written has gone out."""
        self._owner.ended(self)
        self._transport.close()

    # ------------------------------------------------------------------ what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self.write = self._transport.write

    def get_buffer(self, sizehint: int) -> bytearray:
        """Where to read to."""
        return buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Read on."""
        borrower = self._borrower
        if borrower is None:
            self._unasked(nbytes)
            return
        try:
            self._reader.feed(view[:nbytes])
        except AppInvalid as fault:
            self.drop()
            borrower.lost(fault, heard=True)
        else:
            self._tell(borrower)

    def _unasked(self, nbytes: int) -> None:
        """Keep what an app says first for whoever the connection was opened for.

        Bytes on an idle connection end it: they would be taken for the answer to the next request.
        """
        if not self.idle_since and not self._reader.heard:
            self._early += bytes(view[:nbytes])
            self.hold()
        else:
            self._owner.ended(self)
            self._transport.abort()

    def _hear_early(self) -> None:
        """Read what the app has said too early, and go on."""
        early, self._early = self._early, b""
        if self._borrower is not None:
            if not self._holding:
                self._transport.resume_reading()
            view[: len(early)] = early
            self.buffer_updated(len(early))

    def eof_received(self) -> bool:
        """The app sends no more; what ends a body that has no other end."""
        borrower = self._borrower
        if borrower is not None and self._reader.part == BODY and self._reader.end():
            self._tell(borrower)
        self.ended_early = borrower is None and not self.idle_since and not self._reader.heard
        return self.ended_early

    def connection_lost(self, exc: Exception | None) -> None:
        """The end; a borrower is told."""
        try:
            if exc is not None and self._borrower is not None:
                self._hear_last_words(exc)
        finally:
            # Where memory has run out: its place in the pool is free again.
            self._end(exc)

    def _end(self, exc: Exception | None) -> None:
        self._reader.forget()
        borrower, self._borrower = self._borrower, None
        self._owner.ended(self)
        if borrower is not None:
            detail = f"the app reset the connection: {exc}" if exc else "the app closed the connection"
            fault = AppTruncated(detail) if self._told else AppReset(detail)
            borrower.lost(fault, heard=self._reader.heard)

    def pause_writing(self) -> None:
        """The app is slow."""
        self._writing_paused = True
        if self._borrower is not None:
            self._borrower.app_slow()

    def resume_writing(self) -> None:
        """The app is ready again."""
        self._writing_paused = False
        if self._borrower is not None:
            self._borrower.app_ready()

    # ------------------------------------------------------------------ what was read

    def _tell(self, borrower: Borrower) -> None:
        """Hand on what has been read since the last time."""
        reader = self._reader
        if reader.interims:
            interims, reader.interims = reader.interims, []
            for response in interims:
                borrower.interim(response)
        if reader.response is None or self._borrower is not borrower:
            return
        chunks, reader.chunks = reader.chunks, []
        end = reader.part == DONE
        if not self._told:
            self._told = True
            borrower.respond(reader.response, chunks, end=end, trailers=reader.trailers)
        elif chunks or end:
            borrower.relay(chunks, end=end, trailers=reader.trailers)

    def _hear_last_words(self, exc: Exception) -> None:
        """Read what the app said before it hung up; after a failure the end of the stream is not the end of a body."""
        for size in last_words(self._transport):
            if not size:
                return
            self.buffer_updated(size)
            if self._borrower is None:
                break
        heir = self._transport.get_protocol()
        if heir is not self:
            # It has said 101 and gone.
            heir.connection_lost(exc)
