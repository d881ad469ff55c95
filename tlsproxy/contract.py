"""tlsproxy's surface: what a room declares is taken from there, imported when called; the rest stands in tables here.

For the documents and the tests; nothing of it runs while requests are served.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tlsproxy.chassis import documents
from tlsproxy.chassis.documents import Listing, Surface
from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.measures import Measure
from tlsproxy.settings import Settings
from tlsproxy.verbs import WORDS

if TYPE_CHECKING:
    from tlsproxy.proxy.refusals import Refusal

T = TypeVar("T")

EXIT_STATUSES: Mapping[Exit, str] = {
    **documents.EXIT_STATUSES,
    Exit.CERTIFICATE: "no usable certificate within CERT_WAIT",
}
ENDPOINTS: Mapping[str, str] = documents.endpoints(
    started="it listens and has a certificate; does not wait for the app",
    ready="requests should be sent here",
    status="the certificate, the app",
)
PORTS: Mapping[str, str] = {
    "TLSPROXY_LISTEN_PORT": "clients, over TLS",
    "TLSPROXY_ADMIN_PORT": "probes and Prometheus, over plain HTTP",
    "TLSPROXY_REDIRECT_PORT": "clients that are sent to the HTTPS address, over plain HTTP",
}
"""Those that are listened on, by the variable."""
REQUEST_LINE: Mapping[str, str] = {
    "time": "when the request was over, RFC 3339 in UTC",
    "client": "the client's address",
    "method": "as it came",
    "target": "as it came; without its query where LOG_QUERY is off",
    "protocol": "the HTTP version",
    "status": "of the answer; 499 where the client left before it",
    "received": "bytes of the request's body",
    "sent": "bytes of the response's body",
    "duration": "seconds from the end of the head to the end of the answer",
    "app_duration": "seconds of these since the app was given the request",
    "tls": "the TLS version",
    "cipher": "the cipher suite",
    "sni": "the name that the client asked for",
    "client_cert": "whose certificate the client has shown, its subject as in RFC 4514; null where it has shown none",
    "request_id": "as in X-Request-ID",
    "user_agent": "as it came",
    "referer": "as it came; without its query where LOG_QUERY is off",
    "reason": "why the answer is the sidecar's and not the app's, or why it is not whole; one of those below",
}
SIGNALS: Mapping[str, str] = {
    **documents.SIGNALS,
    "SIGTERM": "drain, then exit status 0; a second one stops at once",
    "SIGHUP": "look at the certificate files at once",
    "SIGUSR2": "replace the workers, one after another, without losing a request; with one process nothing",
}
FIELDS_TO_THE_APP: Mapping[str, str] = {
    "X-Forwarded-For": "the client's address, behind those that a trusted proxy gave",
    "X-Real-IP": "the client's address",
    "X-Forwarded-Proto": "`https`, or what a trusted proxy said",
    "X-Forwarded-Host": "the request's Host, or what a trusted proxy said",
    "X-Forwarded-Port": "the port in Host, else EXTERNAL_PORT, or what a trusted proxy said",
    "Forwarded": "the same by RFC 7239",
    "X-Request-ID": "made for each request, or what a trusted proxy said",
    "Client-Cert": "the client's certificate, where it has shown one (RFC 9440)",
    "Client-Cert-Chain": "with CLIENT_CHAIN, by which CAs it was verified (RFC 9440)",
    "X-Forwarded-Client-Cert": "whose certificate it is, as Envoy has it",
}
FIELDS_TO_THE_CLIENT: Mapping[str, str] = {
    "X-Request-ID": "as in the request line",
    "Strict-Transport-Security": "with HSTS, where the app sent none",
    "Proxy-Status": "an answer of the sidecar's own, and why (RFC 9209)",
    "Retry-After": "with a 503: seconds",
    "Content-Type": "of an answer of the sidecar's own",
    "Content-Length": "of an answer of the sidecar's own",
    "Cache-Control": "of an answer of the sidecar's own: `no-store`",
    "Location": "of the redirect port: the HTTPS address",
}
"""Besides the app's own; those that say how long a body is and whether the connection goes on are HTTP's."""


def _labels_by_events() -> dict[str, frozenset[str]]:
    """Those of which a room shows nothing before it has happened."""
    from tlsproxy.proxy.tally import METHODS  # noqa: PLC0415  -- the rooms are loaded for documents only

    return {
        "tlsproxy_requests_total{method}": METHODS | {"other"},
        "tlsproxy_handshakes_total{version}": frozenset({"TLSv1.2", "TLSv1.3"}),
        "tlsproxy_handshakes_total{resumed}": frozenset({"yes", "no"}),
    }


def _measures() -> Iterator[Measure]:
    """What is shown at a scrape, before anything has happened."""
    yield from _measures_of_rooms()
    yield from _measures_of_all()


def _measures_of_rooms() -> Iterator[Measure]:
    from tlsproxy.admission import Admission  # noqa: PLC0415  -- the rooms are loaded for documents only
    from tlsproxy.chassis.app_address import AppAddress  # noqa: PLC0415
    from tlsproxy.chassis.output import lost_measure  # noqa: PLC0415
    from tlsproxy.chassis.pulse import Pulse  # noqa: PLC0415
    from tlsproxy.proxy.limits import Limits, Timeouts  # noqa: PLC0415
    from tlsproxy.proxy.pool import Pool  # noqa: PLC0415
    from tlsproxy.proxy.tally import Tally  # noqa: PLC0415
    from tlsproxy.tls.clients import Clients  # noqa: PLC0415
    from tlsproxy.tls.connection import Acceptor  # noqa: PLC0415
    from tlsproxy.tls.files import find  # noqa: PLC0415
    from tlsproxy.tls.store import Store  # noqa: PLC0415
    from tlsproxy.tls.trust import find_trust  # noqa: PLC0415
    from tlsproxy.tls.trust_store import TrustStore  # noqa: PLC0415

    tally = Tally()
    yield from tally.measures()
    yield from Pool(AppAddress(), Limits(), Timeouts(), tally).measures()
    admission = Admission(1)
    yield from admission.measures()
    store = Store("", lambda: find(Path(), ""), "intermediate")
    yield from store.measures()
    yield from TrustStore(lambda: find_trust(Path()), required=True).measures()
    acceptor = Acceptor(
        lambda: store.context,
        handshake_timeout=1,
        close_timeout=1,
        plain_answer=b"",
        ended=admission.ended,
        clients=Clients("required"),
    )
    yield from acceptor.measures()
    yield lost_measure(0, 0)
    yield from Pulse(1).measures()


def _measures_of_all() -> Iterator[Measure]:
    """What is told of the rooms together, and of the processes."""
    from tlsproxy.serving import CONNECTION_STATES, connections_measure  # noqa: PLC0415  -- as above
    from tlsproxy.sidecar import measures_of_all  # noqa: PLC0415

    yield connections_measure(dict.fromkeys(CONNECTION_STATES, 0))
    yield from measures_of_all(1, 0)


def _listings() -> tuple[Listing, ...]:
    return (
        Listing("request_line", "Fields of a request line", REQUEST_LINE),
        Listing("reasons", "Reasons", dict(sorted(_reasons().items()))),
        Listing("fields_to_the_app", "Header fields that the app is sent", FIELDS_TO_THE_APP),
        Listing("fields_to_the_client", "Header fields that clients are sent", FIELDS_TO_THE_CLIENT),
    )


def _reasons() -> dict[str, str]:
    """What clients are told, with the status and the error type of Proxy-Status, by reason of the request line."""
    from tlsproxy.proxy.refusals import Refusal  # noqa: PLC0415

    told: dict[str, list[str]] = {}
    for refusal in _below(Refusal):
        if hasattr(refusal, "status"):
            told.setdefault(refusal.reason, []).append(f"{refusal.text} ({_told(refusal)})")
    return {reason: "; ".join(texts) for reason, texts in told.items()}


def _told(refusal: "type[Refusal]") -> str:
    """The status, and the error type of Proxy-Status where an answer is sent."""
    return f"{refusal.status}, {refusal.error}" if refusal.error else f"{refusal.status}, in the log alone"


def _below(top: type[T]) -> Iterator[type[T]]:
    for below in top.__subclasses__():
        yield below
        yield from _below(below)


SURFACE = Surface(
    settings=Settings,
    words=WORDS,
    exit_statuses=EXIT_STATUSES,
    ports=PORTS,
    endpoints=ENDPOINTS,
    signals=SIGNALS,
    measures=_measures,
    labels_by_events=_labels_by_events,
    # What the app or the operator chooses.
    free_labels=frozenset({"name", "code"}),
    more=_listings,
)
