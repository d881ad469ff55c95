"""What is no unambiguous request is refused and never reaches the app, nor what comes behind it."""

import gzip

import pytest

from tests.e2e.raw_client import TlsClient, get, post
from tests.e2e.refusal import CHUNKED, assert_refused, cut_body
from tests.e2e.scripted_app import ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

BODY = b"4\r\nbody\r\n0\r\n\r\n"


def head(*lines: bytes, start: bytes = b"GET / HTTP/1.1") -> bytes:
    """A request head with a Host and these lines."""
    return b"\r\n".join([start, b"Host: a", *lines, b"", b""])


def coded(coding: bytes, *lines: bytes) -> bytes:
    """A request with that Transfer-Encoding and a chunked body."""
    return head(b"Transfer-Encoding:" + coding, *lines, start=b"POST / HTTP/1.1") + BODY


def sized(*lengths: bytes) -> bytes:
    """A request with these Content-Lengths and a body of four bytes."""
    return head(*(b"Content-Length:" + length for length in lengths), start=b"POST / HTTP/1.1") + b"body"


def hosted(*hosts: bytes, target: bytes = b"/") -> bytes:
    """A request with these Hosts."""
    lines = [b"GET %b HTTP/1.1" % target, *(b"Host:" + host for host in hosts), b"", b""]
    return b"\r\n".join(lines)


