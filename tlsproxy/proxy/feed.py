"""Requests from a client's bytes: aiohttp's request parser (llhttp), which alone decides what a request is.

Input is cut where a message ends before the parser sees it, so that it never holds more than one message:

- a head ends at the first CRLF CRLF, a chunked body where its chunks do; bodies with a length are counted, not parsed;
- a message that leaves the parser in a state of its own (chunked, Upgrade) is followed by a fresh parser (0.3 us);
- a head that differs from one before, on the same connection, in nothing but its target is not parsed again, if the
  target is a path of RFC 3986's characters and the head before had no body. A client repeats its fields with every
  request: a browser's head costs 1 us then, not 13.

So a trailer never turns up among the next request's fields, nothing behind an upgrade vanishes, and a good request
before garbage is answered.

Used of aiohttp beyond its documented surface: `aiohttp.http.HttpRequestParser` as built in C, its keyword arguments,
`feed_data` returning (messages, upgraded, tail), `aiohttp.streams.EMPTY_PAYLOAD`, and a payload's `read_nowait` and
`is_eof`. tests/proxy/test_feed.py says what broke when one of these changes.
"""

import asyncio
import re

from aiohttp import http_parser
from aiohttp.http import HttpRequestParser, RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from tlsproxy.proxy.limits import LENGTH_DIGITS, Limits
from tlsproxy.proxy.refusals import BadRequest, BodyTooLarge, FieldsTooLarge, Refusal, TargetTooLong
from tlsproxy.proxy.request import Request

_END = b"\r\n\r\n"
_EMPTY_LINES = re.compile(rb"(?:\r?\n)*")
# What follows method, space and target. The parser accepts besides: HTTP/0.9 and 2.0, other protocols' names (RTSP/1.0,
# ICE/1.0), several spaces, a CR before the method.
_VERSION = b" HTTP/1."
# nginx and Envoy allow about a thousand; the head's size bounds them anyway.
_MAX_FIELDS = 1000
_NO_LINE = "a request line other than METHOD TARGET HTTP/1.1, or 1.0, with one space between"
# Bytes of a head whose fields are kept for comparison: a browser's with its cookies. It stays with an idle connection.
_REMEMBERED = 4 * 1024
# A path and query of which no parser thinks otherwise than another (RFC 3986 section 3.3).
_PLAIN_PATH = re.compile(rb"/[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*")
# Where a payload would pause its protocol: above anything that one read brings.
_PAYLOAD_LIMIT = 1024 * 1024


def check_parser() -> None:
    """Make sure that the parser in C is there.

    Raises:
        RuntimeError: aiohttp was built without it; its Python twin reads some requests otherwise.
    """
    if HttpRequestParser is http_parser.HttpRequestParserPy:
        raise RuntimeError("aiohttp lacks its parser in C: install a wheel of aiohttp for this platform")


class _Unpaused:
    """What a payload would pause when it fills: never, because it is emptied after each feed."""

    _reading_paused = False

    def pause_reading(self) -> None:
        """Flow control is the transport's."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Flow control is the transport's."""


_unpaused = _Unpaused()


