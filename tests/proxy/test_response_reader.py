"""Responses from an app's bytes, strictly and leniently read."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from tlsproxy.proxy import response_reader
from tlsproxy.proxy.heads import Field
from tlsproxy.proxy.refusals import AppInvalid
from tlsproxy.proxy.response_reader import ResponseReader

OK = b"HTTP/1.1 200 OK\r\n"


@dataclass
class Heard:
    """What a reader has told of one response."""

    status: int = 0
    body: bytes = b""
    interims: list[int] = field(default_factory=list)
    trailers: list[Field] = field(default_factory=list)
    whole: bool = False
    """Whether it was whole before the connection ended."""
    whole_at_end: bool = False
    reusable: bool = False
    fields: list[Field] = field(default_factory=list)


def hear(pieces: Sequence[bytes], *, for_head: bool = False) -> Heard:
    reader = ResponseReader()
    reader.begin(for_head=for_head)
    heard = Heard()
    for piece in pieces:
        reader.feed(memoryview(piece))
        heard.interims += [interim.status for interim in reader.interims]
        heard.body += b"".join(reader.chunks)
        reader.interims, reader.chunks = [], []
    heard.trailers = list(reader.trailers)
    if reader.response is not None:
        heard.status, heard.fields = reader.response.status, list(reader.response.fields)
    heard.reusable = reader.reusable
    heard.whole = reader.part == DONE_PART
    heard.whole_at_end = reader.end()
    return heard


@pytest.fixture(autouse=True)
def _nothing_is_known() -> None:
    """What one test has read is new to the next."""
    response_reader._known.clear()


def _done() -> int:
    """Where a reader stands after a whole response."""
    reader = ResponseReader()
    reader.feed(memoryview(OK + b"Content-Length: 0\r\n\r\n"))
    return reader.part


DONE_PART = _done()

# what it is, its bytes, what is heard of it
RESPONSES: list[tuple[str, bytes, Heard]] = [
    ("length", OK + b"Content-Length: 5\r\n\r\nhello", Heard(200, b"hello", whole=True, reusable=True)),
    ("length 0", OK + b"Content-Length: 0\r\n\r\n", Heard(200, whole=True, reusable=True)),
    (
        "chunks",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
        Heard(200, b"hello", whole=True, reusable=True),
    ),
    (
        "trailers",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nSum: 1 \r\nConnection: X\r\nX: y\r\n\r\n",
        Heard(200, b"x", trailers=[(b"Sum", b"1"), (b"X", b"y")], whole=True, reusable=True),
    ),
    ("until the end", OK + b"\r\nhello", Heard(200, b"hello", whole_at_end=True)),
    ("until the end, empty", OK + b"\r\n", Heard(200, b"", whole_at_end=True)),
    (
        "HTTP/1.0 with a length",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        Heard(200, b"ok", whole=True),
    ),
    (
        "HTTP/1.0 kept alive",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
        Heard(200, b"ok", whole=True, reusable=True),
    ),
    ("204", b"HTTP/1.1 204 No Content\r\n\r\n", Heard(204, whole=True, reusable=True)),
    ("204 with a length", b"HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n", Heard(204, whole=True)),
    ("204 with chunks", b"HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n", Heard(204, whole=True)),
    ("204 with length 0", b"HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n", Heard(204, whole=True, reusable=True)),
    ("304 with a length", b"HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n", Heard(304, whole=True, reusable=True)),
    ("304 with chunks", b"HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\n\r\n", Heard(304, whole=True, reusable=True)),
    ("no phrase", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", Heard(200, whole=True, reusable=True)),
    (
        "interims",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: </x>\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx",
        Heard(200, b"x", interims=[100, 103], whole=True, reusable=True),
    ),
    (
        "interim before nothing",
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 204 x\r\n\r\n",
        Heard(204, interims=[102], whole=True, reusable=True),
    ),
    ("close", OK + b"Connection: close\r\nContent-Length: 1\r\n\r\nx", Heard(200, b"x", whole=True)),
    # Sloppy ones, which other proxies pass as well: read, but their connection is not used again.
    ("bare LF", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", Heard(200, b"hello", whole=True)),
    ("equal lengths", OK + b"Content-Length: 5\r\n" * 2 + b"\r\nhello", Heard(200, b"hello", whole=True)),
    ("a control byte", OK + b"X: a\x01b\r\nContent-Length: 0\r\n\r\n", Heard(200, whole=True)),
    ("a fold", OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n", Heard(200, whole=True)),
    ("a blank before the colon", OK + b"Content-Length : 5\r\n\r\nhello", Heard(200, b"hello", whole=True)),
    ("a list of equal lengths", OK + b"Content-Length: 5, 5\r\n\r\nhello", Heard(200, b"hello", whole=True)),
    ("HTTP/2.0", b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", Heard(200, b"ok", whole=True)),
    ("bare LF until the end", b"HTTP/1.1 200 OK\n\nhello", Heard(200, b"hello", whole_at_end=True)),
    (
        "a blank behind a chunk's size",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3 \r\nhel\r\n2\t\r\nlo\r\n0 \r\n\r\n",
        Heard(200, b"hello", whole=True, reusable=True),
    ),
    (
        "bare LF behind an interim",
        b"HTTP/1.1 103 x\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\nContent-Length: 1\n\nx",
        Heard(200, b"x", interims=[103], whole=True),
    ),
    (
        "equal lengths behind interims",
        b"HTTP/1.1 103 x\r\n\r\nHTTP/1.1 103 x\r\n\r\n" + OK + b"Content-Length: 1\r\n" * 2 + b"\r\nx",
        Heard(200, b"x", interims=[103, 103], whole=True),
    ),
    (
        "an interim that asks to close",
        b"HTTP/1.1 103 x\r\nConnection: close\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx",
        Heard(200, b"x", interims=[103], whole=True, reusable=True),
    ),
    (
        "an HTTP/1.0 interim",
        b"HTTP/1.0 100 x\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx",
        Heard(200, b"x", interims=[100], whole=True, reusable=True),
    ),
]  # fmt: skip


def bytewise(data: bytes) -> list[bytes]:
    return [data[n : n + 1] for n in range(len(data))]


@pytest.mark.parametrize(("data", "expected"), [row[1:] for row in RESPONSES], ids=[row[0] for row in RESPONSES])
@pytest.mark.parametrize("cut", [lambda data: [data], bytewise], ids=["whole", "byte by byte"])
def test_responses(data: bytes, expected: Heard, cut: Callable[[bytes], list[bytes]]) -> None:
    """A response is read alike in one piece and byte by byte."""
    heard = hear(cut(data))
    heard.fields = []
    expected.whole_at_end = expected.whole_at_end or expected.whole
    assert heard == expected


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"\r\n",
        b"Content-Length: 0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("cut", [lambda data: [data], bytewise], ids=["whole", "byte by byte"])
def test_the_answer_to_head_has_no_body(fields: bytes, cut: Callable[[bytes], list[bytes]]) -> None:
    """It is whole with its head; a connection on which a body was announced, which may come late, is not used again."""
    heard = hear(cut(OK + fields), for_head=True)
    assert (heard.status, heard.body, heard.whole) == (200, b"", True)
    announced = b"5" in fields or b"chunked" in fields
    assert heard.reusable is not announced


def test_a_reader_reads_one_after_the_other() -> None:
    """Each `begin` expects one response, and knows nothing of the one before."""
    reader = ResponseReader()
    for n in range(3):
        reader.begin(for_head=n == 1)
        data = OK + b"N: %d\r\nContent-Length: 2\r\n\r\n" % n + (b"" if n == 1 else b"ok")
        reader.feed(memoryview(data))
        assert reader.response is not None
        assert reader.response.fields == [(b"N", b"%d" % n), (b"Content-Length", b"2")]
        assert reader.chunks == ([] if n == 1 else [b"ok"])
        assert reader.reusable is (n != 1)
        if n == 1:
            reader.forget()


SURPLUS = [
    OK + b"Content-Length: 1\r\n\r\nxy",
    OK + b"Content-Length: 0\r\n\r\n\r\n!",
    OK + b"Content-Length: 0\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nx",
    b"HTTP/1.1 204 x\r\n\r\nbody",
    b"HTTP/1.1 304 x\r\nContent-Length: 4\r\n\r\nbody",
]


@pytest.mark.parametrize("data", SURPLUS)
@pytest.mark.parametrize("cut", [lambda data: [data], bytewise], ids=["whole", "byte by byte"])
def test_surplus_spoils_the_connection(data: bytes, cut: Callable[[bytes], list[bytes]]) -> None:
    """Bytes behind a response are nobody's: the response stands, and the connection is not used again."""
    heard = hear(cut(data))
    assert heard.whole
    assert len(heard.body) < 2
    assert not heard.reusable


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_what_lies_behind_a_change_of_protocol(line_end: bytes) -> None:
    """It is kept for who speaks that protocol, however patiently the head was read."""
    reader = ResponseReader()
    reader.begin(for_head=False, offered=b"chat")
    head = line_end.join([b"HTTP/1.1 101 x", b"Connection: upgrade", b"Upgrade: chat", b"", b""])
    reader.feed(memoryview(head + b"HTTP/1.1 is not spoken here"))
    assert [interim.status for interim in reader.interims] == [101]
    assert reader.rest == b"HTTP/1.1 is not spoken here"