CODINGS = [
    # Transfer-Encoding as one parser may read it and another not
    *[b"", b" ", b" xchunked", b" chunkedx", b" identity", b" gzip", b' "chunked"', b" chunked;q=1", b" chunked cow"],
    *[b" chunked, gzip", b" gzip, chunked", b" chunked, chunked", b" identity, chunked", b" chunked,", b" ,chunked"],
    *[b"\x0bchunked", b" chunked\x0b", b" \x0cchunked", b" \xa0chunked", b" chunked\xff", b" chunked\0", b" chun\0ked"],
    *[b"\r\n chunked", b" chunked\r\n ", b" chunked,\r\n\tchunked", b"\n chunked", b"\rchunked"],
]
LENGTHS = [
    *[
        b"",
        b" ",
        b" +4",
        b" -4",
        b" 0x4",
        b" 1_0",
        b" 4.0",
        b" 4e0",
        b" 4 4",
        b" 4;",
        b' "4"',
        b" \xd9\xa4",
        b" \xb2",
        b" four",
    ],
    *[b" 4, 4", b" 4,5", b" 4,", b" ,4", b"\x0b4", b" 4\x0c", b" \xa04", b" 4\0", b"\r\n 4", b" 4\r\n 0"],
    *[
        b" 9223372036854775808",
        b" 18446744073709551615",
        b" 18446744073709551620",
        b" " + b"9" * 40,
        b" " + b"0" * 40 + b"4",
    ],
]
HOSTS = [
    *[
        b"",
        b" ",
        b" a b",
        b" a\tb",
        b" a, b",
        b" a,b",
        b" user@a",
        b" user:secret@a",
        b" a/b",
        b" a?b",
        b" a#b",
        b" a\\b",
    ],
    *[
        b" http://a",
        b" a:http",
        b" a:-1",
        b" a: 80",
        b" a:80:80",
        b" :80",
        b" ::1",
        b" [::1",
        b" [::1]a",
        b" [a]",
        b" []",
    ],
    *[b" [::1%eth0]", b" a%20b", b" a%00", b" \xc3\xa9", b" a\0", b" <a>", b' "a"', b"\r\n a", b" a\r\n b", b"\x0ba"],
]
NAMES = [
    b"X ",
    b"X\t",
    b"X Y",
    b" X",
    b"\tX",
    b"",
    b"X\0",
    b"X\x0b",
    b"X\x7f",
    b"X\xe9",
    b"X\xa0",
    b"X(Y)",
    b"X@",
    b"X/",
    b'"X"',
    b"X[",
]
VALUES = [b"%c" % code for code in (*range(9), *range(10, 32), 127)]
TARGETS = [
    *[
        b"/a b",
        b"/a\tb",
        b"/\0",
        b"/\x7f",
        b"/a\rb",
        b"/a\nb",
        b"/a#b",
        b"/?a#b",
        b"#a",
        b"",
        b"*",
        b"?a",
        b"a",
        b"../a",
        b"\\a",
    ],
    *[
        b"a:443",
        b"[::1]:443",
        b"http:",
        b"http:/a",
        b"http://",
        b"http:///a",
        b"http://a#b",
        b"http://a\\b/",
        b"http://a b/",
    ],
    *[b"http://user@a/", b"http://user:secret@a/", b"http://a:b/", b"http://:80/", b"http://[::1/", b"http://a%2fb/"],
    *[b"http://a,b/", b"file:///a", b"javascript:a", b"1http://a/", b"//a b"],
]
LINES = [
    # the request line itself
    *[
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET / HTTP/1.1\t",
        b"GET\t/ HTTP/1.1",
        b"GET /\tHTTP/1.1",
    ],
    *[b" GET / HTTP/1.1", b"\rGET / HTTP/1.1", b"\r\rGET / HTTP/1.1", b"\r\n GET / HTTP/1.1", b"\0GET / HTTP/1.1"],
    *[b"GET/HTTP/1.1", b"GET / / HTTP/1.1", b'"GET / HTTP/1.1"', b"\xef\xbb\xbfGET / HTTP/1.1", b"HTTP/1.1 200 OK"],
    *[b"FOO / HTTP/1.1", b"get / HTTP/1.1", b"G\0T / HTTP/1.1", b"G@T / HTTP/1.1", b"PRI / HTTP/1.1", b" / HTTP/1.1"],
    *[b"OPTIONS ** HTTP/1.1", b"POST * HTTP/1.1", b"nonsense", b"\xff\xfe", b"*1", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2"],
]
VERSIONS = [
    *[
        b"HTTP/0.9",
        b"HTTP/1.2",
        b"HTTP/1.10",
        b"HTTP/01.1",
        b"HTTP/1.01",
        b"HTTP/2.0",
        b"HTTP/2",
        b"HTTP/3.0",
        b"HTTP/11.1",
    ],
    *[
        b"HTTP/1",
        b"HTTP/1.",
        b"HTTP/1.1.1",
        b"HTTP/1,1",
        b"HTTP/1.1x",
        b"HTTP/-1.1",
        b"HTTP/ 1.1",
        b"HTTP1.1",
        b"http/1.1",
    ],
    *[b"HTTPS/1.1", b"ICE/1.0", b"RTSP/1.0", b"SIP/2.0", b"HTTP/1.1\0", b"HTTP/1.1\r", b"HTTP"],
]
MALFORMED = [
    head(b"Content-Length: 4", b"Transfer-Encoding: chunked") + BODY,
    coded(b" chunked", b"Content-Length: 4"),
    coded(b" chunked", b"Content-Length: 0"),
    coded(b" chunked", b"Transfer-Encoding: chunked"),
    coded(b" chunked", b"Transfer-Encoding: identity"),
    coded(b" identity", b"transfer-encoding: chunked"),
    head(b"Transfer-Encoding : chunked") + BODY,
    head(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0") + BODY,
    head(b"Content-Length: 4", b"Transfer-Encoding : chunked") + BODY,
    head(b"Content-Length: 4", b"X: y\nTransfer-Encoding: chunked") + BODY,
    *map(coded, CODINGS),
    *map(sized, LENGTHS),
    sized(b" 4", b" 4"),
    sized(b" 4", b" 5"),
    *map(hosted, HOSTS),
    *(hosted(host, target=b"http://a/") for host in (b"", b" a b", b" user@a", b" a/b")),
    hosted(),
    hosted(target=b"http://a/"),
    hosted(b" a", b" a"),
    hosted(b" a", b" b"),
    hosted(b" a", b""),
    *(head(name + b": 1") for name in NAMES),
    *(head(b"X: a" + value + b"b") for value in VALUES),
    *(head(line) for line in (b"X", b":", b"X: 1\r\n 2", b"X: 1\r\n\t2", b"X: 1\r\n ", b"X:\r\n 1", b" ", b"\0")),
    *(head(start=b"GET %b HTTP/1.1" % target) for target in TARGETS),
    *(head(start=line) for line in LINES),
    *(head(start=b"GET / " + version) for version in VERSIONS),
    b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    b"GET / HTTP/1.1\r\n X: 1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
    b"GET /\r\n",
    b"CONNECT \r\n\r\n",
    b"GET /\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x00\x05hello\r\n\r\n",
]
HOWS = pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])


@pytest.mark.parametrize("request_bytes", MALFORMED, ids=repr)
@HOWS
def test_a_malformed_request_is_a_400(
    client: TlsClient, app: ScriptedApp, request_bytes: bytes, bytewise: bool
) -> None:
    """What servers might read in different ways (RFC 9112 sections 2 to 7) goes to nobody, nor what comes behind it.

    A good request before it is answered: a request is judged by itself.
    """
    data = get("/good") + request_bytes + get("/behind")
    client.send(*(cut_up(data) if bytewise else [data]))
    assert client.read_response().body == b"ok"
    assert_refused(client, client.read_response(), 400)
    assert app.request.target == b"/good"


