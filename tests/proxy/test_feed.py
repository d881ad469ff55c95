"""Requests from bytes: what is used of aiohttp's parser, where input is cut, and where its limits lie."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import aiohttp.http
import pytest
from aiohttp import http_parser
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from tlsproxy.proxy import feed as feed_module
from tlsproxy.proxy.feed import Feed, check_parser
from tlsproxy.proxy.limits import Limits
from tlsproxy.proxy.refusals import BadRequest, BodyTooLarge, FieldsTooLarge, Refusal, TargetTooLong

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST_HEAD = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"
CHUNKED_HEAD = b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@dataclass
class Message:
    """A request as it came out."""

    method: str
    target: str
    names: list[bytes]
    body: bytes = b""
    whole: bool = False


@dataclass
class Reading:
    """A feed that is given pieces and gathers messages, as a connection would."""

    feed: Feed
    messages: list[Message] = field(default_factory=list)

    def give(self, *pieces: bytes) -> None:
        for data in pieces:
            self._give(data)

    def _give(self, data: bytes) -> None:
        while data:
            before = data
            if self.feed.body_expected:
                piece, data = self.feed.body(data)
                self.messages[-1].body += piece
            else:
                request, data = self.feed.head(data)
                if request is not None:
                    names = [name for name, _ in request.raw_fields]
                    self.messages.append(Message(request.method, request.path, names))
            assert before.endswith(data)
            assert len(data) < len(before), "nothing was used"
            if self.messages:
                self.messages[-1].whole = not self.feed.body_expected


def cut_at(data: bytes, at: int | None) -> list[bytes]:
    """The data in two pieces, or whole."""
    return [data] if at is None else [data[:at], data[at:]]


def bytewise(data: bytes) -> list[bytes]:
    return [data[n : n + 1] for n in range(len(data))]


@pytest.fixture
def reading(loop: asyncio.AbstractEventLoop) -> Reading:
    return Reading(Feed(Limits(), loop))


def limited(loop: asyncio.AbstractEventLoop, head: int = 1024, body: int = 0) -> Reading:
    return Reading(Feed(Limits(head=head, body=body), loop))


# ---------------------------------------------------------------------------- what is used of aiohttp


class Owner:
    """Stands where aiohttp expects its own protocol."""

    _reading_paused = False

    def pause_reading(self) -> None: ...

    def resume_reading(self, resume_parser: bool = True) -> None: ...


def parser(loop: asyncio.AbstractEventLoop) -> HttpRequestParser:
    return HttpRequestParser(
        Owner(),  # type: ignore[arg-type]  # what Feed relies on as well: only these members are used
        loop,
        1 << 20,
        max_line_size=1024,
        max_field_size=1024,
        max_headers=100,
        auto_decompress=False,
    )


def test_the_parser_in_c_is_there() -> None:
    """aiohttp was built with its parser in C; start refuses to run without it."""
    check_parser()
    assert aiohttp.http.HttpRequestParser is not http_parser.HttpRequestParserPy, "aiohttp has no parser in C"


def test_the_parser_in_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only the Python twin is left, the error names the way out."""
    monkeypatch.setattr(feed_module, "HttpRequestParser", http_parser.HttpRequestParserPy)
    with pytest.raises(RuntimeError, match="install a wheel"):
        check_parser()


def test_the_parser_takes_its_arguments(loop: asyncio.AbstractEventLoop) -> None:
    """aiohttp's HttpRequestParser is made with the limits and without inflating bodies."""
    try:
        parser(loop)
    except TypeError as error:
        pytest.fail(f"the arguments of aiohttp's HttpRequestParser have changed: {error}")


def test_feed_data_gives_messages_upgraded_tail(loop: asyncio.AbstractEventLoop) -> None:
    """feed_data returns (messages, upgraded, tail), and a message is (RawRequestMessage, payload)."""
    result = parser(loop).feed_data(GET)
    assert len(result) == 3, "feed_data no longer returns (messages, upgraded, tail)"
    ((message, payload),) = result[0]
    used = {"method", "path", "version", "headers", "raw_headers", "should_close", "upgrade", "chunked"}
    assert used <= set(dir(message)), "RawRequestMessage has changed"
    assert (message.method, message.path, tuple(message.version)) == ("GET", "/", (1, 1))
    assert tuple(message.raw_headers) == ((b"Host", b"h"),), "raw_headers no longer holds the bytes as they came"
    assert payload is EMPTY_PAYLOAD, "a request without a body no longer has EMPTY_PAYLOAD"
    assert parser(loop).feed_data(GET[:10])[0] in ([], ()), "an unfinished head no longer gives no message"


