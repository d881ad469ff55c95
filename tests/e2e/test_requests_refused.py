"""What is no unambiguous request, or a larger one than allowed, is refused and never reaches the app."""

import gzip
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.messages import Response
from tests.e2e.raw_client import TlsClient, get, post
from tests.e2e.scripted_app import ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

CHUNKED = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
BODY = b"4\r\nbody\r\n0\r\n\r\n"


def assert_refused(client: TlsClient, answer: Response, *statuses: int) -> None:
    """Our refusal, with its marks, and then a clean end of the connection."""
    assert answer.status in statuses
    assert (answer.get(b"Proxy-Status") or b"").startswith(b"tlsproxy; error=http_request_error")
    assert answer.get(b"X-Request-ID")
    assert (answer.get(b"Content-Type") or b"").startswith(b"text/plain")
    assert answer.body.count(b"\n") == 1
    assert answer.get(b"Connection") == b"close"
    assert client.read_to_end() == b""
    assert client.ended == "close_notify"


MALFORMED = {
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two equal Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "a Host with a space": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "a Host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a Host with a user": b"GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
    "a list of Hosts": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "length with coding": CHUNKED + b"Content-Length: 4\r\n\r\n" + BODY,
    "coding with length": CHUNKED.replace(b"Transfer", b"Content-Length: 4\r\nTransfer") + b"\r\n" + BODY,
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
    "a list of lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 5\r\n\r\nbody",
    "a signed length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nbody",
    "a negative length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -4\r\n\r\nbody",
    "a hexadecimal length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n\r\nbody",
    "an empty length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nbody",
    "a length beyond 64 bits": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "an underscored length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\nbody",
    "coding on HTTP/1.0": CHUNKED.replace(b"/1.1", b"/1.0") + b"\r\n" + BODY,
    "an unknown coding": CHUNKED.replace(b"chunked", b"xchunked") + b"\r\n" + BODY,
    "a coding after chunked": CHUNKED.replace(b"chunked", b"chunked, gzip") + b"\r\n" + BODY,
    "a coding before chunked": CHUNKED.replace(b"chunked", b"gzip, chunked") + b"\r\n" + BODY,
    "chunked twice": CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n" + BODY,
    "chunked twice in a list": CHUNKED.replace(b"chunked", b"chunked, chunked") + b"\r\n" + BODY,
    "identity and chunked": CHUNKED + b"Transfer-Encoding: identity\r\n\r\n" + BODY,
    "chunked with a vertical tab": CHUNKED.replace(b"chunked", b"\x0bchunked") + b"\r\n" + BODY,
    "chunked in quotes": CHUNKED.replace(b"chunked", b'"chunked"') + b"\r\n" + BODY,
    "an empty coding": CHUNKED.replace(b"chunked", b"") + b"\r\n" + BODY,
    "a space before the colon": CHUNKED.replace(b"Encoding:", b"Encoding :") + b"\r\n" + BODY,
    "a folded coding": CHUNKED.replace(b": chunked", b":\r\n chunked") + b"\r\n" + BODY,
    "a folded field": b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
    "a space before the first field": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "a field without name": b"GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n",
    "a field without colon": b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "CR in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    "LF for CRLF": b"GET / HTTP/1.1\nHost: a\n\n\r\n\r\n",
    "a method unknown to all": b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a method in lower case": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target with a space": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target with a fragment": b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target with a user": b"GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target without authority": b"GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target that is no path": b"GET nonsense HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target with NUL": b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "an asterisk to GET": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "binary": bytes(range(128, 256)) + b"\r\n\r\n",
    "TLS within TLS": b"\x16\x03\x01\x00\x05hello\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_request_is_a_400(client: TlsClient, app: ScriptedApp, request_bytes: bytes) -> None:
    """What servers might read in different ways (RFC 9112 sections 3 to 7) goes to nobody."""
    assert_refused(client, client.ask(request_bytes), 400, 501)
    assert app.connections == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /\r\n\r\n",
        b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        b"GET / HTTP/11.1\r\nHost: a\r\n\r\n",
        b"GET / ICE/1.0\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_another_version_is_refused(client: TlsClient, app: ScriptedApp, request_bytes: bytes) -> None:
    """Only HTTP/1.1 and HTTP/1.0 are spoken; the preface of HTTP/2 is answered as HTTP/1.1 all the same."""
    assert_refused(client, client.ask(request_bytes), 400, 505)
    assert app.connections == []


def test_connect_is_refused(client: TlsClient, app: ScriptedApp) -> None:
    """This is no forward proxy."""
    assert_refused(client, client.ask(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"), 400, 405, 501)
    assert app.connections == []


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\n",
        b"-1\r\n",
        b"+4\r\nbody\r\n",
        b"0x4\r\nbody\r\n",
        b"4\r\nbodyXX0\r\n\r\n",
        b" 4\r\nbody\r\n",
        b"4\nbody\r\n",
    ],
)
def test_a_garbled_chunk_ends_the_request(client: TlsClient, app: ScriptedApp, chunks: bytes) -> None:
    """A body whose framing breaks is refused, and never looks complete to the app."""
    assert_refused(client, client.ask(CHUNKED + b"\r\n4\r\ngood\r\n" + chunks + b"\r\n"), 400)
    for connection in app.connections:
        assert connection.over.wait(5)
        assert b"0\r\n\r\n" not in connection.raw


def test_a_good_request_before_garbage_is_answered(client: TlsClient, app: ScriptedApp) -> None:
    """A request is judged by itself, not by what follows it in the same packet."""
    client.send(get("/good") + b"garbage\r\n\r\n")
    assert client.read_response().body == b"ok"
    assert_refused(client, client.read_response(), 400)
    assert app.request.target == b"/good"


@pytest.mark.parametrize("cut", [0, 4, 1000, 20000, 32000])
def test_a_long_request_line_is_a_414(client: TlsClient, app: ScriptedApp, cut: int) -> None:
    """A request line above MAX_HEAD, 32 KiB unless set, is refused as such, wherever it was cut."""
    request = get("/" + "x" * 40000)
    client.send(request[:cut], request[cut:])
    assert_refused(client, client.read_response(), 414)
    assert app.connections == []


@pytest.mark.parametrize(
    "fields",
    [["X: " + "x" * 40000], [f"X-{index}: {'x' * 1000}" for index in range(40)], ["X:"] * 10000],
    ids=["one field", "forty fields", "ten thousand fields"],
)
def test_long_fields_are_a_431(client: TlsClient, app: ScriptedApp, fields: list[str]) -> None:
    """A head above MAX_HEAD whose request line is fine is refused for its fields."""
    assert_refused(client, client.ask(get("/", *fields)), 431)
    assert app.connections == []


def test_an_endless_head_is_refused_early(client: TlsClient, app: ScriptedApp) -> None:
    """A head need not end to be too large."""
    assert_refused(client, client.ask(b"GET / HTTP/1.1\r\nX: " + b"x" * 40000), 431)


def test_what_fits_is_forwarded(client: TlsClient, app: ScriptedApp) -> None:
    """Long lines and many fields within MAX_HEAD pass."""
    assert client.get("/", "Cookie: " + "x" * 30000).status == 200
    assert client.get("/", *[f"X-{index}: {index}" for index in range(500)]).status == 200
    assert client.get("/" + "x" * 30000).status == 200


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


@pytest.fixture(scope="module")
def strict_sidecar(launch: Launch, session_app: ScriptedApp) -> Iterator[Sidecar]:
    """A sidecar with small limits."""
    with launch(APP_PORT=session_app.port, MAX_BODY="1k", MAX_HEAD="2k") as process:
        yield process


@pytest.fixture
def strict_client(strict_sidecar: Sidecar, app: ScriptedApp) -> Iterator[TlsClient]:
    """A connection to it."""
    strict_sidecar.forget_lines()
    with strict_sidecar.connect() as connection:
        yield connection


def test_a_large_body_is_a_413(strict_client: TlsClient, app: ScriptedApp, strict_sidecar: Sidecar) -> None:
    """A Content-Length above MAX_BODY is refused before the app hears of it."""
    assert_refused(strict_client, strict_client.ask(post("/", b"x" * 1025)), 413)
    assert app.connections == []
    assert strict_sidecar.wait_for_line(status=413)["reason"] == "body_too_large"


def test_a_large_body_is_refused_before_it_is_sent(strict_client: TlsClient, app: ScriptedApp) -> None:
    """A client that expects 100 is told 413 instead."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\nExpect: 100-continue\r\n\r\n"
    assert_refused(strict_client, strict_client.ask(head), 413)
    assert app.connections == []


def test_a_chunked_body_that_grows_too_large_is_a_413(strict_client: TlsClient, app: ScriptedApp) -> None:
    """A chunked body is refused when it crosses MAX_BODY, and never looks complete to the app."""
    strict_client.send(CHUNKED + b"\r\n400\r\n" + b"x" * 1024 + b"\r\n")
    assert_refused(strict_client, strict_client.ask(b"1\r\nx\r\n0\r\n\r\n"), 413)
    for connection in app.connections:
        assert connection.over.wait(5)
        assert b"0\r\n\r\n" not in connection.raw


@pytest.mark.parametrize(
    "request_bytes", [post("/", b"x" * 1024), CHUNKED + b"\r\n400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n"]
)
def test_a_body_that_just_fits_is_forwarded(strict_client: TlsClient, app: ScriptedApp, request_bytes: bytes) -> None:
    """MAX_BODY itself is allowed."""
    assert strict_client.ask(request_bytes).status == 200
    assert app.request.body == b"x" * 1024


def test_the_limit_of_the_head_may_be_set(strict_client: TlsClient, app: ScriptedApp) -> None:
    """MAX_HEAD bounds request line and fields together."""
    assert strict_client.get("/" + "x" * 900, "X: " + "x" * 900).status == 200
    assert_refused(strict_client, strict_client.get("/" + "x" * 900, "X: " + "x" * 1200), 431)


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
