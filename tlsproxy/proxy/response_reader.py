"""Responses from the app's bytes: httptools' parser (llhttp), read strictly first and leniently only where that fails.

Does no I/O and knows neither connections nor clients; what comes in a feed is gathered for the owner to take.

A head that has come before, byte for byte, is not parsed again: within a second, which is what Date tells, a busy app
says the same heads again and again. One that is known costs 1 us, not 5; looking for one that is not costs 0.4. A body
with a length is counted, not parsed, and handed on as it lies.
"""

import re
from typing import Final, Literal

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from tlsproxy.proxy.head_mending import WHOLE_HEAD, mended
from tlsproxy.proxy.heads import (
    BY_CHUNKS,
    BY_CLOSE,
    BY_LENGTH,
    LENGTH,
    NO_BODY,
    SET_COOKIE,
    UPGRADE,
    Field,
    Piece,
    Response,
    from_app,
    passes_as_trailer,
)
from tlsproxy.proxy.refusals import AppInvalid

# An end of line inside a value: a fold (RFC 9112 section 5.2), or what would be one more line to another reader.
_FOLD = re.compile(rb"[\r\n]+[ \t]*")

# A head that can't become one, however it goes on.
_HOPELESS = re.compile(rb"(?!HTTP/)(?!H?T{0,2}P?/?\Z)|.*?\r[^\n]", re.DOTALL)

# Heads of whole answers that were read strictly, whose length they tell and behind which the connection goes on.
_known: dict[bytes, Response] = {}
_KNOWN = 512
# Bytes of a head that is kept, its empty line included.
_KNOWN_LENGTH = 1024
_END = b"\r\n\r\n"

# What else it may be: an alert of TLS (RFC 8446 section 5.1), SETTINGS (RFC 9113 section 6.5).
_OTHER = re.compile(rb"(?P<tls>\x15\x03)|(?P<h2>\0\0.\x04\0\0\0\0\0)|(?!HTTP/)", re.DOTALL)
_SPOKEN = {
    "tls": "the app speaks TLS itself, and plain HTTP is wanted",
    "h2": "the app speaks HTTP/2 alone, and HTTP/1.1 is wanted",
    None: "what the app says is not HTTP/1.1",
}

# For what can't be read again: Apache 1.3 pads the last sizes of a body, when the first chunks have long been handed
# on, and an interim response that asks to close is none the less followed by the final one.
_ALWAYS = {"lenient_spaces_after_chunk_size": True, "lenient_data_after_close": True, "lenient_keep_alive": True}

# The colon, the blank and the end of line of a field.
_AROUND = 4

# Where in a response a reader stands.
Part = Literal[0, 1, 2]
HEAD: Final = 0
BODY: Final = 1
DONE: Final = 2