def test_a_payload_is_read_without_waiting(loop: asyncio.AbstractEventLoop) -> None:
    """A payload is a StreamReader whose read_nowait gives what has come, and whose is_eof tells the end."""
    reader = parser(loop)
    ((_, payload),) = reader.feed_data(CHUNKED_HEAD)[0]
    assert isinstance(payload, StreamReader), "a chunked body's payload is no StreamReader"
    assert payload.read_nowait(-1) == b"", "read_nowait on an empty payload no longer gives nothing"
    reader.feed_data(b"5\r\nhello\r\n")
    assert payload.read_nowait(-1) == b"hello", "read_nowait no longer gives what has come"
    assert not payload.is_eof()
    reader.feed_data(b"0\r\n\r\n")
    assert payload.is_eof(), "is_eof no longer tells the end of a body that was read"


def test_errors_are_of_the_known_tree(loop: asyncio.AbstractEventLoop) -> None:
    """What the parser raises is caught by what Feed catches, and says what it is about."""
    with pytest.raises(HttpProcessingError):
        parser(loop).feed_data(b"garbage\r\n\r\n")
    with pytest.raises(HttpProcessingError, match="Too many headers"):
        parser(loop).feed_data(GET[:-2] + b"a: b\r\n" * 200 + b"\r\n")
    chunked = parser(loop)
    chunked.feed_data(CHUNKED_HEAD)
    with pytest.raises(HttpProcessingError):
        chunked.feed_data(b"zz\r\n")


def test_the_leak_that_the_fresh_parser_cures_is_still_there(loop: asyncio.AbstractEventLoop) -> None:
    """A parser that is used on after trailers tells of them in the next head: no longer so, and Feed may keep it."""
    reader = parser(loop)
    reader.feed_data(CHUNKED_HEAD)
    reader.feed_data(b"0\r\nX-Leak: 1\r\n\r\n")
    ((message, _),) = reader.feed_data(GET)[0]
    assert b"X-Leak" in dict(message.raw_headers), "aiohttp has mended the leak of trailers"


# ---------------------------------------------------------------------------- cutting

PIPELINE: list[tuple[bytes, Message]] = [
    (GET, Message("GET", "/", [b"Host"])),
    (POST_HEAD + b"\r\n\r\n!", Message("POST", "/p", [b"Host", b"Content-Length"], b"\r\n\r\n!")),
    (b"\r\n" + GET, Message("GET", "/", [b"Host"])),
    (
        CHUNKED_HEAD + b"6\r\n\r\n\r\nab\r\n3;ext=1\r\nxyz\r\n0\r\nX-Trailer: 1\r\n\r\n",
        Message("POST", "/c", [b"Host", b"Transfer-Encoding"], b"\r\n\r\nabxyz"),
    ),
    (b"\r\n\r\n" + GET, Message("GET", "/", [b"Host"])),
    (CHUNKED_HEAD + b"0\r\n\r\n", Message("POST", "/c", [b"Host", b"Transfer-Encoding"])),
    (
        b"GET /u HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: unknown\r\n\r\n",
        Message("GET", "/u", [b"Host", b"Connection", b"Upgrade"]),
    ),
    (
        b"POST /v HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok",
        Message("POST", "/v", [b"Host", b"Connection", b"Upgrade", b"Content-Length"], b"ok"),
    ),
    (b"POST /0 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", Message("POST", "/0", [b"Host", b"Content-Length"])),
    (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", Message("OPTIONS", "*", [b"Host"])),
    (GET, Message("GET", "/", [b"Host"])),
]  # fmt: skip
ALL = b"".join(data for data, _ in PIPELINE)
EXPECTED = [Message(m.method, m.target, m.names, m.body, whole=True) for _, m in PIPELINE]


def test_a_pipeline_may_be_cut_anywhere(loop: asyncio.AbstractEventLoop) -> None:
    """Mixed requests give the same messages wherever one read ends and the next begins."""
    for cut in range(len(ALL) + 1):
        reading = Reading(Feed(Limits(), loop))
        reading.give(*cut_at(ALL, cut))
        assert reading.messages == EXPECTED, f"cut at {cut}: {ALL[max(0, cut - 20) : cut]!r}"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 16])
