"""What old apps say, row by row of the tables in docs/http.md: understood and passed on well-formed, or refused.

A row without answers here fails, and so do answers without a row. What is refused are files: tests/corpus/responses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from tests.corpus.library import Message, groups
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
    "a tab behind a coding, folded lines of nothing behind it or a length": [
        Said(OK + b"Transfer-Encoding: chunked\t\r\n\r\n3\r\nabc\r\n" + LAST),
        Said(OK + b"Transfer-Encoding: chunked\r\n \r\n\t \r\n\r\n3\r\nabc\r\n" + LAST),
        with_length(b"Content-Length: 3", b" "),
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

# These are files, and tests/e2e/test_splitting.py tries each.
REFUSED = [group.row for group in groups("responses") if group.row]

TOLERATED_ROWS = table("http.md", "### What is tolerated of old apps")
REFUSED_ROWS = table("http.md", "### What is refused of old apps")


def test_each_row_is_tested() -> None:
    """The tables of the documentation and those above have the same rows."""
    assert [row[0] for row in TOLERATED_ROWS] == list(TOLERATED)
    assert [row[0] for row in REFUSED_ROWS] == REFUSED


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
    "message",
    [pytest.param(group.messages[0], id=group.name) for group in groups("responses") if group.row],
)
def test_what_is_refused(client: TlsClient, app: ScriptedApp, message: Message) -> None:
    """Nothing of it is passed on, the answer says so, and its connection carries no other request."""
    once(app, message.data)
    assert_ours(
        client.ask(get().replace(b"GET", message.method.encode(), 1), message.method), 502, "http_protocol_error"
    )
    assert client.get().body == b"next"
    assert len(app.connections) == 2