def cut_up(data: bytes) -> list[bytes]:
    """The data, each byte alone."""
    return [data[at : at + 1] for at in range(len(data))]


def test_http_0_9_is_refused_at_once(client: TlsClient, app: ScriptedApp) -> None:
    """Its request has one line and no fields: nothing more is waited for."""
    assert_refused(client, client.ask(b"GET /\r\n"), 400)
    assert app.connections == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        head(start=b"CONNECT a:443 HTTP/1.1"),
        head(start=b"CONNECT a:443 HTTP/1.0"),
        head(b"Content-Length: 4", start=b"CONNECT a:443 HTTP/1.1") + b"body",
        head(b"Transfer-Encoding: chunked", start=b"CONNECT a:443 HTTP/1.1") + BODY,
        head(start=b"CONNECT a:443 HTTP/1.1") + b"\x16\x03\x01",
    ],
)
def test_connect_is_refused(client: TlsClient, app: ScriptedApp, request_bytes: bytes) -> None:
    """This is no forward proxy; what comes behind is meant for a tunnel and thrown away."""
    assert_refused(client, client.ask(request_bytes + get("/behind")), 405)
    assert app.connections == []


CHUNKS = [
    # a size that is none, or more than another reader can hold
    *[
        b"zz",
        b"",
        b"-1",
        b"+4",
        b"0x4",
        b" 4",
        b"4 ",
        b"4\t",
        b"4_0",
        b"4,",
        b"4.",
        b"4:",
        b"4\0",
        b"\xef\xbc\x94",
        b"4\r",
    ],
    *[b"0" * 16 + b"4", b"1" + b"0" * 15, b"f" * 16, b"1" + b"0" * 16 + b"4", b"0x0", b"-0", b"0 ", b"0" * 17],
    # extensions: what the parser is sure of passes
    *[b"4;", b"4 ;a", b"4;a=\0", b"4;a=\x01", b'4;a="\r\n"', b'4;a="\n"', b"4;a=\n", b"4;a=b\rc", b'4;a="b', b"0;"],
]
FRAMING = [
    # line ends, and what stands between the chunks
    *[b"4\nbody\r\n", b"4\rbody\r\n", b"4\r\nbody\n", b"4\r\nbody\r", b"4\r\nbody0\r\n\r\n", b"4\r\nbodyXX0\r\n\r\n"],
    *[
        b"4\r\nbody!\r\n",
        b"5\r\nbody\r\n",
        b"4\r\nbody\r\n\r\n",
        b"4\r\nbody\r\r\n",
        b"0\n\r\n",
        b"0\n\n",
        b"0\r\n\n",
        b"0\r\n\rX",
    ],
    # trailers
    *[
        b"0\r\n%b\r\n\r\n" % line
        for line in (b"X", b"X : 1", b" X: 1", b": 1", b"X: 1\r\n 2", b"X: \0", b"X: 1\rY: 2", b"X@: 1")
    ],
    *[b"0\r\n%b\r\n\r\n" % line for line in (b"Content-Length: 4", b"Transfer-Encoding: chunked", b"GET / HTTP/1.1")],
    *[b"0\r\nX: 1\n\r\n", b"0\r\nX: 1\n\n", b"0\r\nHost: a\r\nHost: b\r\n\r\n"],
]


@pytest.mark.parametrize("chunks", [*(size + b"\r\nbody\r\n" for size in CHUNKS), *FRAMING], ids=repr)
@HOWS
def test_a_garbled_chunk_ends_the_request(client: TlsClient, app: ScriptedApp, chunks: bytes, bytewise: bool) -> None:
    """A body whose framing breaks is refused, and never looks complete to the app; nothing behind it is read."""
    data = CHUNKED + b"\r\n4\r\ngood\r\n" + chunks + get("/behind")
    client.send(*(cut_up(data) if bytewise else [data]))
    assert_refused(client, client.read_response(), 400)
    for connection in app.connections:
        assert b"/behind" not in cut_body(connection)