def test_a_pipeline_may_be_dribbled(reading: Reading, size: int) -> None:
    """Reads of any size give the same messages."""
    for start in range(0, len(ALL), size):
        reading.give(ALL[start : start + size])
    assert reading.messages == EXPECTED


def test_an_end_of_head_may_be_cut_twice(loop: asyncio.AbstractEventLoop) -> None:
    """The end is found when each of its four bytes comes alone, between two requests."""
    for first in range(len(GET) - 4, len(GET)):
        for second in range(first, len(GET) + 3):
            reading = Reading(Feed(Limits(), loop))
            both = GET + GET
            reading.give(both[:first], both[first:second], both[second:])
            assert [message.whole for message in reading.messages] == [True, True]


def test_trailers_never_leak(reading: Reading) -> None:
    """What stands in a trailer section is in no request, neither this one nor the next."""
    reading.give(CHUNKED_HEAD + b"1\r\nx\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\nClient-Cert: x\r\n\r\n" + GET)
    assert reading.messages[1].names == [b"Host"]
    assert reading.messages[0].body == b"x"


@pytest.mark.parametrize("token", [b"websocket", b"WebSocket", b"h2c", b"tcp", b"unknown", b"TLS/1.0"])
@pytest.mark.parametrize("together", [False, True])
def test_nothing_behind_an_upgrade_vanishes(reading: Reading, token: bytes, together: bool) -> None:
    """Whether a protocol changes is the app's to say: until then requests follow, known token or not."""
    upgrade = b"GET /u HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: %b\r\n\r\n" % token
    pieces = [upgrade, GET, POST_HEAD + b"hello"]
    reading.give(*([b"".join(pieces)] if together else pieces))
    assert [(message.target, message.body) for message in reading.messages] == [
        ("/u", b""),
        ("/", b""),
        ("/p", b"hello"),
    ]


def test_a_body_is_never_taken_for_a_head(reading: Reading) -> None:
    """A request inside a body is a body, counted or in chunks."""
    reading.give(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (len(GET), GET))
    reading.give(CHUNKED_HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(GET), GET))
    assert [message.body for message in reading.messages] == [GET, GET]


def test_a_good_request_before_garbage_is_read(reading: Reading) -> None:
    """Garbage fails when its turn comes, not before."""
    with pytest.raises(BadRequest):
        reading.give(GET + b"\x16\x03\x01garbage\r\n\r\n")
    assert [message.target for message in reading.messages] == ["/"]


@pytest.mark.parametrize("empty", [b"\r\n", b"\r\n\r\n", b"\n", b"\n\r\n\n", b"\r\n" * 10])
@pytest.mark.parametrize("dribbled", [False, True])
def test_empty_lines_begin_no_request(reading: Reading, empty: bytes, dribbled: bool) -> None:
    """Empty lines before a request line are passed over and count as nothing (RFC 9112 section 2.2)."""
    reading.give(*(bytewise(empty) if dribbled else [empty]))
    assert not reading.feed.in_head
    both = GET + empty + GET
    reading.give(*(bytewise(both) if dribbled else [both]))
    assert len(reading.messages) == 2


@pytest.mark.parametrize("size", [1, 4, 26, 27])
def test_in_head(reading: Reading, size: int) -> None:
    """A head has begun with its first byte, and ended with its last."""
    reading.give(GET[:size])
    assert reading.feed.in_head is (size < len(GET))
    reading.give(GET[size:])
    assert not reading.feed.in_head


def test_announced(reading: Reading) -> None:
    """What is to come of a body with a length is known; a chunked body's is not."""
    reading.give(POST_HEAD)
    assert (reading.feed.body_expected, reading.feed.announced, reading.feed.in_head) == (True, 5, False)
    reading.give(b"12")
    assert reading.feed.announced == 3
    reading.give(b"345")
    assert (reading.feed.body_expected, reading.feed.announced) == (False, 0)
    reading.give(CHUNKED_HEAD)
    assert (reading.feed.body_expected, reading.feed.announced) == (True, 0)


