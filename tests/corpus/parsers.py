"""Two parsers of other people's, h11 and llhttp, and what each makes of the same bytes: judges of what the proxy sends.

Both read strictly. h11 is written in Python from the RFCs and shares nothing with the parsers that the proxy uses;
llhttp, Node's, is asked afresh, as an app behind the proxy would.
"""

import re
from dataclasses import dataclass, field

import h11
import httptools

Fields = tuple[tuple[bytes, bytes], ...]

# llhttp knows the methods of a list, h11 all tokens; h11 wants targets in ASCII, where the proxy passes every byte. The
# judge is told the escapes that such bytes would have.
_HIGH = re.compile(rb"[\x80-\xff]")
_REQUEST_LINE = re.compile(rb"[^\r\n]*")
_ROOM = 1 << 20

EMPTY_LINES = re.compile(rb"(?:\r?\n)*")
"""Of no request (RFC 9112 section 2.2), which h11 does not know."""


@dataclass(frozen=True)
class Seen:
    """One message as a parser sees it; names in lower case, values without white space around them."""

    start: tuple[bytes, bytes]
    """Method and target, or status and reason."""
    fields: Fields
    body: bytes


@dataclass
class Reading:
    """What a parser makes of a connection's bytes."""

    messages: list[Seen] = field(default_factory=list)
    """Those that are whole."""
    rest: bool = False
    """Whether bytes are left over: a message that is not whole, or none at all."""


def requests_by_h11(data: bytes, between: re.Pattern[bytes] | None = None) -> Reading:
    """The requests on a connection, by h11; what stands before one and matches `between` is passed over."""
    reading = Reading()
    while data and not reading.rest:
        data = between.sub(b"", data, count=1) if between else data
        line = _REQUEST_LINE.match(data)
        assert line is not None
        data = _HIGH.sub(lambda found: b"%%%02X" % found[0][0], line[0]) + data[line.end() :]
        data = _next_by_h11(h11.Connection(h11.SERVER, _ROOM), data, reading)
    return reading


def responses_by_h11(data: bytes, methods: list[str], *, ended: bool) -> Reading:
    """The responses on a connection to requests of these methods, by h11; interim ones are left out.

    Args:
        data: all that came.
        methods: of the requests, in order.
        ended: whether the connection has ended, cleanly.
    """
    reading = Reading()
    for method in methods:
        if not data or reading.rest:
            break
        connection = h11.Connection(h11.CLIENT, _ROOM)
        connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
        data = _next_by_h11(connection, data, reading, ended=ended)
    reading.rest = reading.rest or bool(data)
    return reading


def _next_by_h11(connection: h11.Connection, data: bytes, reading: Reading, *, ended: bool = False) -> bytes:
    """Read one message into the reading; returns what lies behind it."""
    start, fields, body = (b"", b""), [], b""
    connection.receive_data(data)
    if ended:
        connection.receive_data(b"")
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            reading.rest = True
            return data
        match event:
            case h11.Request():
                start, fields = (event.method, event.target), list(event.headers)
            case h11.Response():
                start, fields = (b"%d" % event.status_code, event.reason), list(event.headers)
            case h11.Data():
                body += bytes(event.data)
            case h11.EndOfMessage():
                reading.messages.append(Seen(start, tuple((name, value.strip(b" \t")) for name, value in fields), body))
                return connection.trailing_data[0]
            case h11.InformationalResponse():
                pass
            case _:
                # It wants more, or the connection has ended within the message.
                reading.rest = True
                return data


class _Listener:
    """What llhttp calls; one for each connection."""

    def __init__(self) -> None:
        self.reading = Reading()
        self.parser: httptools.HttpRequestParser | httptools.HttpResponseParser
        self._start = self._body = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._trailing = False

    def on_message_begin(self) -> None:
        self._start = self._body = b""
        self._fields = []
        self._trailing = False
        self.reading.rest = True

    def on_url(self, piece: bytes) -> None:
        self._start += piece

    on_status = on_url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._trailing:
            self._fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self._trailing = True

    def on_body(self, piece: bytes) -> None:
        self._body += piece

    def on_message_complete(self) -> None:
        self.reading.rest = False
        if isinstance(self.parser, httptools.HttpRequestParser):
            target = _HIGH.sub(lambda found: b"%%%02X" % found[0][0], self._start)
            start = (self.parser.get_method(), target)
        else:
            status = self.parser.get_status_code()
            if status < 200:
                return
            start = (b"%d" % status, self._start)
        self.reading.messages.append(Seen(start, tuple(self._fields), self._body))


def requests_by_llhttp(data: bytes) -> Reading:
    """The requests on a connection, by llhttp."""
    reading = Reading()
    while data:
        listener = _Listener()
        listener.parser = httptools.HttpRequestParser(listener)
        try:
            listener.parser.feed_data(data)
            data = b""
        except httptools.HttpParserUpgrade as upgrade:
            data = data[upgrade.args[0] :]
        except httptools.HttpParserError:
            listener.reading.rest, data = True, b""
        reading.messages += listener.reading.messages
        reading.rest = listener.reading.rest
    return reading


def responses_by_llhttp(data: bytes) -> Reading:
    """The responses on a connection, by llhttp; none of them may be to a HEAD, of which it can't be told."""
    listener = _Listener()
    listener.parser = httptools.HttpResponseParser(listener)
    try:
        listener.parser.feed_data(data)
    except httptools.HttpParserError:
        listener.reading.rest = True
    return listener.reading


def alike(data: bytes) -> Reading:
    """What both see in the bytes of a connection to the app; AssertionError where one sees what the other does not."""
    reading, other = requests_by_h11(data), requests_by_llhttp(data)
    assert reading == other, f"h11 reads {reading}, llhttp {other}: {data!r}"
    return reading
