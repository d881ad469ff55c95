"""A request larger than allowed is refused with the status that says which limit, at its edge and not before."""

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.raw_client import TlsClient, get, post
from tests.e2e.refusal import CHUNKED, assert_refused, cut_body
from tests.e2e.scripted_app import ScriptedApp
from tests.e2e.sidecar_process import Sidecar

MAX_HEAD, MAX_BODY = 2048, 1024


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


def head_of(size: int) -> bytes:
    """A request head of exactly so many bytes, most of them in a field."""
    return get("/", "X: " + "x" * (size - len(get("/", "X: "))))


def line_of(size: int) -> bytes:
    """A request whose request line takes exactly so many bytes."""
    return get("/" + "x" * (size - len("GET / HTTP/1.1\r\n")))


def chunked(body: bytes) -> bytes:
    """A chunked request with that body in one chunk."""
    return CHUNKED + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


# ---------------------------------------------------------------------------- heads


@pytest.mark.parametrize("cut", [0, 1, 100, 2000, MAX_HEAD])
def test_a_head_of_max_head_is_the_largest(strict_client: TlsClient, app: ScriptedApp, cut: int) -> None:
    """MAX_HEAD bounds request line and fields together, wherever they are cut; one byte more is a 431."""
    for request in (head_of(MAX_HEAD), head_of(MAX_HEAD + 1)):
        strict_client.send(request[:cut], request[cut:])
        if len(request) == MAX_HEAD:
            assert strict_client.read_response().status == 200
    assert_refused(strict_client, strict_client.read_response(), 431)
    assert len(app.requests) == 1


@pytest.mark.parametrize("cut", [0, 4, 1000, MAX_HEAD, MAX_HEAD + 1])
@pytest.mark.parametrize(("size", "status"), [(MAX_HEAD, 431), (MAX_HEAD + 1, 414), (3 * MAX_HEAD, 414)])
def test_a_request_line_above_max_head_is_a_414(
    strict_client: TlsClient, app: ScriptedApp, size: int, status: int, cut: int
) -> None:
    """Where the request line alone is too long its target is to blame, else the fields are."""
    request = line_of(size)
    strict_client.send(request[:cut], request[cut:])
    assert_refused(strict_client, strict_client.read_response(), status)
    assert app.connections == []


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (get("/" + "x" * 40000), 414),
        (b"GET /" + b"x" * 40000, 414),
        (get("/", "X: " + "x" * 40000), 431),
        (get("/", *[f"X-{index}: {'x' * 1000}" for index in range(40)]), 431),
        (get("/", *["X:"] * 10000), 431),
        (get("/", *["X:"] * 1000), 431),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 40000, 431),
    ],
    ids=[
        "a long line",
        "an endless line",
        "a long field",
        "forty fields",
        "ten thousand fields",
        "1001 fields",
        "an endless field",
    ],
)
def test_the_limits_of_the_head_that_are_not_set(
    client: TlsClient, app: ScriptedApp, request_bytes: bytes, status: int
) -> None:
    """Unless set, a head has 32 KiB and a thousand fields; it need not end to be too large."""
    assert_refused(client, client.ask(request_bytes), status)
    assert app.connections == []


def test_what_fits_is_forwarded(client: TlsClient, app: ScriptedApp) -> None:
    """Long lines and many fields within MAX_HEAD pass."""
    assert client.get("/", "Cookie: " + "x" * 30000).status == 200
    assert client.get("/", *[f"X-{index}: {index}" for index in range(999)]).status == 200
    assert client.get("/" + "x" * 30000).status == 200


# ---------------------------------------------------------------------------- bodies


@pytest.mark.parametrize("cut", [0, 80, -500, -4])
@pytest.mark.parametrize("framed", [lambda body: post("/", body), chunked], ids=["length", "chunked"])
def test_a_body_of_max_body_is_the_largest(
    strict_client: TlsClient, app: ScriptedApp, framed: Callable[[bytes], bytes], cut: int
) -> None:
    """MAX_BODY itself is allowed, one byte more is a 413; framing does not count."""
    for size in (MAX_BODY, MAX_BODY + 1):
        request = framed(b"x" * size)
        strict_client.send(request[:cut], request[cut:])
        if size == MAX_BODY:
            assert strict_client.read_response().status == 200
    assert_refused(strict_client, strict_client.read_response(), 413)
    assert app.requests[0].body == b"x" * MAX_BODY


def test_a_large_body_is_a_413(strict_client: TlsClient, app: ScriptedApp, strict_sidecar: Sidecar) -> None:
    """A Content-Length above MAX_BODY is refused before the app hears of it."""
    assert_refused(strict_client, strict_client.ask(post("/", b"x" * (MAX_BODY + 1))), 413)
    assert app.connections == []
    assert strict_sidecar.wait_for_line(status=413)["reason"] == "body_too_large"


def test_a_large_body_is_refused_before_it_is_sent(strict_client: TlsClient, app: ScriptedApp) -> None:
    """A client that expects 100 is told 413 instead."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\nExpect: 100-continue\r\n\r\n"
    assert_refused(strict_client, strict_client.ask(head), 413)
    assert app.connections == []


def test_a_chunked_body_that_grows_too_large_is_a_413(strict_client: TlsClient, app: ScriptedApp) -> None:
    """A chunked body is refused when it crosses MAX_BODY, and never looks complete to the app."""
    strict_client.send(CHUNKED + b"\r\n400\r\n" + b"x" * MAX_BODY + b"\r\n")
    assert_refused(strict_client, strict_client.ask(b"1\r\nx\r\n0\r\n\r\n"), 413)
    for connection in app.connections:
        cut_body(connection)


@pytest.mark.parametrize(("extra", "status"), [(0, 200), (1, 431)])
@pytest.mark.parametrize(
    ("before", "after"),
    [(b"1;", b"\r\nx\r\n0\r\n\r\n"), (b"0\r\nX: ", b"\r\n\r\n")],
    ids=["an extension", "a trailer"],
)
@pytest.mark.parametrize("cut", [0, 1000])
def test_what_frames_chunks_is_no_larger_than_a_head(
    strict_client: TlsClient, app: ScriptedApp, before: bytes, after: bytes, extra: int, status: int, cut: int
) -> None:
    """Extensions and trailers, which nobody is told of, are bounded like a head, wherever they are cut."""
    framing = len(before) + (2 if before[:1] == b"1" else 4)
    body = before + b"x" * (MAX_HEAD - framing + extra) + after
    strict_client.send(CHUNKED + b"\r\n" + body[:cut], body[cut:])
    answer = strict_client.read_response()
    if status == 200:
        assert answer.status == 200
        # A request of the test before, refused in its body, may come late.
        assert not any(b"xx" in request.head + request.body for request in app.requests)
    else:
        assert_refused(strict_client, answer, status)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 3000, 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n", 413),
        (CHUNKED + b"\r\n1000000\r\n" + b"x" * 2000, 413),
    ],
    ids=["head", "length", "chunked"],
)
def test_a_client_that_is_still_sending_reads_why(
    strict_client: TlsClient, app: ScriptedApp, request_bytes: bytes, status: int
) -> None:
    """The connection lingers after the answer, so that no reset overtakes it."""
    strict_client.send(request_bytes)
    strict_client.wait_readable()
    strict_client.send(*[b"x" * 16384] * 60)
    assert_refused(strict_client, strict_client.read_response(), status)