class Feed:
    """Reads the requests of one connection, a head and then its body, again and again.

    `head` until it gives a request, then `body` until it is done if `body_expected`; each returns what it has not used.
    """

    __slots__ = (
        "_begin",
        "_chunks",
        "_fields",
        "_limits",
        "_line",
        "_lined",
        "_loop",
        "_parser",
        "_payload",
        "_remaining",
        "_request",
        "_seam",
        "_taken",
        "body_expected",
        "in_head",
    )

    def __init__(self, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        self._limits = limits
        self._loop = loop
        self._parser = self._fresh()
        self._request: Request | None = None
        """One before, which may come again with another path; None: there is none."""
        self._begin = b""
        """Its method, and the space behind that."""
        self._fields = b""
        """All of it behind its target, as it came."""
        self._payload: StreamReader | None = None
        self._remaining = 0
        """Bytes left of a body with a length."""
        self._taken = 0
        """Bytes of this head, or of this chunked body, so far."""
        self._line = b""
        """The request line of a head that is not whole, as far as it has come."""
        self._lined = False
        """Whether it is whole."""
        self._seam = b""
        """The last three bytes of the read before, where an end may have begun; between requests an empty line's CR."""
        self.in_head = False
        """Whether a head has begun and not ended."""
        self.body_expected = False

    def _fresh(self) -> HttpRequestParser:
        return HttpRequestParser(
            _unpaused,  # type: ignore[arg-type]  # typed as aiohttp's own protocol; only the two methods are used
            self._loop,
            _PAYLOAD_LIMIT,
            max_line_size=self._limits.head,
            max_field_size=self._limits.head,
            max_headers=_MAX_FIELDS,
            auto_decompress=False,
        )

    @property
    def announced(self) -> int:
        """Bytes of a body with a length that are still to come; 0 for one in chunks."""
        return self._remaining

    # ------------------------------------------------------------------ heads

    def head(self, data: bytes) -> tuple[Request | None, bytes]:
        """Read on in a head.

        Returns:
            The request when its head is whole, else None, good until the next call; and the bytes behind what was used.

        Raises:
            Refusal: it is none, or too large; the connection can't be read on.
        """
        if self._request is not None and data.endswith(self._fields) and self._repeats(data):
            return self._request, b""
        if not self.in_head and data[0] in b"\r\n":
            data = self._past_empty_lines(data)
            if not data:
                return None, b""
        piece, rest = self._cut(data)
        self._taken += len(piece)
        if self._taken > self._limits.head:
            raise self._too_large(piece)
        self.in_head = True
        try:
            messages, _, _ = self._parser.feed_data(piece)
        except HttpProcessingError as error:
            raise _refusal(error) from error
        if not messages:
            if not self._lined:
                self._begin_line(piece)
            return None, rest
        message, payload = messages[0]
        whole = not self._line
        if not whole:
            piece = self._line + piece
            self._line = b""
            self._lined = False
        # The parser gives no target for a CONNECT without one.
        if not piece.startswith(_VERSION, len(message.method) + len(message.path or "") + 1):
            raise BadRequest(_NO_LINE)
        self._taken = 0
        self.in_head = False
        request = Request(message)
        if payload is not EMPTY_PAYLOAD or message.upgrade:
            self._expect_body(message, payload)
        elif whole and len(piece) <= _REMEMBERED and not message.should_close:
            self._request, self._begin = request, piece[: piece.find(b" ") + 1]
            self._fields = piece[piece.find(_VERSION) :]
        return request, rest

    def _repeats(self, data: bytes) -> bool:
        """Whether the data, whose end is the request before's, is that one again with another path, then its own."""
        begin, end = self._begin, len(data) - len(self._fields)
        path = _PLAIN_PATH.fullmatch(data, len(begin), end)
        if path is None or not data.startswith(begin) or self._seam or len(data) > self._limits.head:
            return False
        assert self._request is not None
        self._request.path = path[0].decode()
        return True

    def _past_empty_lines(self, data: bytes) -> bytes:
        """What comes behind empty lines, which are none of a request (RFC 9112 section 2.2)."""
        data = _EMPTY_LINES.sub(b"", self._seam + data, count=1)
        self._seam = b""
        if data == b"\r":
            self._seam, data = data, b""
        return data

    def _begin_line(self, piece: bytes) -> None:
        """Keep a request line until its head is whole, but refuse another version's at once: more may never come."""
        self._line += piece
        self._lined = b"\n" in piece
        if self._lined and _VERSION not in self._line:
            raise BadRequest(_NO_LINE)

    def _expect_body(self, message: RawRequestMessage, payload: StreamReader) -> None:
        if message.chunked:
            self.body_expected = True
            self._payload = payload
            self._chunks = _Chunks(self._limits.head)
        elif payload is not EMPTY_PAYLOAD and message.method != "CONNECT":
            self.body_expected = True
            length = message.headers["Content-Length"]
            if len(length) > LENGTH_DIGITS:
                raise BadRequest(f"a Content-Length of more than {LENGTH_DIGITS} digits")
            self._remaining = int(length)
        elif message.upgrade:
            self._parser = self._fresh()

    def _cut(self, data: bytes) -> tuple[bytes, bytes]:
        """The data up to the first end of a message, which may have begun in the read before, and the rest."""
        seam = self._seam
        if seam:
            if not self.in_head:
                raise BadRequest("a CR alone before a request")
            at = (seam + data[:3]).find(_END)
            end = at + 4 - len(seam) if at >= 0 else 0
        else:
            end = 0
        if not end:
            at = data.find(_END)
            end = at + 4 if at >= 0 else 0
        if end:
            self._seam = b""
            return (data, b"") if end == len(data) else (data[:end], data[end:])
        self._seam = (seam + data)[-3:] if len(data) < 3 else data[-3:]
        return data, b""

    def _too_large(self, piece: bytes) -> Refusal:
        detail = f"more than {self._limits.head} bytes"
        allowed = piece[: self._limits.head - (self._taken - len(piece))]
        lined = self._lined or b"\n" in allowed
        return FieldsTooLarge(detail) if lined else TargetTooLong(detail)

    # ------------------------------------------------------------------ bodies

    def body(self, data: bytes) -> tuple[bytes, bytes]:
        """Read on in a body; it has ended when `body_expected` turns false.

        Returns:
            A piece of the body, without its framing, perhaps empty; and the bytes behind what was used, which are the
            body's too, and to be read in a while, when it has not ended.

        Raises:
            Refusal: its chunks are none, or it is too large.
        """
        return self._counted(data) if self._payload is None else self._chunked(data, self._payload)

    def _counted(self, data: bytes) -> tuple[bytes, bytes]:
        remaining = self._remaining
        size = len(data)
        if size < remaining:
            self._remaining = remaining - size
            return data, b""
        self._end_body()
        return (data, b"") if size == remaining else (data[:remaining], data[remaining:])

    def _chunked(self, data: bytes, payload: StreamReader) -> tuple[bytes, bytes]:
        end = self._chunks.end(data)
        piece, rest = (data, b"") if end == len(data) else (data[:end], data[end:])
        try:
            self._parser.feed_data(piece)
        except HttpProcessingError as error:
            raise _refusal(error) from error
        body = payload.read_nowait(-1)
        self._taken += len(body)
        if self._limits.body and self._taken > self._limits.body:
            raise BodyTooLarge(f"more than {self._limits.body} bytes in chunks")
        if payload.is_eof():
            self._end_body()
        elif rest and not self._chunks.enough:
            raise BadRequest("chunks that end otherwise than they say")
        return body, rest

    def _end_body(self) -> None:
        self.body_expected = False
        self._payload = None
        self._remaining = 0
        self._taken = 0
        self._seam = b""
        self._parser = self._fresh()


class _Chunks:
    """Where a chunked body ends (RFC 9112 section 7.1). What is in it, and whether it is valid, the parser judges.

    The end could be searched for without counting, but data full of ends of lines would then cost a call for each.

    Args:
        limit: bytes of a size's line, or of the last one with the trailers.
    """

    __slots__ = ("_bare", "_left", "_limit", "_line", "_trailers", "enough")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.enough = False
        """Whether `end` has stopped before the end of the data because there were so many chunks."""
        self._bare = 0
        """Bytes since the last chunk's."""
        self._left = 0
        """Bytes of the chunk that are still to come, with the end of line behind it."""
        self._line = b""
        """The beginning of a size's or a trailer's line."""
        self._trailers = False

    def end(self, data: bytes) -> int:
        """How many of these bytes are the body's; fewer than there are only where it ends, or where it is `enough`.

        Raises:
            Refusal: a line that should be a chunk's size is none, or there is too much of such lines or trailers.
        """
        at, size, lines = 0, len(data), 0
        self.enough = False
        while at < size:
            if self._left:
                step = min(self._left, size - at)
                self._left -= step
                self._bare = 0
                at += step
                continue
            if lines == _AT_ONCE:
                self.enough = True
                return at
            lines += 1
            stop = data.find(b"\n", at) + 1
            self._bare += (stop or size) - at
            if self._bare > self._limit:
                raise FieldsTooLarge(f"more than {self._limit} bytes of chunk framing or trailers")
            if not stop:
                self._line += data[at : at + _LINE]
                return size
            line, self._line, at = self._line + data[at:stop], b"", stop
            if self._trailers:
                if line == b"\r\n":
                    return at
                continue
            self._left = _chunk_size(line)
            self._trailers = not self._left
            self._left += 2 if self._left else 0
        return size


# Chunks of one byte cost 2.5 us each, and a quarter of a megabyte of them would keep everybody else waiting for 0.1 s.
_AT_ONCE = 128
_HEX = re.compile(rb"[0-9A-Fa-f]{1,16}(?![0-9A-Fa-f])")
# What is looked at of a line cut in two: more than a chunk's size may have of digits.
_LINE = 64


def _chunk_size(line: bytes) -> int:
    digits = _HEX.match(line)
    if digits is None:
        raise BadRequest("a chunk without a size of at most 16 digits")
    size = int(digits[0], 16)
    if size >> 60:
        # Another reader's signed 64 bits would not hold it, nor what it adds.
        raise BadRequest("a chunk of more than 2**60 bytes")
    return size


def _refusal(error: HttpProcessingError) -> Refusal:
    """The parser's error as ours, its reason on one line, without the client's bytes."""
    if "Too many headers" in error.message:
        return FieldsTooLarge(f"more than {_MAX_FIELDS} fields")
    return BadRequest(error.message.partition("\n")[0].rstrip(":"))
