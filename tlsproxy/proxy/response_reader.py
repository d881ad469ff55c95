"""Responses from the app's bytes: httptools' parser (llhttp), read strictly first and leniently only where that fails.

Does no I/O and knows neither connections nor clients; what comes in a feed is gathered for the owner to take.
"""

import re
from typing import Final, Literal

from httptools import HttpParserError, HttpResponseParser

from tlsproxy.proxy.heads import BY_CLOSE, NO_BODY, Field, Response, from_app, passes_as_trailer
from tlsproxy.proxy.refusals import AppInvalid

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
