"""What is no unambiguous request is refused and never reaches the app (which: tests/corpus); how that looks."""

import gzip

import pytest

from tests.e2e.raw_client import TlsClient, get, post
from tests.e2e.refusal import CHUNKED, assert_refused
from tests.e2e.scripted_app import ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar


def test_http_0_9_is_refused_at_once(client: TlsClient, app: ScriptedApp) -> None:
    """Its request has one line and no fields: nothing more is waited for."""
    assert_refused(client, client.ask(b"GET /\r\n"), 400)
    assert app.connections == []


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
    answer = client.ask(b"HEAD / HTTP/1.1\r\nHost: a b\r\n\r\n", "HEAD")
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