def test_a_body_for_head_spoils_the_connection() -> None:
    """An app that sends a body to HEAD has its response passed on, and its connection closed."""
    heard = hear([OK + b"Content-Length: 5\r\n\r\nhello"], for_head=True)
    assert (heard.whole, heard.body, heard.reusable) == (True, b"", False)


INVALID = [
    b"garbage\r\n\r\n",
    b"\x15\x03\x01\x00\x02\x02F",
    b"GET / HTTP/1.1\r\n\r\n",
    b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 099 OK\r\n\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/11 200 OK\r\n\r\n",
    b"HTTP/0.9 200 OK\r\n\r\n",
    b"HTTP/2 200 OK\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
    OK + b"Content-Length: five\r\n\r\n",
    OK + b"Content-Length: -5\r\n\r\n",
    OK + b"Content-Length: 99999999999999999999\r\n\r\n",
    OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
    OK + b"no colon\r\n\r\n",
    OK + b": no name\r\n\r\n",
    OK + b"X: a\0b\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n",
    OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n",
]  # fmt: skip


@pytest.mark.parametrize("data", INVALID)
@pytest.mark.parametrize("cut", [lambda data: [data], bytewise], ids=["whole", "byte by byte"])
def test_what_is_no_response(data: bytes, cut: Callable[[bytes], list[bytes]]) -> None:
    """What is no HTTP response, or one of ambiguous framing, is said to be invalid, however it is cut."""
    with pytest.raises(AppInvalid):
        hear(cut(data))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x15\x03\x03\x00\x02\x02\x46", "the app speaks TLS itself, and plain HTTP is wanted"),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "the app speaks HTTP/2 alone, and HTTP/1.1 is wanted"),
        (b"220 mail.example ESMTP\r\n", "what the app says is not HTTP/1.1"),
    ],
)
def test_another_protocol_is_named(data: bytes, said: str) -> None:
    """An operator who has given the wrong port is told what answers there."""
    with pytest.raises(AppInvalid) as refused:
        hear([data])
    assert str(refused.value) == said


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("rest", [b"2\nlo\n0\n\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nlo"])
def test_odd_chunks_behind_what_was_handed_on(rest: bytes) -> None:
    """What is no chunk ends the response."""
    with pytest.raises(AppInvalid):
        hear([CHUNKED + b"3\r\nhel\r\n", rest])


