"""HTTP/1.1 messages read strictly from a stream of bytes, for both ends of a test: the client and the app.

Nothing is forgiven, so that a test fails where a real peer might have guessed: lines end with CRLF, a chunk's
size is plain hexadecimal, and a stream that ends within a message raises `IncompleteError`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*", re.DOTALL)
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([0-9]{3}) (.*)", re.DOTALL)

Fields = list[tuple[bytes, bytes]]


class IncompleteError(Exception):
    """The stream ended before the message did; `partial` is what had come of the part being read."""

    def __init__(self, partial: bytes) -> None:
        super().__init__(f"the stream ended within a message, after {partial[-200:]!r}")
        self.partial = partial


class MalformedError(Exception):
    """What came is not a well-formed message."""


class Reader:
    """A buffer over a function that returns the next bytes, and b"" at the end."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self.buffer = b""

    def some(self) -> bytes:
        """The next bytes, however many; b"" at the end."""
        data, self.buffer = self.buffer or self._receive(), b""
        return data

    def at_end(self) -> bool:
        """Whether the stream has ended, waiting for a byte where there is none."""
        self.buffer = self.buffer or self._receive()
        return not self.buffer

    def exactly(self, count: int) -> bytes:
        """`count` bytes, no fewer."""
        while len(self.buffer) < count:
            self._more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def through(self, delimiter: bytes) -> bytes:
        """Everything up to and with `delimiter`."""
        while delimiter not in self.buffer:
            self._more()
        data, found, self.buffer = self.buffer.partition(delimiter)
        return data + found

    def rest(self) -> bytes:
        """Everything until the end."""
        pieces = []
        while piece := self.some():
            pieces.append(piece)
        return b"".join(pieces)

    def _more(self) -> None:
        data = self._receive()
        if not data:
            raise IncompleteError(self.buffer)
        self.buffer += data


@dataclass
class Message:
    """A message as it came: the raw head and body besides what they say."""

    head: bytes
    """All of it, with the empty line."""
    start: bytes
    """The request line or status line, without its CRLF."""
    fields: Fields
    body: bytes = b""
    """The content, without any framing."""
    framing: str = "none"
    """`none`, `length`, `chunked` or `close`: how the body's end was told."""
    chunks: list[bytes] = field(default_factory=list)
    trailers: Fields = field(default_factory=list)

    def get(self, name: bytes) -> bytes | None:
        """The value of a field that comes once; None when it does not come."""
        values = self.all(name)
        assert len(values) < 2, f"{name!r} comes {len(values)} times: {values!r}"
        return values[0] if values else None

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a field, in order."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def names(self) -> list[bytes]:
        """The fields' names in lower case, in order."""
        return [name.lower() for name, _ in self.fields]


class Request(Message):
    """A request as the app got it."""

    @property
    def method(self) -> bytes:
        return self.start.split(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.start.partition(b" ")[2].rpartition(b" ")[0]


class Response(Message):
    """A response as the client got it."""

    @property
    def status(self) -> int:
        return int(_status_line(self.start)[1])

    @property
    def reason(self) -> bytes:
        return _status_line(self.start)[2]


def read_request_head(reader: Reader) -> Request | None:
    """The next request without its body; None when the stream ends before its first byte."""
    if reader.at_end():
        return None
    head = reader.through(b"\r\n\r\n")
    return Request(head, *_split(head))


def read_request_body(reader: Reader, request: Request) -> None:
    """Read a request's body into it (RFC 9112 section 6.3)."""
    if request.get(b"Transfer-Encoding") is not None:
        _read_chunked(reader, request)
    elif (length := request.get(b"Content-Length")) is not None:
        request.body, request.framing = reader.exactly(int(length)), "length"


def read_response(reader: Reader, method: str = "GET") -> Response:
    """The next response, an interim one too, to a request with that method (RFC 9112 section 6.3)."""
    response = read_response_head(reader)
    if method != "HEAD":
        read_response_body(reader, response)
    return response


def read_response_body(reader: Reader, response: Response) -> None:
    """Read a response's body into it, if its status has one."""
    if response.status < 200 or response.status in (204, 304):
        return
    if response.get(b"Transfer-Encoding") is not None:
        _read_chunked(reader, response)
    elif (length := response.get(b"Content-Length")) is not None:
        response.body, response.framing = reader.exactly(int(length)), "length"
    else:
        response.body, response.framing = reader.rest(), "close"


def read_response_head(reader: Reader) -> Response:
    """The next response without its body."""
    head = reader.through(b"\r\n\r\n")
    response = Response(head, *_split(head))
    _status_line(response.start)
    return response


def read_chunk(reader: Reader) -> bytes:
    """The next chunk's content; b"" for the last one, whose trailers are left unread."""
    size = reader.through(b"\r\n")[:-2]
    if not re.fullmatch(rb"[0-9A-Fa-f]+", size):
        raise MalformedError(f"a chunk's size is {size!r}")
    if not int(size, 16):
        return b""
    chunk = reader.exactly(int(size, 16) + 2)
    if not chunk.endswith(b"\r\n"):
        raise MalformedError(f"a chunk ends with {chunk[-2:]!r}")
    return chunk[:-2]


def _read_chunked(reader: Reader, message: Message) -> None:
    coding = message.get(b"Transfer-Encoding")
    if coding != b"chunked" or message.get(b"Content-Length") is not None:
        raise MalformedError(f"ambiguous framing: {message.head!r}")
    message.framing = "chunked"
    while chunk := read_chunk(reader):
        message.chunks.append(chunk)
    message.body = b"".join(message.chunks)
    while (line := reader.through(b"\r\n")) != b"\r\n":
        message.trailers.append(_field(line[:-2]))


def _split(head: bytes) -> tuple[bytes, Fields]:
    start, *lines = head[:-4].split(b"\r\n")
    return start, [_field(line) for line in lines]


def _field(line: bytes) -> tuple[bytes, bytes]:
    match = FIELD.fullmatch(line)
    if match is None:
        raise MalformedError(f"not a field: {line!r}")
    return match[1], match[2]


def _status_line(start: bytes) -> re.Match[bytes]:
    match = STATUS_LINE.fullmatch(start)
    if match is None:
        raise MalformedError(f"not a status line: {start!r}")
    return match
