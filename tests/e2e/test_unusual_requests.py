"""What is unusual but has one reading only is forwarded, and what it says reaches the app as it was said."""

from typing import NamedTuple

import pytest

from tests.e2e.raw_client import TlsClient, get
from tests.e2e.scripted_app import ScriptedApp

CHUNKED = b"Transfer-Encoding: chunked"
BODY = b"5\r\nhello\r\n0\r\n\r\n"


class Row(NamedTuple):
    """A request, and what the app gets of it."""

    sent: bytes
    start: bytes = b"POST / HTTP/1.1"
    body: bytes = b""
    fields: tuple[tuple[bytes, bytes], ...] = ()
    """Among others."""


def head(*lines: bytes, start: bytes = b"POST / HTTP/1.1") -> bytes:
    """A request head with a Host and these lines."""
    return b"\r\n".join([start, b"Host: a", *lines, b"", b""])


def asked(start: bytes, *lines: bytes) -> Row:
    """A request without body that goes on as it came."""
    return Row(head(*lines, start=start), start)


def told(*fields: tuple[bytes, bytes, bytes]) -> Row:
    """Fields, each with what stands around its value."""
    lines = [name + b":" + before + value for name, before, value in fields]
    return Row(head(*lines), fields=tuple((name, value.strip(b" \t")) for name, _, value in fields))


def sized(length: bytes, start: bytes = b"POST / HTTP/1.1") -> Row:
    """A body of five bytes with that Content-Length."""
    return Row(head(b"Content-Length:" + length, start=start) + b"hello", start, b"hello")


def chunked(body: bytes, content: bytes = b"hello", coding: bytes = CHUNKED, start: bytes = b"POST / HTTP/1.1") -> Row:
    """A chunked body."""
    return Row(head(coding, start=start) + body, start, content)


REQUEST = get("/inner")
ROWS = [
    *(sized(length) for length in (b" 5", b"5", b"   5", b"\t5\t", b" 5 ", b" 005")),
    *(sized(b" 5", method + b" / HTTP/1.1") for method in (b"GET", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE")),
    *(chunked(BODY, start=method + b" / HTTP/1.1") for method in (b"GET", b"DELETE", b"OPTIONS")),
    *(chunked(BODY, coding=b"Transfer-Encoding:" + coding) for coding in (b"chunked", b"\tCHUNKED", b"  Chunked  ")),
    chunked(BODY, coding=b"transfer-encoding: chunked\r\nConnection: transfer-encoding"),
    chunked(BODY, coding=b"Transfer_Encoding: identity\r\nContent_Length: 3\r\nTransfer-Encoding: chunked"),
    chunked(b"0\r\n\r\n", b""),
    chunked(b"0005\r\nhello\r\n000\r\n\r\n"),
    chunked(b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
    chunked(b'5;a;b=c;d="e;\\"f"\r\nhello\r\n0;last\r\n\r\n'),
    chunked(b"8\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n" * 4),
    chunked(b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (len(REQUEST), REQUEST), REQUEST),
    chunked(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n"),
    told((b"X", b"", b""), (b"Y", b" ", b""), (b"Z", b"\t", b"")),
    told((b"X", b"", b"a"), (b"Y", b"   ", b"a   b"), (b"Z", b"\t ", b"a\tb \t")),
    told((b"X", b"", b":"), (b"Y", b" ", b"a:b"), (b"Z", b" ", b'"a')),
    told((b"X", b" ", bytes(range(0x80, 0x100)))),
    told((b"!#$%&'*+-.^_`|~X", b" ", b"1"), (b"1", b" ", b"2"), (b"X" * 5000, b" ", b"3")),
    told((b"X", b" ", b"1"), (b"x", b" ", b"2"), (b"X", b" ", b"1")),
    told((b"Cookie", b" ", b"a=1"), (b"Cookie", b" ", b"b=2"), (b"Authorization", b" ", b"1"), (b"Range", b" ", b"a")),
    told((b"Via", b" ", b"1.0 a"), (b"Date", b" ", b"never"), (b"Expect", b" ", b"something")),
    *(told((b"X", b" ", b"x" * size)) for size in (8190, 8191, 30000)),
    *(asked(method + b" / HTTP/1.1") for method in (b"M-SEARCH", b"REPORT", b"PURGE", b"LINK", b"QUERY", b"TRACE")),
    asked(b"OPTIONS * HTTP/1.1"),
    asked(b"GET //a//../%00%2f\\|^`{}<>\"'[]?#".replace(b"#", b"") + b" HTTP/1.1"),
    *(asked(b"GET / HTTP/1.1", b"Connection:" + options) for options in (b"", b" ,,", b" host", b' "close"', b" \xe9")),
    *(
        Row(empty + head(start=b"GET / HTTP/1.1"), b"GET / HTTP/1.1")
        for empty in (b"\r\n", b"\r\n\r\n", b"\n", b"\n\r\n")
    ),
    Row(head(start=b"GET ws://b/c HTTP/1.1"), b"GET /c HTTP/1.1", fields=((b"Host", b"b"),)),
    Row(head(start=b"GET HTTP://b:/c//d?e HTTP/1.1"), b"GET /c//d?e HTTP/1.1", fields=((b"Host", b"b:"),)),
    Row(head(start=b"OPTIONS http://b HTTP/1.1"), b"OPTIONS * HTTP/1.1", fields=((b"Host", b"b"),)),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: repr(row.sent[:100]))
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
def test_an_unusual_request_is_forwarded(client: TlsClient, app: ScriptedApp, row: Row, bytewise: bool) -> None:
    """However it is cut, and between two others, it reaches the app once and leaves the connection usable."""
    data = get("/before") + row.sent + get("/behind")
    client.send(*([data[at : at + 1] for at in range(len(data))] if bytewise else [data]))
    assert [client.read_response().status for _ in range(3)] == [200] * 3
    before, request, behind = app.requests
    assert (before.target, behind.target) == (b"/before", b"/behind")
    assert (request.start, request.body) == (row.start, row.body)
    assert [field for field in request.fields if field in row.fields] == list(row.fields)
    assert request.all(b"X-Forwarded-For") == [b"127.0.0.1"]
    assert request.trailers == []


@pytest.mark.parametrize("value", ["100-Continue", " 100-continue ", "100-continue, 100-continue"])
def test_who_sends_the_body_at_once_gets_one_answer(client: TlsClient, app: ScriptedApp, value: str) -> None:
    """A client that expects 100 and does not wait for it is not told to go on."""
    client.send(f"POST / HTTP/1.1\r\nHost: a\r\nExpect: {value}\r\nContent-Length: 4\r\n\r\nbody".encode())
    assert client.read_response().status == 200
    assert app.request.body == b"body"