def test_a_response_in_place_of_a_chunk() -> None:
    """What stands where the first chunk is due is a chunk or nothing: it can't be taken for a head."""
    with pytest.raises(AppInvalid):
        hear([CHUNKED, OK + b"Content-Length: 6\r\n\r\nforged"])


@pytest.mark.parametrize("trailer", [b"X: " + b"y" * 1000, b"X:", b"Content-Length: 1"])
def test_trailers_are_bounded(trailer: bytes) -> None:
    """Trailers without end are given up, as heads are, be they small or such as are dropped; and soon."""
    with pytest.raises(AppInvalid):
        hear([CHUNKED + b"0\r\n", *[(trailer + b"\r\n") * 100] * 1000])


@pytest.mark.parametrize("fold", [b"\r\n\t", b"\r\n   ", b"\n "])
def test_a_fold_becomes_white_space(fold: bytes) -> None:
    """A value over several lines is one on the way on: it can't begin another line (RFC 9112 section 5.2)."""
    heard = hear([OK + b"X: a" + fold + b"b\r\nContent-Length: 0\r\n\r\n"])
    name, value = heard.fields[0]
    assert (name, value.split()) == (b"X", [b"a", b"b"])
    assert not set(value) & set(b"\r\n")


@pytest.mark.parametrize("data", [OK + b"X: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"])
def test_no_value_carries_an_end_of_line(data: bytes) -> None:
    """A bare CR, which another reader may take for the end of a line, is refused or made harmless."""
    with contextlib.suppress(AppInvalid):
        assert all(b"\r" not in value and b"\n" not in value for _, value in hear([data]).fields)


