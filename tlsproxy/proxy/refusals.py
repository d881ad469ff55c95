"""Every answer that is ours and not the app's, and every way in which an exchange can fail.

The tree, by whose fault it is:

    Refusal
    +-- ClientFault     BadRequest, MethodRefused, HeadTimeout, BodyTimeout, BodyTooLarge,
    |                   TargetTooLong, FieldsTooLarge, Misdirected, ClientDenied,
    |                   CertificateMissing, ClientGone, TunnelTimeout
    +-- AppFault        AppRefused, AppAbsent, AppConnectTimeout, AppTimeout, AppReset,
    |                   AppInvalid, AppTruncated
    +-- OurLimit        Overloaded, Draining

Each class knows its status, the `reason` of the request line, the error type of RFC 9209 (section 2.3)
and the variable that governs it. Other libraries' errors are translated to these at the edge of their room.
"""

from http import HTTPStatus
from typing import ClassVar


class Refusal(Exception):  # noqa: N818 - an answer to a client, not an error of ours
    """An answer of ours: raised, or handed to the exchange that fails."""

    status: ClassVar[int]
    """The status sent, or logged where nothing can be sent any more."""
    reason: ClassVar[str]
    """As in the request line and the metrics' labels."""
    error: ClassVar[str]
    """Proxy-Status error type (RFC 9209 section 2.3); empty where none is sent."""
    text: ClassVar[str]
    """One sentence for the client; it names no address and no variable of the pod."""
    variable: ClassVar[str] = ""
    """What the operator would turn, for the log."""
    retry_after: ClassVar[int] = 0
    """Seconds for Retry-After; 0 sends none."""

    @property
    def detail(self) -> str:
        """What exactly went wrong, for the log; may be empty."""
        return str(self)


class ClientFault(Refusal):
    """The client asked for what cannot be, or stopped half-way."""

    error = "http_request_error"


class BadRequest(ClientFault):
    """Not one HTTP/1.1 request that every parser reads alike."""

    status, reason = 400, "bad_request"
    text = "the request is not valid HTTP/1.1"


class MethodRefused(ClientFault):
    """CONNECT: this is no forward proxy."""

    status, reason = 405, "bad_request"
    text = "the method is not served here"


class HeadTimeout(ClientFault):
    """A head that began and did not end in time."""

    status, reason = 408, "head_timeout"
    text = "the request head took too long"
    variable = "TLSPROXY_HEAD_TIMEOUT"


class BodyTimeout(ClientFault):
    """A body that stopped coming, or a client that stopped reading."""

    status, reason = 408, "body_timeout"
    text = "the request body stopped coming"
    variable = "TLSPROXY_BODY_TIMEOUT"


class BodyTooLarge(ClientFault):
    """A body above the limit, announced or sent."""

    status, reason = 413, "body_too_large"
    text = "the request body is too large"
    variable = "TLSPROXY_MAX_BODY"


class TargetTooLong(ClientFault):
    """A request line above the limit of the head."""

    status, reason = 414, "head_too_large"
    text = "the request target is too long"
    variable = "TLSPROXY_MAX_HEAD"


class Misdirected(ClientFault):
    """A request for a host that its connection is not for (RFC 9110 section 15.5.20)."""

    status, reason = 421, "misdirected"
    text = "this connection is not for that host"
    variable = "TLSPROXY_SNI_STRICT"


class FieldsTooLarge(ClientFault):
    """A head above its limit."""

    status, reason = 431, "head_too_large"
    text = "the request header fields are too large"
    variable = "TLSPROXY_MAX_HEAD"


class ClientDenied(ClientFault):
    """A client whose certificate is verified, and that no rule lets in."""

    status, reason, error = 403, "denied", "http_request_denied"
    text = "the client certificate is not allowed here"
    variable = "TLSPROXY_CLIENT_ALLOW"


class CertificateMissing(ClientFault):
    """A client that has shown no certificate, on a path that is not free of it."""

    status, reason, error = 403, "denied", "http_request_denied"
    text = "a client certificate is needed here"
    variable = "TLSPROXY_CLIENT_EXEMPT"