class ResponseReader:
    """Reads one response after the other from the bytes of a connection; does no I/O.

    After each `feed` its attributes tell what has come since: the owner takes `chunks` and `interims` and empties them,
    before what was fed is written over.

    Old apps end lines with a bare LF, fold fields and say a length twice. Reading so all the time would cost each
    request 2 us, so a head that the strict reading refuses is read once more, leniently; what could split the response
    is made harmless, and its connection is not used again.
    """

    __slots__ = (
        "_fault",
        "_fields",
        "_for_head",
        "_head_size",
        "_kept",
        "_lenient",
        "_new",
        "_offered",
        "_parser",
        "_reason",
        "_remaining",
        "chunks",
        "interims",
        "part",
        "response",
        "rest",
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
        self.rest = b""
        """What came behind a 101, in the new protocol."""
        self.begin(for_head=False)

    def begin(self, *, for_head: bool, offered: bytes = b"") -> None:
        """Expect a response; `for_head`: to a HEAD request; `offered`: the protocols of the request's Upgrade."""
        self._for_head = for_head
        self._offered = offered
        self._lenient = False
        self._new = b""
        """The head that is being read, if it may become known."""
        self._remaining = 0
        """Bytes that are left of a body with a length."""
        self._head_size = 0
        self._kept: tuple[bytes, ...] | None = ()
        """What was read of a head that is not whole; None once the response was handed on."""
        self.part: Part = HEAD
        self.response: Response | None = None
        self.chunks: list[Piece] = []
        self.trailers: list[Field] = []

    def _strict(self) -> HttpResponseParser:
        parser = HttpResponseParser(self)
        parser.set_dangerous_leniencies(**_ALWAYS)
        return parser

    def feed(self, data: memoryview) -> None:
        """Read on.

        Raises:
            AppInvalid: this is no HTTP response, or one whose framing is ambiguous.
        """
        if self._remaining:
            data = self._count(data)
        elif self.part == HEAD:
            if not self._head_size and not self._for_head:
                data = self._recognise(data)
            self._head_size += len(data)
        if not data:
            return
        # Not before: it is in a cycle with us, which nobody breaks on a connection that never came about.
        self._parser = self._parser or self._strict()
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self.rest = bytes(data[upgrade.args[0] :])
        except HttpParserError as error:
            self._stumble(error, data)
        if self.part == HEAD:
            self._new = b""
            self._keep(data)
        elif self._kept is not None:
            self._kept = None
            if self._new:
                self._remember()
            if self.part == BODY and self.response is not None and self.response.framing == BY_LENGTH:
                # What is left of it is counted, and the parser, which is in the midst of it, let go: nothing is copied.
                self._remaining = self.response.length - sum(map(len, self.chunks))
                self._parser = None

    def _recognise(self, data: memoryview) -> memoryview:
        """Read a response whose head is known; returns what was not read: all, where it is not."""
        begin = bytes(data[:_KNOWN_LENGTH])
        end = begin.find(_END) + len(_END)
        if end < len(_END):
            return data
        head = begin[:end]
        response = _known.get(head)
        if response is None:
            self._new = head
            return data
        self._head_size = end
        self._kept = None
        self.response = response
        self._remaining = response.length
        self.part = BODY
        return self._count(data[end:])

    def _count(self, data: memoryview) -> memoryview:
        """Take what is the body's, which has a length; returns what lies behind it."""
        size, remaining = len(data), self._remaining
        if size < remaining:
            self._remaining = remaining - size
            if size:
                self.chunks.append(data)
            return data[size:]
        if remaining:
            self.chunks.append(data[:remaining])
        self._remaining = 0
        self.part = DONE
        return data[remaining:]

    def _remember(self) -> None:
        """Know the head that was read, if all that it means stands in it."""
        response, head, self._new = self.response, self._new, b""
        if response is None or self.interims or not head.startswith(b"HTTP/"):
            return
        # One that sets a cookie is one client's, and its secret; one that changes the protocol is never over.
        noted = response.noted
        if not response.reusable or response.framing == BY_CHUNKS or SET_COOKIE in noted or UPGRADE in noted:
            return
        if len(_known) >= _KNOWN:
            _known.clear()
        _known[head] = response

    def _keep(self, data: memoryview) -> None:
        """Keep a part of a head, should it have to be read again."""
        if self._head_size > self.MAX_HEAD:
            raise self._too_large()
        self._kept = (*(self._kept or ()), bytes(data))
        if self.interims:
            # They are handed on, and what lies behind them has no empty line yet.
            self._kept = (b"".join(self._kept).rpartition(b"\r\n\r\n")[2],)

    def _too_large(self) -> AppInvalid:
        return AppInvalid(f"a response whose fields take more than {self.MAX_HEAD} bytes")

    def _stumble(self, error: HttpParserError, data: memoryview) -> None:
        """Go on after what the strict reading refuses, where that is harmless."""
        if self.part == DONE:
            self.surplus = True
            return
        if self._kept is None or self._lenient:
            raise self._fault or AppInvalid(str(error)) from error
        whole = b"".join((*self._kept, data)).lstrip(b"\r\n")
        if _HOPELESS.match(whole) and (other := _OTHER.match(whole)):
            raise AppInvalid(_SPOKEN[other.lastgroup]) from error
        if WHOLE_HEAD.match(whole) or _HOPELESS.match(whole):
            self._read_again(whole)

    def _read_again(self, data: bytes) -> None:
        """Read from the first byte on that was not handed on, leniently."""
        self.begin(for_head=self._for_head, offered=self._offered)
        self._fault = None
        self.interims.clear()
        self._lenient = True
        self._head_size = len(data)
        self._parser = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_version=True, lenient_optional_cr_before_lf=True, **_ALWAYS
        )
        data = mended(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self.rest = data[upgrade.args[0] :]
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
            # A tab stays: to llhttp `chunked` before one is another coding.
            self._fields.append((name, value.rstrip(b" ")))
        elif self.part == BODY:
            self._head_size += len(name) + len(value) + _AROUND
            if self._head_size > self.MAX_HEAD:
                self._fault = self._too_large()
                raise self._fault
            if passes_as_trailer(name):
                self.trailers.append((name, value.rstrip(b" \t")))

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
            response = from_app(
                status,
                self._reason,
                self._fields,
                parser.get_http_version(),
                for_head=self._for_head,
                offered=self._offered,
            )
        except AppInvalid as fault:
            self._fault = fault
            raise
        if status < 200:
            self._note_interim(response, ends=not parser.should_keep_alive())
            return
        if self._lenient:
            # Chunks are read strictly, whether they came with the head or later.
            parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=False)
        self.response = response
        self.part = DONE if response.framing == NO_BODY else BODY

    def _note_interim(self, response: Response, *, ends: bool) -> None:
        """Take an interim response; `ends`: by what it says, the connection ends with it."""
        if ends and LENGTH in response.noted:
            # llhttp does not forget that length then, and reads the final one's digits behind it: a body without end.
            self._fault = AppInvalid("an interim response with a length that ends the connection")
            raise self._fault
        self.interims.append(response)

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
