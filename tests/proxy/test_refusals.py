"""Our own answers: each class complete, its words within what the contract and RFC 9209 allow."""

from collections.abc import Iterator

import pytest

from tlsproxy.proxy.refusals import (
    PLAIN_HTTP,
    AppAbsent,
    AppFault,
    AppReset,
    BadRequest,
    ClientFault,
    ClientGone,
    OurLimit,
    Overloaded,
    Refusal,
    TunnelTimeout,
    answer,
    phrase,
)
from tlsproxy.settings import Settings

# Of the contract, as far as there is code for them.
REASONS = {
    "app_refused", "app_timeout", "app_reset", "app_invalid", "app_truncated", "client_gone", "head_too_large",
    "body_too_large", "bad_request", "head_timeout", "body_timeout", "tunnel_timeout", "overloaded", "draining",
    "denied", "misdirected",
}  # fmt: skip
# RFC 9209 section 2.3, those that fit.
ERRORS = {
    "http_request_denied",
    "connection_refused", "connection_terminated", "connection_timeout", "connection_limit_reached",
    "http_response_incomplete", "http_response_timeout", "http_protocol_error", "http_request_error",
}  # fmt: skip


def leaves(kind: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    below = kind.__subclasses__()
    if not below:
        yield kind
    for child in below:
        yield from leaves(child)


ALL = pytest.mark.parametrize("kind", list(leaves()))


@ALL
def test_each_is_complete(kind: type[Refusal]) -> None:
    """Every refusal knows whose fault it is, its status, its reason, its error type and a sentence."""
    assert issubclass(kind, ClientFault | AppFault | OurLimit)
    assert kind.reason in REASONS
    assert kind.error in ERRORS or (kind in {ClientGone, TunnelTimeout} and not kind.error)
    assert kind.text.isascii()
    assert kind.text == kind.text.strip(" .")
    assert kind.__doc__


def test_each_reason_is_used() -> None:
    """No reason of the contract is without a class."""
    assert {kind.reason for kind in leaves()} == REASONS


@ALL
def test_the_status_tells_whose_fault_it_is(kind: type[Refusal]) -> None:
    """A client's fault is a 4xx, everything else is a 5xx."""
    assert kind.status // 100 == (4 if issubclass(kind, ClientFault) else 5)


@ALL
def test_the_variable_exists(kind: type[Refusal]) -> None:
    """The variable that an operator is told to turn is one."""
    if kind.variable:
        assert kind.variable.removeprefix(Settings.PREFIX).lower() in Settings.model_fields


@ALL
def test_a_client_is_told_nothing_of_the_pod(kind: type[Refusal]) -> None:
    """Detail and variable are for the log; the answer names the status, a sentence and the id, on one line."""
    fields, body = answer(kind("10.0.0.1:8080: refused"), b"id-1")
    assert body == b"%d %b: %b (request id id-1)\n" % (kind.status, phrase(kind.status), kind.text.encode())
    assert b"10.0.0.1" not in b"".join(name + value for name, value in fields) + body
    assert b"TLSPROXY" not in body


def test_an_answer() -> None:
    """Plain text of a known length that nobody caches, with the reason as RFC 9209 says it and the id."""
    fields, body = answer(AppReset(), b"id-1")
    assert fields == [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", b"%d" % len(body)),
        (b"Cache-Control", b"no-store"),
        (b"Proxy-Status", b"tlsproxy; error=connection_terminated"),
        (b"X-Request-ID", b"id-1"),
    ]


@pytest.mark.parametrize("kind", [AppAbsent, Overloaded])
def test_who_may_come_again_is_told_when(kind: type[Refusal]) -> None:
    """A 503 says after how many seconds to try again."""
    assert kind.status == 503
    assert (b"Retry-After", b"%d" % kind.retry_after) in answer(kind(), b"")[0]


def test_detail_is_what_it_was_made_with() -> None:
    """The log's detail may be empty."""
    assert BadRequest("Host 'x'").detail == "Host 'x'"
    assert BadRequest().detail == ""


@pytest.mark.parametrize(("status", "expected"), [(200, b"OK"), (404, b"Not Found"), (499, b""), (999, b"")])
def test_phrases(status: int, expected: bytes) -> None:
    """A status without a phrase has an empty one."""
    assert phrase(status) == expected


def test_the_answer_to_plain_http_is_whole() -> None:
    """It is one response that says its length and that the connection ends."""
    head, _, body = PLAIN_HTTP.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert b"Connection: close" in head
    assert b"HTTPS" in body
