"""What old apps say, row by row of the tables in docs/http.md: understood and passed on well-formed, or refused.

A row without answers here fails, and so do answers without a row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from tests.e2e.messages import Fields
from tests.e2e.raw_client import TlsClient, get
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.test_app_errors import assert_ours
from tests.test_docs import table

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 3\r\n"
CODING = b"Transfer-Encoding: chunked\r\n"
CHUNKED = OK + CODING + b"\r\n"
LAST = b"0\r\n\r\n"


@dataclass
class Said:
    """An answer of the app's, and what the client is to get of it."""

    answer: bytes
    body: bytes = b"abc"
    status: int = 200
    reason: bytes = b"OK"
    fields: Fields = field(default_factory=list)
    """Those besides the framing and X-Request-ID."""
    trailers: Fields = field(default_factory=list)
    interims: Sequence[int] = ()
    method: str = "GET"
    ends: bool = False
    """Whether the app ends the connection behind it."""


def with_field(*lines: bytes, **expected: bytes) -> Said:
    """A response with these lines in its head, and the fields that the client is to see."""
    fields = [(name.encode(), value) for name, value in expected.items()]
    return Said(OK + b"".join(line + b"\r\n" for line in lines) + LENGTH + b"\r\nabc", fields=fields)


def with_length(*lines: bytes) -> Said:
    return Said(OK + b"".join(line + b"\r\n" for line in lines) + b"\r\nabc")


def with_line(line: bytes, status: int = 200, reason: bytes = b"OK") -> Said:
    """A response with this status line."""
    return Said(line + LENGTH + b"\r\nabc", status=status, reason=reason)


OURS = frozenset({b"X-Request-ID", b"Content-Length", b"Transfer-Encoding"})
MANY = [(b"X-%d" % n, b"y" * 40) for n in range(4000)]

