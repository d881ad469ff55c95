"""One connection to the app: writes a request, reads its response with httptools' llhttp, and is lent again.

It knows nothing of clients. Whoever borrows it (an exchange) is told what the app says, once for each read: a
response's head comes together with what of its body was in the same read, so that the client gets both in one write.
"""

import asyncio
import os
import re
import select
from collections.abc import Sequence
from typing import Final, Literal, Protocol, cast

from httptools import HttpParserError, HttpResponseParser

from tlsproxy.proxy.heads import BY_CLOSE, NO_BODY, Field, Response, from_app, passes_as_trailer
from tlsproxy.proxy.refusals import AppFault, AppInvalid, AppReset, AppTruncated

# All connections read into one buffer: what is read is parsed and copied before the loop reads again. uvloop's own
# reads of 256 KiB starve calm clients beside slow readers: their p99 was 193 ms with them and 11 ms with these.
_READ_SIZE = 64 * 1024
_buffer = bytearray(_READ_SIZE)
_view = memoryview(_buffer)
# What is read of a connection whose writes fail: an app that answers early rarely says more than a head and a page.
_LAST_WORDS = 16 * _READ_SIZE


# An end of line inside a value: a fold (RFC 9112 section 5.2), or what would be one more line to another reader.
_FOLD = re.compile(rb"[\r\n]+[ \t]*")


# Where in a response a reader stands.
Part = Literal[0, 1, 2]
HEAD: Final = 0
BODY: Final = 1
DONE: Final = 2