class ClientGone(ClientFault):
    """The client left before its answer was whole; 499 is nginx's status for it, logged and never sent."""

    status, reason, error = 499, "client_gone", ""
    text = "the client has left"


class TunnelTimeout(ClientFault):
    """A tunnel through which nothing has passed for too long; logged and never sent."""

    status, reason, error = 408, "tunnel_timeout", ""
    text = "nothing has passed for too long"
    variable = "TLSPROXY_TUNNEL_TIMEOUT"


class AppFault(Refusal):
    """The app did not do its part."""


class AppRefused(AppFault):
    """No connection to the app, and requests are not held."""

    status, reason, error = 502, "app_refused", "connection_refused"
    text = "the app cannot be reached"
    variable = "TLSPROXY_APP_PORT"


class AppAbsent(AppFault):
    """No connection to the app for as long as a request is held."""

    status, reason, error = 503, "app_refused", "connection_refused"
    text = "the app cannot be reached yet"
    variable = "TLSPROXY_APP_WAIT"
    retry_after = 3


class AppConnectTimeout(AppFault):
    """An attempt to connect that was neither taken nor refused."""

    status, reason, error = 504, "app_timeout", "connection_timeout"
    text = "the app did not accept the connection in time"
    variable = "TLSPROXY_CONNECT_TIMEOUT"


class AppTimeout(AppFault):
    """No response head, or no next piece of the body, in time."""

    status, reason, error = 504, "app_timeout", "http_response_timeout"
    text = "the app did not answer in time"
    variable = "TLSPROXY_RESPONSE_TIMEOUT"


class AppReset(AppFault):
    """The app closed the connection before it answered."""

    status, reason, error = 502, "app_reset", "connection_terminated"
    text = "the app closed the connection without an answer"


class AppInvalid(AppFault):
    """What the app answered is not one HTTP response."""

    status, reason, error = 502, "app_invalid", "http_protocol_error"
    text = "the app's answer is not valid HTTP"


class AppTruncated(AppFault):
    """The app closed the connection inside its response: the client's connection is cut, so that it shows."""

    status, reason, error = 502, "app_truncated", "http_response_incomplete"
    text = "the app's answer is incomplete"


class OurLimit(Refusal):
    """A bound of ours, reached."""


class Overloaded(OurLimit):
    """A request that waited in vain for its turn with the app."""

    status, reason, error = 503, "overloaded", "connection_limit_reached"
    text = "too many requests are waiting for the app"
    variable = "TLSPROXY_APP_CONNECTIONS"
    retry_after = 1


class Draining(OurLimit):
    """A request that was still under way when the time for draining was over."""

    status, reason, error = 503, "draining", "http_request_denied"
    text = "the service is stopping"
    variable = "TLSPROXY_DRAIN_TIMEOUT"
    retry_after = 1


def phrase(status: int) -> bytes:
    """The reason phrase of a status (RFC 9110 section 15), empty for one that has none."""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


def answer(refusal: Refusal, request_id: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Fields and body of the answer that a client gets: one line of plain text.

    Args:
        refusal: what went wrong.
        request_id: by which its line is found.
    """
    line = b"%d %b: %b" % (refusal.status, phrase(refusal.status), refusal.text.encode())
    body = b"%b (request id %b)\n" % (line, request_id)
    fields = [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", b"%d" % len(body)),
        (b"Cache-Control", b"no-store"),
        (b"Proxy-Status", b"tlsproxy; error=%b" % refusal.error.encode()),
        (b"X-Request-ID", request_id),
    ]
    if refusal.retry_after:
        fields.append((b"Retry-After", b"%d" % refusal.retry_after))
    return fields, body


_ADVICE = b"400 Bad Request: this port speaks HTTPS, and the request came in plain HTTP\n"
PLAIN_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
    b"Proxy-Status: tlsproxy; error=http_request_error\r\nConnection: close\r\n\r\n%b"
) % (len(_ADVICE), _ADVICE)
"""The whole answer for a client that speaks plain HTTP to the TLS port."""