TOLERATED: Mapping[str, Sequence[Said]] = {
    "lines that end in a bare LF, in the head": [
        Said(b"HTTP/1.1 200 OK\nX: y\nContent-Length: 3\n\nabc", fields=[(b"X", b"y")]),
        Said(OK + b"X: y\nContent-Length: 3\n\r\nabc", fields=[(b"X", b"y")]),
        Said(OK + LENGTH + b"\nabc"),
        Said(b"HTTP/1.1 200 OK\n\nabc", ends=True),
    ],
    "folded values": [
        with_field(b"X: a", b" b", b"\t c", X=b"a b\t c"),
        with_field(b"X:", b" a", X=b"a"),
        with_field(b"X: a\n b", X=b"a b"),
        with_field(b"X: a", b" Content-Length: 9", X=b"a Content-Length: 9"),
        with_length(b"Content-Length:", b" 3"),
    ],
    "blanks before a colon": [with_field(b"X : a", X=b"a"), with_length(b"Content-Length \t: 3")],
    "control bytes in a value, other than NUL, CR and LF": [
        with_field(b"X: a\x01\x0b\x1b\x7fb", X=b"a\x01\x0b\x1b\x7fb"),
    ],
    "bytes above 0x7F in a value or in the reason phrase": [
        with_field(b"X: caf\xe9 \xc3\xa9\xff", X=b"caf\xe9 \xc3\xa9\xff"),
        with_line(b"HTTP/1.1 200 D\xe9j\xc3\xa0\r\n", reason=b"D\xe9j\xc3\xa0"),
    ],
    "no reason phrase, with or without the blank before it": [
        with_line(b"HTTP/1.1 200\r\n", reason=b""),
        with_line(b"HTTP/1.1 200 \r\n", reason=b""),
    ],
    "several blanks before the status": [with_line(b"HTTP/1.1   200 OK\r\n")],
    "empty lines before the status line": [with_line(b"\r\n" + OK), with_line(b"\r\n\r\n\n" + OK)],
    "a status that nobody knows, up to 999": [
        with_line(b"HTTP/1.1 299 Odd\r\n", 299, b"Odd"),
        with_line(b"HTTP/1.1 999 Odd\r\n", 999, b"Odd"),
    ],
    "HTTP/1.2 to HTTP/9.9 in the status line": [
        with_line(b"HTTP/1.2 200 OK\r\n"),
        with_line(b"HTTP/2.0 200 OK\r\n"),
        with_line(b"HTTP/9.9 200 OK\r\n"),
    ],
    "HTTP/1.0": [with_line(b"HTTP/1.0 200 OK\r\n"), Said(b"HTTP/1.0 200 OK\r\n\r\nabc", ends=True)],
    "HTTP/1.0 that asks for keep-alive": [with_line(b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n")],
    "a body that ends with the connection": [Said(OK + b"\r\nabc", ends=True), Said(OK + b"\r\n", b"", ends=True)],
    "a head of up to 256 KiB, with any number of fields": [
        Said(response(b"abc", *(f"X-{n}: {'y' * 40}" for n in range(4000))), fields=MANY),
        with_field(b"X: " + b"y" * 200_000, X=b"y" * 200_000),
    ],
    "a length several times, or in a list, and always the same": [
        with_length(b"Content-Length: 3", b"Content-Length: 3"),
        with_length(b"Content-Length: 3", b"content-length:3", b"Content-Length: 03 "),
        with_length(b"Content-Length: 3, 3"),
    ],
    "a length with zeros before it": [
        with_length(b"Content-Length: 003"),
        with_length(b"Content-Length: " + b"0" * 40 + b"3"),
    ],
    "`Transfer-Encoding` in HTTP/1.0, also with keep-alive": [
        Said(b"HTTP/1.0 200 OK\r\n" + CODING + b"\r\n3\r\nabc\r\n" + LAST),
        Said(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + CODING + b"\r\n3\r\nabc\r\n" + LAST),
    ],
    "blanks behind a chunk's size": [Said(CHUNKED + b"2  \r\nab\r\n1\t\r\nc\r\n0 \r\n\r\n")],
    "extensions of chunks": [
        Said(CHUNKED + b"3;a=b\r\nabc\r\n" + LAST),
        Said(CHUNKED + b'3;a="b c"\r\nabc\r\n' + LAST),
    ],
    "folded trailers": [
        Said(CHUNKED + b"3\r\nabc\r\n0\r\nX: a\r\n b\r\nY: c\r\n\r\n", trailers=[(b"X", b"a b"), (b"Y", b"c")]),
    ],
    "trailers that frame or route a message": [
        Said(
            CHUNKED + b"3\r\nabc\r\n0\r\nTransfer-Encoding: gzip\r\nConnection: X\r\nLocation: /\r\nX: y\r\n\r\n",
            trailers=[(b"X", b"y")],
        ),
    ],
    "interim responses with a length or a coding": [
        Said(b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" + response(b"abc"), interims=[103]),
        Said(b"HTTP/1.1 102 Processing\r\nTransfer-Encoding: chunked\r\n\r\n" + response(b"abc"), interims=[102]),
    ],
    "interim responses that ask to close": [
        Said(b"HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\n" + response(b"abc"), interims=[103]),
    ],
    "a length or a coding with 204": [
        Said(b"HTTP/1.1 204 OK\r\nContent-Length: 3\r\n\r\n", b"", 204),
        Said(b"HTTP/1.1 204 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"", 204),
    ],
    "a body with 204 or 304, or to HEAD": [
        Said(b"HTTP/1.1 204 OK\r\n\r\nabc", b"", 204),
        Said(b"HTTP/1.1 304 OK\r\nContent-Length: 3\r\n\r\nabc", b"", 304),
        Said(response(b"abc"), b"", method="HEAD"),
    ],
    "bytes behind the response": [Said(response(b"abc") + b"d"), Said(response(b"abc") + response(b"forged"))],
}  # fmt: skip

REFUSED: Mapping[str, Sequence[bytes]] = {
    "`Content-Length` together with `Transfer-Encoding`": [
        OK + LENGTH + CODING + b"\r\n3\r\nabc\r\n" + LAST,
        OK + CODING + LENGTH + b"\r\n3\r\nabc\r\n" + LAST,
        b"HTTP/1.0 200 OK\r\n" + LENGTH + CODING + b"\r\n3\r\nabc\r\n" + LAST,
    ],
    "lengths that differ": [
        OK + LENGTH + b"Content-Length: 4\r\n\r\nabcd",
        OK + b"Content-Length: 3, 4\r\n\r\nabcd",
        OK + LENGTH + b"Content-Length : 4\r\n\r\nabcd",
    ],
    "a length that is empty, or no number of up to 18 digits": [
        OK + b"Content-Length: %b\r\n\r\nabc" % length
        for length in (b"", b"+3", b"-3", b"3;", b"3 3", b"0x3", b"three", b"3,", b"\xb3", b"9" * 19, b"9" * 5000)
    ],
    "a coding other than `chunked`, several, or an empty one": [
        OK + b"Transfer-Encoding: %b\r\n\r\n3\r\nabc\r\n0\r\n\r\n" % coding
        for coding in (b"", b"identity", b"gzip", b"gzip, chunked", b"chunked, chunked", b"chunked,", b"xchunked")
    ] + [OK + CODING * 2 + b"\r\n" + LAST],
    "a NUL in a field or in the reason phrase": [
        with_line(b"HTTP/1.1 200 O\0K\r\n").answer,
        with_field(b"X: a\0b").answer,
        with_field(b"X\0: a").answer,
    ],
    "a bare CR, also as the end of a line": [
        with_field(b"X: a\rSet-Cookie: b=c").answer,
        with_field(b"X: a\r").answer,
        with_line(b"HTTP/1.1 200 OK\r").answer,
        response(b"abc").replace(b"\r\n", b"\r"),
        OK + LENGTH + b"\r\r\nabc",
    ],
    "a blank at the beginning of the line behind the status line": [with_field(b" X: y").answer],
    "a line without a colon, or with nothing before it": [
        with_field(b"nonsense").answer,
        with_field(b": nameless").answer,
        with_field(b"HTTP/1.1 200 OK").answer,
    ],
    "a name that is no token": [with_field(name + b": y").answer for name in (b"X Y", b"X(Y", b"X\xe9", b"X\x01")],
    "a status that is no number from 100 to 999": [
        with_line(b"HTTP/1.1 %b OK\r\n" % status).answer
        for status in (b"", b"0", b"20", b"099", b"1000", b"2OO", b"+20")
    ],
    "a status line with a tab in it": [
        with_line(b"HTTP/1.1\t200 OK\r\n").answer,
        with_line(b"HTTP/1.1 200\tOK\r\n").answer,
    ],
    "another protocol's name, or HTTP/0.9": [
        with_line(name + b" 200 OK\r\n").answer for name in (b"ICY", b"http/1.1", b"HTTP/2", b"HTTP/0.9", b"HTTP/1.10")
    ],
    "no head at all": [b"<html>abc</html>", b"abc\r\n\r\nabc", b"SSH-2.0-OpenSSH\r\n", b"\x15\x03\x01\x00\x02\x02F"],
    "a head above 256 KiB": [OK + b"X: " + b"y" * 400_000, with_field(*[b"X: y"] * 60_000).answer],
    "a chunk's size that is no hexadecimal number": [
        CHUNKED + size + b"\r\nabc\r\n0\r\n\r\n"
        for size in (b"", b"g", b"3g", b"0x3", b"+3", b"-3", b"3_0", b" 3", b"3 bytes", b"3\r", b"1" + b"0" * 16)
    ],
    "lines that end in a bare LF, between chunks": [
        CHUNKED + b"2\nab\n1\nc\n0\n\n",
        CHUNKED.replace(b"\r\n", b"\n") + b"3\nabc\n0\n\n",
    ],
    "extensions of chunks that are not well-formed": [
        CHUNKED + b"3;\r\nabc\r\n" + LAST,
        CHUNKED + b'3 ; a = "b\x01\xe9\r\nabc\r\n' + LAST,
    ],
    "trailers that are no fields, or a length": [
        CHUNKED + b"3\r\nabc\r\n0\r\nnonsense\r\n\r\n",
        CHUNKED + b"3\r\nabc\r\n0\r\n: z\r\n\r\n",
        CHUNKED + b"3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n",
    ],
    "a chunk that does not end where its size says": [
        CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"3\r\nabc0\r\n\r\n",
        CHUNKED + b"3\r\nabc\r0\r\n\r\n",
    ],
    "101, when no change of protocol was asked for": [
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
}  # fmt: skip

TOLERATED_ROWS = table("http.md", "### What is tolerated of old apps")
REFUSED_ROWS = table("http.md", "### What is refused of old apps")


def test_each_row_is_tested() -> None:
    """The tables of the documentation and those above have the same rows."""
    assert [row[0] for row in TOLERATED_ROWS] == list(TOLERATED)
    assert [row[0] for row in REFUSED_ROWS] == list(REFUSED)


def once(app: ScriptedApp, answer: bytes, ends: bool = False) -> None:
    """Let the first request on the first connection be answered so, and all others in order."""

    def script(connection: AppConnection) -> None:
        first = connection.number == 0
        while connection.read_request():
            connection.send(answer if first else response(b"next"))
            if first and ends:
                return
            first = False

    app.script(script)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        pytest.param(said, becomes.endswith("; kept"), id=f"{name} {number}")
        for name, becomes in TOLERATED_ROWS
        for number, said in enumerate(TOLERATED.get(name, ()))
    ],
)
def test_what_is_tolerated(client: TlsClient, app: ScriptedApp, said: Said, kept: bool) -> None:
    """It reaches the client as one well-formed response; the connection to the app is kept where the row says so."""
    once(app, said.answer, said.ends)
    client.send(get().replace(b"GET", said.method.encode(), 1))
    assert [client.read_response().status for _ in said.interims] == list(said.interims)
    answer = client.read_response(said.method)
    shown = [pair for pair in answer.fields if pair[0] not in OURS]
    assert (answer.status, answer.reason, answer.body) == (said.status, said.reason, said.body)
    assert (shown, answer.trailers) == (said.fields, said.trailers)
    assert client.get().body == b"next"
    assert len(app.connections) == (1 if kept else 2)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(answer, id=f"{name} {number}")
        for name, *_ in REFUSED_ROWS
        for number, answer in enumerate(REFUSED.get(name, ()))
    ],
)
def test_what_is_refused(client: TlsClient, app: ScriptedApp, answer: bytes) -> None:
    """Nothing of it is passed on, and its connection carries no other request."""
    once(app, answer)
    assert_ours(client.get(), 502, "http_protocol_error")
    assert client.get().body == b"next"
    assert len(app.connections) == 2