class ResponseReader:
    """Reads one response after the other from the bytes of a connection; does no I/O.

    After each `feed` its attributes tell what has come since: the owner takes `chunks` and `interims` and empties them.

    Old apps end lines with a bare LF, fold fields and put spaces behind chunk sizes. Reading so all the time would
    cost each request 2 us, so what the strict reading refuses before anything of it was handed on is read once more,
    leniently; what could split the response is made harmless, and its connection is not used again.
    """

    __slots__ = (
        "_fault",
        "_fields",
        "_for_head",
        "_head_size",
        "_kept",
        "_lenient",
        "_parser",
        "_reason",
        "chunks",
        "interims",
        "part",
        "response",
        "surplus",
        "trailers",
    )

    # curl and Go's client take 10 MiB, nginx 4 or 8 KiB ("upstream sent too big header"): room for any real app.
    MAX_HEAD = 256 * 1024

    def __init__(self) -> None:
        self._parser: HttpResponseParser | None = None
        self._fault: AppInvalid | None = None
        self._fields: list[Field] = []
        self._reason = b""
        self.interims: list[Response] = []
        self.surplus = False
        """Whether bytes came that belong to no response that was asked for."""
        self.begin(for_head=False)

    def begin(self, *, for_head: bool) -> None:
        """Expect a response; `for_head`: to a HEAD request."""
        if self._parser is None:
            self._parser = HttpResponseParser(self)
        self._for_head = for_head
        self._lenient = False
        self._head_size = 0
        self._kept: tuple[bytes, ...] | None = ()
        """What was read of a head that is not whole; None once something was handed on."""
        self.part: Part = HEAD
        self.response: Response | None = None
        self.chunks: list[bytes] = []
        self.trailers: tuple[Field, ...] = ()

    def feed(self, data: memoryview) -> None:
        """Read on.

        Raises:
            AppInvalid: this is no HTTP response, or one whose framing is ambiguous.
        """
        assert self._parser is not None
        if self.part == HEAD:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._stumble(error, data)
        if self.part == HEAD:
            self._keep(data)
        else:
            self._kept = None

    def _keep(self, data: memoryview) -> None:
        """Keep a part of a head, should it have to be read again."""
        if self._head_size > self.MAX_HEAD:
            raise AppInvalid(f"a response head of more than {self.MAX_HEAD} bytes")
        if self.interims:
            self._kept = None
        elif self._kept is not None:
            self._kept = (*self._kept, bytes(data))

    def _stumble(self, error: HttpParserError, data: memoryview) -> None:
        """Go on after what the strict reading refuses, where that is harmless."""
        if self.part == DONE:
            self.surplus = True
            return
        if self._kept is None or self._lenient:
            raise self._fault or AppInvalid(str(error)) from error
        whole = b"".join((*self._kept, data))
        if _HEAD.match(whole) or not whole.startswith(b"HTTP/1."):
            self._read_again(whole)

    def _read_again(self, data: bytes) -> None:
        """Read from the response's first byte on, leniently."""
        self.begin(for_head=self._for_head)
        self._fault = None
        self.interims.clear()
        self._lenient = True
        self._head_size = len(data)
        self._parser = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        try:
            self._parser.feed_data(_with_one_length(data))
        except HttpParserError as error:
            self._stumble(error, memoryview(b""))

    def end(self) -> bool:
        """Take note that the connection has ended; whether that makes the response whole."""
        if self.part == BODY and self.response is not None and self.response.framing == BY_CLOSE:
            self.part = DONE
        return self.part == DONE

    @property
    def heard(self) -> bool:
        """Whether anything of the response has come."""
        return self._head_size > 0

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another request."""
        return self.response is not None and self.response.reusable and not self.surplus and not self._lenient

    def forget(self) -> None:
        """Let go of the parser, which waits for a body that a HEAD's answer announces, or is in a cycle with us."""
        self._parser = None

    # ------------------------------------------------------------------ called by llhttp, in the order of a message

    def on_message_begin(self) -> None:
        """A message begins; one that nobody asked for is surplus."""
        if self.part == DONE:
            self.surplus = True
        self._fields = []
        self._reason = b""

    def on_status(self, reason: bytes) -> None:
        """A piece of the reason phrase."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or of the trailer section."""
        if self._lenient:
            value = self._harmless(value)
        if self.part == HEAD:
            self._fields.append((name, value.rstrip(b" \t")))
        elif self.part == BODY and passes_as_trailer(name):
            self.trailers += ((name, value.rstrip(b" \t")),)

    def _harmless(self, value: bytes) -> bytes:
        """A value that is one line to every reader."""
        if b"\0" in value:
            self._fault = AppInvalid("a NUL in a field")
            raise self._fault
        return _FOLD.sub(b" ", value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        parser = self._parser
        if self.part != HEAD or parser is None:
            return
        status = parser.get_status_code()
        try:
            response = from_app(status, self._reason, self._fields, parser.get_http_version(), for_head=self._for_head)
        except AppInvalid as fault:
            self._fault = fault
            raise
        if status < 200:
            self.interims.append(response)
            return
        self.response = response
        self.part = DONE if response.framing == NO_BODY else BODY

    def on_body(self, chunk: bytes) -> None:
        """A piece of the body, without its framing."""
        if self.part == BODY:
            self.chunks.append(chunk)
        else:
            self.surplus = True

    def on_message_complete(self) -> None:
        """The message is whole."""
        if self.part == BODY:
            self.part = DONE


def _with_one_length(data: bytes) -> bytes:
    """The data with one Content-Length line in its head where equal ones are repeated, which llhttp never allows."""
    head = _HEAD.match(data)
    lines = list(_LENGTH.finditer(data, 0, head.end() if head else 0))
    if len({line[1] for line in lines}) != 1:
        return data
    for line in reversed(lines[1:]):
        data = data[: line.start()] + data[line.end() :]
    return data


_HEAD = re.compile(rb".*?\n\r?\n", re.DOTALL)
_LENGTH = re.compile(rb"^content-length:[ \t]*([0-9]+)[ \t]*\r?\n", re.IGNORECASE | re.MULTILINE)


class Borrower(Protocol):
    """Who uses a connection for one request, and is told what the app says to it."""

    def interim(self, response: Response) -> None:
        """A 1xx response has come."""

    def respond(self, response: Response, chunks: Sequence[bytes], *, end: bool, trailers: Sequence[Field]) -> None:
        """The head has come, with the pieces of body that came in the same read; `end`: the response is whole."""

    def relay(self, chunks: Sequence[bytes], *, end: bool, trailers: Sequence[Field]) -> None:
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
        "_holding",
        "_owner",
        "_reader",
        "_told",
        "_transport",
        "_writing_paused",
        "idle_since",
    )

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._borrower: Borrower | None = None
        self._reader = ResponseReader()
        self._told = False
        self._holding = False
        self._writing_paused = False
        self.idle_since = 0.0

    def __repr__(self) -> str:
        state = "idle" if self._borrower is None else "lent"
        return f"<Upstream {state}{', held' if self._holding else ''}{', slow' if self._writing_paused else ''}>"

    # ------------------------------------------------------------------ what its borrower does

    def begin(self, borrower: Borrower, *, for_head: bool) -> None:
        """Take the connection for one request; `for_head`: a HEAD."""
        self._borrower = borrower
        self._told = False
        self._reader.begin(for_head=for_head)

    def write(self, data: bytes) -> None:
        """Send bytes of the request; the borrower stops when it is told `app_slow`."""
        self._transport.write(data)

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

    # ------------------------------------------------------------------ what its owner does

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

    def get_buffer(self, sizehint: int) -> bytearray:
        """Where to read to."""
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Read on."""
        borrower = self._borrower
        if borrower is None:
            # Nobody asked: bytes on an idle connection would be taken for the answer to the next request.
            self._owner.ended(self)
            self._transport.abort()
            return
        try:
            self._reader.feed(_view[:nbytes])
        except AppInvalid as fault:
            self.drop()
            borrower.lost(fault, heard=True)
        else:
            self._tell(borrower)

    def eof_received(self) -> bool:
        """The app sends no more; what ends a body that has no other end."""
        borrower = self._borrower
        if borrower is not None and self._reader.part == BODY and self._reader.end():
            self._tell(borrower)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The end; a borrower is told."""
        if exc is not None and self._borrower is not None:
            self._hear_last_words()
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

    def _hear_last_words(self) -> None:
        """Read what the app said before it hung up on a request's body.

        A failed write makes the loop end the connection without reading, though the answer (413, say) lies in the
        socket; its descriptor is still open here.
        """
        try:
            descriptor = self._transport.get_extra_info("socket").fileno()
            left = _LAST_WORDS
            while left > 0 and self._borrower is not None:
                size = os.readv(descriptor, [_buffer])
                if not size:
                    # After a failure the end of the stream is not the end of a body.
                    return
                left -= size
                self.buffer_updated(size)
        except OSError:
            return