def test_many_chunks_are_read_in_parts(reading: Reading) -> None:
    """Of a read full of small chunks no more is used at one go than takes a moment, and all of it in the end."""
    reading.give(CHUNKED_HEAD)
    count = 3 * feed_module._AT_ONCE
    piece, rest = reading.feed.body(b"1\r\nx\r\n" * count)
    assert (len(piece), len(rest)) == (feed_module._AT_ONCE, 6 * (count - feed_module._AT_ONCE))
    assert reading.feed.body_expected
    reading.give(rest, b"0\r\n\r\n", GET)
    came = [(len(message.body), message.whole) for message in reading.messages]
    assert came == [(count - len(piece), True), (0, True)]


def test_a_chunk_is_read_before_it_is_whole(reading: Reading) -> None:
    """Nothing of a body is waited for."""
    reading.give(CHUNKED_HEAD + b"5\r\nhe")
    assert reading.messages[0].body == b"he"
    reading.give(b"llo")
    assert reading.messages[0].body == b"hello"


def test_chunk_data_full_of_ends_costs_one_feed(reading: Reading) -> None:
    """A read of data that looks like ends of messages is handed on in one piece, and so is the rest of the chunk."""
    reading.give(CHUNKED_HEAD)
    data = b"\r\n" * (1 << 15)
    assert reading.feed.body(b"20000\r\n" + data) == (data, b"")
    assert reading.feed.body(data + b"\r\n0\r\n\r\n" + GET) == (data, GET)
    assert not reading.feed.body_expected