@pytest.mark.parametrize(
    ("request_bytes", "status", "reason"),
    [
        (b"nonsense\r\n\r\n", 400, "bad_request"),
        (b"GET /known HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (get("/" + "x" * 40000), 414, "head_too_large"),
        (get("/", "X: " + "x" * 40000), 431, "head_too_large"),
    ],
    ids=["no request", "no Host", "a long line", "long fields"],
)
def test_a_refusal_is_logged(
    client: TlsClient, shared_sidecar: Sidecar, request_bytes: bytes, status: int, reason: str
) -> None:
    """A refused request has a request line with the id that the client was given, and the reason."""
    identifier = client.ask(request_bytes).get(b"X-Request-ID")
    assert identifier
    line = shared_sidecar.wait_for_line(request_id=identifier.decode())
    assert (line["status"], line["reason"], line["client"]) == (status, reason, "127.0.0.1")


def test_a_refused_head_has_no_body(client: TlsClient, app: ScriptedApp) -> None:
    """The answer to a HEAD ends with its head, whoever gives it (RFC 9110 section 9.3.2)."""
    answer = client.ask(hosted(b" a b").replace(b"GET", b"HEAD"), "HEAD")
    assert (answer.status, answer.get(b"Connection")) == (400, b"close")
    assert client.read_to_end() == b""


TRAILERS = b"X-Forwarded-For: 6.6.6.6\r\nClient-Cert: evil\r\nX-Evil: evil\r\n"


@pytest.mark.parametrize("together", [True, False], ids=["in one packet", "one after the other"])
def test_trailers_do_not_leak_into_the_next_request(client: TlsClient, app: ScriptedApp, together: bool) -> None:
    """What follows a chunked body is not taken for a field of any request."""
    requests = [CHUNKED + b"\r\n4\r\nbody\r\n0\r\n" + TRAILERS + b"\r\n", get("/next", "X-Mine: yes")] * 3
    for batch in [b"".join(requests)] if together else requests:
        client.send(batch)
        if not together:
            assert client.read_response().status == 200
    if together:
        assert [client.read_response().status for _ in requests] == [200] * 6
    for request in app.requests:
        assert b"evil" not in request.head.lower()
        assert request.all(b"X-Forwarded-For") == [b"127.0.0.1"]
        assert request.all(b"Client-Cert") == []
    assert [request.get(b"X-Mine") for request in app.requests] == [None, b"yes"] * 3


def test_compressed_bodies_pass_untouched(client: TlsClient, app: ScriptedApp) -> None:
    """Content-Encoding is between client and app: neither body is inflated."""
    packed = gzip.compress(b"x" * 10000)
    app.answer(response(packed, "Content-Encoding: gzip"))
    chunked = CHUNKED + b"Content-Encoding: gzip\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed)
    for request_bytes in (post("/", packed, "Content-Encoding: gzip"), chunked):
        answer = client.ask(request_bytes)
        assert (answer.body, answer.get(b"Content-Encoding")) == (packed, b"gzip")
        assert (app.requests[-1].body, app.requests[-1].get(b"Content-Encoding")) == (packed, b"gzip")


def test_a_broken_compressed_body_passes_too(client: TlsClient, app: ScriptedApp) -> None:
    """A body that only claims to be compressed is no business of ours."""
    assert client.ask(post("/", b"no gzip", "Content-Encoding: gzip")).status == 200
    assert app.request.body == b"no gzip"


@pytest.mark.parametrize("token", ["websocket", "tcp", "something-unknown", "h2c", "TLS/1.0", "websocket2"])
def test_requests_behind_an_upgrade_are_not_lost(client: TlsClient, app: ScriptedApp, token: str) -> None:
    """When the app ignores an Upgrade, what follows in the same packet is answered."""
    client.send(get("/1", "Connection: Upgrade", f"Upgrade: {token}") + get("/2") + post("/3", b"body"))
    assert [client.read_response().status for _ in range(3)] == [200] * 3
    assert [request.target for request in app.requests] == [b"/1", b"/2", b"/3"]
    assert app.requests[2].body == b"body"


def test_a_body_behind_an_upgrade_is_a_body(client: TlsClient, app: ScriptedApp) -> None:
    """An Upgrade with a body is forwarded with it, and the next request is one again."""
    upgrade = post("/1", b"body", "Connection: Upgrade", "Upgrade: something-unknown")
    client.send(upgrade + get("/2"))
    assert [client.read_response().status for _ in range(2)] == [200] * 2
    assert [(request.target, request.body) for request in app.requests] == [(b"/1", b"body"), (b"/2", b"")]


def test_a_refusal_is_read_by_a_client_that_is_still_sending(client: TlsClient, app: ScriptedApp) -> None:
    """The connection lingers after a refusal, so that no reset overtakes the answer."""
    client.get()
    client.send(b"FOO / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
    client.wait_readable()
    client.send(*[b"x" * 16384] * 20)
    assert_refused(client, client.read_response(), 400)