def test_a_head_has_a_bound() -> None:
    """A head that does not end is given up above MAX_HEAD; one of just that size is read."""
    start, end = OK + b"X: ", b"\r\nContent-Length: 0\r\n\r\n"
    fits = start + b"x" * (ResponseReader.MAX_HEAD - len(start) - len(end)) + end
    assert hear([fits[:1000], fits[1000:-1], fits[-1:]]).status == 200
    with pytest.raises(AppInvalid):
        hear([start, *[b"x" * 65536] * 5])


def test_interims_are_bounded() -> None:
    """An app that never comes to its final response is given up as well."""
    with pytest.raises(AppInvalid):
        hear([b"HTTP/1.1 102 Processing\r\n\r\n" * 1000] * 20)


def outcome(pieces: Sequence[bytes]) -> Heard | str:
    """What is heard, or what is said against it."""
    try:
        return hear(pieces)
    except AppInvalid as fault:
        return fault.detail


KNOWN = OK + b"Date: x\r\nContent-Length: 5\r\n\r\n"
REPEATED = [
    *[row[1] for row in RESPONSES],
    *SURPLUS,
    *INVALID,
    *[
        KNOWN + body
        for body in (b"hello", b"hello\r\n", b"hello\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", b"hellohello", b"hell", b"")
    ],
    b"\r\n\r\n" + KNOWN + b"hello",
    b"HTTP/1.1 100 x\r\n\r\n" + KNOWN + b"hello",
    OK + b"X: " + KNOWN + b"hello",
]


@pytest.mark.parametrize("data", REPEATED)
def test_what_has_come_before_is_read_as_the_first_time(data: bytes) -> None:
    """A head that is known is read as it was when it was parsed, wherever its reads are cut."""
    cuts = [[data], bytewise(data), *[[data[:at], data[at:]] for at in range(1, min(len(data), 200))]]
    whole = outcome([data])
    for known in (data, KNOWN + b"hello"):
        for cut in cuts:
            response_reader._known.clear()
            first = outcome(cut)
            response_reader._known.clear()
            outcome([known])
            assert [outcome(cut), outcome(cut), outcome([data])] == [first, first, whole]


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (KNOWN + b"hello", True),
        (KNOWN, True),
        (b"HTTP/1.1 304 x\r\nETag: y\r\n\r\n", True),
        (OK + b"Set-Cookie: a=b\r\nContent-Length: 0\r\n\r\n", False),
        (OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n", False),
        (OK + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False),
        (OK + b"\r\n", False),
        (OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n", False),
        (OK + b"X: %b\r\nContent-Length: 0\r\n\r\n" % (b"x" * 1000), False),
        (b"HTTP/1.1 102 x\r\n\r\n" + KNOWN + b"hello", False),
        (b"\r\n\r\n" + KNOWN + b"hello", False),
    ],
)
def test_which_heads_are_known(data: bytes, kept: bool) -> None:
    """Those that say all about their response, are nobody's secret, and whose connection goes on."""
    outcome([data])
    assert bool(response_reader._known) is kept
    if kept:
        assert [data.startswith(head) for head in response_reader._known] == [True]


@pytest.mark.parametrize("head", [KNOWN, OK + b"Set-Cookie: a=b\r\nContent-Length: 5\r\n\r\n"])
def test_a_body_with_a_length_is_handed_on_as_it_lies(head: bytes) -> None:
    """Behind its first read it is counted, and not copied; what lies behind it is nobody's."""
    reader = ResponseReader()
    for _ in range(2):
        reader.begin(for_head=False)
        reader.feed(memoryview(head + b"he"))
        reader.chunks = []
        rest = memoryview(b"llo")
        reader.feed(rest)
        (chunk,) = reader.chunks
        assert isinstance(chunk, memoryview)
        assert chunk.obj is rest.obj
        assert (reader.part, reader.reusable) == (DONE_PART, True)
    reader.feed(memoryview(b"!"))
    assert not reader.reusable


def test_an_answer_to_head_is_no_other() -> None:
    """What answers a HEAD request looks like what answers a GET, and has no body."""
    hear([KNOWN], for_head=True)
    assert not response_reader._known
    hear([KNOWN + b"hello"])
    assert hear([KNOWN], for_head=True).whole
    assert not hear([KNOWN]).whole


def test_what_is_known_is_bounded() -> None:
    """An app whose heads are all different fills no memory."""
    for n in range(3000):
        hear([OK + b"N: %d\r\nContent-Length: 0\r\n\r\n" % n])
    assert 0 < len(response_reader._known) <= 1000