CHUNKED_BODIES = [
    # chunks, what is in them
    (b"0\r\n\r\n", b""),
    (b"00000\r\n\r\n", b""),
    (b"000A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
    (b"0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", b"hello"),
    (b"8\r\n\r\n\r\n\r\n\r\n\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n" * 6),
    (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    (b'5;a;b=c;d="e;0"\r\nhello\r\n0;last=1\r\n\r\n', b"hello"),
    (b"5;%b=1\r\nhello\r\n0\r\n\r\n" % (b"e" * 100), b"hello"),
    (b"5\r\nhello\r\n0\r\nSum: 5\r\n0: 0\r\nLong: %b\r\n\r\n" % (b"x" * 100), b"hello"),
]


@pytest.mark.parametrize(("chunks", "body"), CHUNKED_BODIES)
def test_a_chunked_body_may_be_cut_anywhere(loop: asyncio.AbstractEventLoop, chunks: bytes, body: bytes) -> None:
    """However sizes, extensions, data and trailers are cut, it ends with its last byte, and the next request begins."""
    whole = CHUNKED_HEAD + chunks + GET
    for pieces in (bytewise(whole), *(cut_at(whole, cut) for cut in range(len(CHUNKED_HEAD), len(whole)))):
        reading = Reading(Feed(Limits(), loop))
        reading.give(*pieces)
        assert [(message.body, message.whole) for message in reading.messages] == [(body, True), (b"", True)], pieces


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br"])
def test_bodies_are_not_inflated(reading: Reading, coding: bytes) -> None:
    """A compressed body passes as it is, broken or not."""
    head = CHUNKED_HEAD[:-2] + b"Content-Encoding: %b\r\n\r\n" % coding
    reading.give(head + b"3\r\n\x1f\x8bx\r\n0\r\n\r\n")
    assert reading.messages[0].body == b"\x1f\x8bx"


# ---------------------------------------------------------------------------- what is no request

BAD = [
    b"garbage\r\n\r\n",
    b"\r" + GET,
    b"\r\r" + GET,
    b"\r\n\r" + GET,
    b"\r\n " + GET,
    b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /  HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
    b"GET / RTSP/1.0\r\nHost: h\r\n\r\n",
    b"SOURCE / ICE/1.0\r\nHost: h\r\n\r\n",
    b"GET / HTTP/0.9\r\nHost: h\r\n\r\n",
    b"GET / HTTP/1.2\r\nHost: h\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
    b"GET /\r\n",
    b"CONNECT \r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nX: \0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nX\0: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\n: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\nHost: h\n\n",
    b"GET / HTTP/1.1\r\nHost: h\n\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\n\n" + GET,
    b"GET / HTTP/1.1\r\nHost: h\rX: 1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 00000000000000000005\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9223372036854775808\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %b5\r\n\r\n" % (b"0" * 5000),
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
]
BAD_CHUNKS = [
    b"00000000000000005\r\nhello\r\n",
    b"zz\r\n",
    b"-1\r\n",
    b"0x5\r\nhello\r\n",
    b"5\r\nhelloX",
    b"5\r\nhello\n",
    b"5\nhello\r\n",
    b"\r\n\r\n",
    b"ffffffffffffffffffff\r\n",
    b"0\r\nbad trailer\r\n\r\n",
    b"0\r\nX: 1\r\n\n",
    b"5 \r\nhello\r\n",
    b"+5\r\nhello\r\n",
    b" 5\r\nhello\r\n",
    b"g\r\n",
    b"5;\r\nhello\r\n",
    b"5\r\nhello5\r\nhello\r\n",
    b"5\r\nhello\r\n\r\n",
    b"10000000000000000\r\n",
    b"1000000000000000\r\n",
    b"ffffffffffffffff\r\n",
]


@pytest.mark.parametrize("data", BAD)
@pytest.mark.parametrize("dribbled", [False, True])
def test_no_request(reading: Reading, data: bytes, dribbled: bool) -> None:
    """What two parsers could read differently, or none at all, is refused, however it is cut."""
    with pytest.raises(BadRequest) as refused:
        reading.give(*(bytewise(data) if dribbled else [data]))
    assert reading.messages == []
    assert "\n" not in refused.value.detail


@pytest.mark.parametrize("data", BAD_CHUNKS)
@pytest.mark.parametrize("dribbled", [False, True])
def test_no_chunks(reading: Reading, data: bytes, dribbled: bool) -> None:
    """A body whose chunks are not exactly as they should be is refused, however it is cut."""
    reading.give(CHUNKED_HEAD)
    with pytest.raises(BadRequest):
        reading.give(*(bytewise(data) if dribbled else [data]))
    assert len(reading.messages) == 1


def test_a_chunk_size_has_sixteen_digits_at_most(reading: Reading) -> None:
    """A size that is padded beyond what a reader of 64 bits takes is refused with what comes behind it."""
    reading.give(CHUNKED_HEAD)
    with pytest.raises(BadRequest):
        reading.give(b"0" * 16 + b"5\r\nhello\r\n")


def test_the_detail_holds_nothing_of_the_client(reading: Reading) -> None:
    """The log's detail is the parser's reason alone."""
    with pytest.raises(BadRequest) as refused:
        reading.give(b"GET / HTTP/1.1\r\nHost: h\r\nX: secret\0\r\n\r\n")
    assert refused.value.detail
    assert not re.search("secret", refused.value.detail)


# ---------------------------------------------------------------------------- limits


def head_of(size: int, in_target: int = 0) -> bytes:
    """A request head of exactly so many bytes, some of them in its target."""
    start = b"GET /%b HTTP/1.1\r\nHost: h\r\nX: " % (b"t" * in_target)
    return start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"


CUTS = [None, 1, 10, 500, 1000]


@pytest.mark.parametrize("cut", CUTS)
def test_a_head_of_exactly_the_limit_fits(loop: asyncio.AbstractEventLoop, cut: int | None) -> None:
    """MAX_HEAD is the size that is allowed, wherever the head is cut, again and again."""
    reading = limited(loop)
    for _ in range(3):
        reading.give(*cut_at(head_of(1024), cut))
    assert len(reading.messages) == 3


@pytest.mark.parametrize("cut", CUTS)
def test_one_byte_more_is_too_much(loop: asyncio.AbstractEventLoop, cut: int | None) -> None:
    """Fields that lead beyond the limit are a 431."""
    reading = limited(loop)
    with pytest.raises(FieldsTooLarge):
        reading.give(*cut_at(head_of(1025), cut))


@pytest.mark.parametrize("cut", [*CUTS, 1020, 1024])
@pytest.mark.parametrize("size", [1010, 1100, 3000])
def test_a_request_line_beyond_the_limit_is_told_as_such(
    loop: asyncio.AbstractEventLoop, size: int, cut: int | None
) -> None:
    """A target that leads beyond the limit is a 414, wherever it was cut, and though its line may end in this read."""
    request = b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n" % (b"t" * size)
    reading = limited(loop)
    with pytest.raises(TargetTooLong):
        reading.give(*cut_at(request, cut))


def test_a_head_without_an_end_is_refused_at_the_limit(loop: asyncio.AbstractEventLoop) -> None:
    """No more than the limit is ever kept of a head that does not end."""
    reading = limited(loop)
    reading.give(b"GET /" + b"t" * 1019)
    with pytest.raises(TargetTooLong):
        reading.give(b"t")
    reading = limited(loop)
    reading.give(b"GET / HTTP/1.1\r\nX: " + b"x" * 1005)
    with pytest.raises(FieldsTooLarge):
        reading.give(b"x")


@pytest.mark.parametrize(("fields", "fits"), [(1000, True), (1001, False)])
def test_the_number_of_fields_is_limited(reading: Reading, fields: int, fits: bool) -> None:
    """A thousand fields are enough for everybody."""
    head = b"GET / HTTP/1.1\r\nHost: h\r\n" + b"a: b\r\n" * (fields - 1) + b"\r\n"
    if fits:
        reading.give(head)
        assert len(reading.messages[0].names) == fields
    else:
        with pytest.raises(FieldsTooLarge):
            reading.give(head)


def test_a_chunked_body_has_a_limit(loop: asyncio.AbstractEventLoop) -> None:
    """MAX_BODY is what fits of content, framing not counted; it begins anew with each body."""
    reading = limited(loop, body=10)
    for _ in range(2):
        reading.give(CHUNKED_HEAD + b"5\r\nhello\r\n" * 2 + b"0\r\n\r\n")
    reading.give(CHUNKED_HEAD + b"5\r\nhello\r\n" * 2)
    with pytest.raises(BodyTooLarge):
        reading.give(b"1\r\nx")


def test_a_trailer_section_has_a_limit(loop: asyncio.AbstractEventLoop) -> None:
    """Trailers are kept until their section ends, so there is no more of them than there may be of a head."""
    reading = limited(loop)
    reading.give(CHUNKED_HEAD + b"0\r\n")
    with pytest.raises(Refusal):
        reading.give(*(b"X-%d: %b\r\n" % (n, b"x" * 500) for n in range(20)))


FRAMINGS = [
    # what stands between one chunk's data and the next's, or the end, around a filling; what comes then
    (b"1;", b"\r\n", b"x\r\n"),
    (b"0;", b"\r\n\r\n", b""),
    (b"0\r\nX: ", b"\r\n\r\n", b""),
    (b"0\r\nX: ", b"\r\nY: 1\r\n\r\n", b""),
]


@pytest.mark.parametrize(("before", "after", "then"), FRAMINGS)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize(("total", "fits"), [(1024, True), (1025, False)])
def test_framing_has_a_limit(
    loop: asyncio.AbstractEventLoop, before: bytes, after: bytes, then: bytes, size: int, total: int, fits: bool
) -> None:
    """Extensions and trailers may take as much as a head between one chunk's data and the next's, however cut."""
    reading = limited(loop)
    body = before + b"x" * (total - len(before + after)) + after + then
    reading.give(CHUNKED_HEAD, b"1\r\nx\r\n")
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    if fits:
        reading.give(*pieces)
    else:
        with pytest.raises(FieldsTooLarge):
            reading.give(*pieces)


@pytest.mark.parametrize("limit", [0, 5])
def test_a_body_of_any_size_may_pass(loop: asyncio.AbstractEventLoop, limit: int) -> None:
    """0 is no limit; a length is announced, and whoever reads the announcement judges it."""
    reading = limited(loop, body=limit)
    reading.give(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
    assert reading.feed.announced == 1_000_000


# ---------------------------------------------------------------------------- the same fields again

LINES = (
    b"GET / HTTP/1.1", b"GET /a?b=c HTTP/1.1", b"GET http://other/a HTTP/1.1", b"GET * HTTP/1.1", b"HEAD / HTTP/1.1",
    b"POST / HTTP/1.1", b"get / HTTP/1.1", b"GET / HTTP/1.0", b"GET / HTTP/2.0", b"GET / HTTP/0.9", b"GET /", b"GET",
    b"GET  / HTTP/1.1", b"GET / HTTP/1.1 ", b" GET / HTTP/1.1", b"GET /\xc3\xa4 HTTP/1.1", b"GET /a b HTTP/1.1", b"",
    b"GET / HTTP/1.1\r\nX: y", b"GET / HTTP/1.1\nX: y", b"GET / HTTP/1.1\r\n\r\nGET /2 HTTP/1.1",
    b"\r\nGET /3 HTTP/1.1",
    b"CONNECT h:1 HTTP/1.1", b"PRI * HTTP/1.1", b"GET / RTSP/1.1", b"GET /\r HTTP/1.1", b"GET /\0 HTTP/1.1",
    b"GET //h/a//b HTTP/1.1", b"GET /%zz%C3%A4/../.;a=b,c?d?e=/&f[]=%5B HTTP/1.1", b"GET /a:80@b!$()*+~ HTTP/1.1",
    b"GET ? HTTP/1.1",
    b"GET /" + b"x" * 2000 + b" HTTP/1.1", b"POST / HTTP/1.1\r\nContent-Length: 2", b"GET / HTTP/1.1\r\nHost: a",
)  # fmt: skip
BLOCKS = (
    b"Host: h\r\nX-A: 1\r\n", b"Host: h\r\nConnection: keep-alive\r\nCookie: a=b\r\n",
    b"Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
    b"Host: h\r\nContent-Length: 2\r\n", b"Host: h\r\nContent-Length: 0\r\n",
    b"Host: h\r\nTransfer-Encoding: chunked\r\n", b"",
)  # fmt: skip


def told(feed: Feed, data: bytes) -> tuple[object, ...]:
    """All that can be known of the first request in the data, or why it is none."""
    try:
        request, rest = feed.head(data)
    except Refusal as refusal:
        return type(refusal), refusal.detail
    if request is None:
        return rest, feed.in_head
    shape = (request.method, request.path, request.version, request.should_close, request.chunked)
    return shape, tuple(request.raw_fields), rest, feed.body_expected, feed.announced


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
@pytest.mark.parametrize("line", LINES, ids=lambda line: repr(line[:30]))
def test_a_request_with_the_fields_of_the_one_before_is_read_as_any_other(
    loop: asyncio.AbstractEventLoop, line: bytes, block: bytes
) -> None:
    """Whatever its request line, a head means on a connection that has seen its fields what it means on a fresh one."""
    data = b"%b\r\n%b\r\n" % (line, block)
    limits = Limits(head=1024)
    fresh = told(Feed(limits, loop), data)
    feed = Feed(limits, loop)
    known, _ = feed.head(
        b"GET /before HTTP/1.1\r\nHost: h\r\n\r\n" if not block else b"GET /b HTTP/1.1\r\n%b\r\n" % block
    )
    assert known is not None
    while feed.body_expected:
        feed.body(b"0\r\n\r\n" if known.chunked else b"xx")
    assert told(feed, data) == fresh


@pytest.mark.parametrize("begun", [b"GET /begun HTTP/1.1\r\nA: ", b"GET /begun HTTP/1.1\r\n", b"\r", b"G", b"\r\n"])
def test_what_was_begun_before_is_not_forgotten(loop: asyncio.AbstractEventLoop, begun: bytes) -> None:
    """A read that looks like a request with the same fields is the end of the head that was begun before it."""
    request = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
    fresh, feed = Feed(Limits(), loop), Feed(Limits(), loop)
    feed.head(request)
    for either in (fresh, feed):
        assert told(either, begun)[0] == b""
    assert told(feed, request) == told(fresh, request)


def test_the_same_fields_are_read_once(loop: asyncio.AbstractEventLoop) -> None:
    """A client that repeats its fields gets the request of before with another target, and what it read."""
    feed = Feed(Limits(), loop)
    first, _ = feed.head(b"GET /1 HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n")
    again, _ = feed.head(b"GET /2 HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n")
    other, _ = feed.head(b"GET /2 HTTP/1.1\r\nHost: h\r\nA: c\r\n\r\n")
    assert again is first
    assert again is not None
    assert again.path == "/2"
    assert other is not first


def test_long_heads_are_not_kept(loop: asyncio.AbstractEventLoop) -> None:
    """An idle connection holds 4 KiB of its client's last head at the most."""
    feed = Feed(Limits(), loop)
    head = b"GET / HTTP/1.1\r\nHost: h\r\nA: %b\r\n\r\n" % (b"x" * 4096)
    assert feed.head(head)[0] is not feed.head(head)[0]
