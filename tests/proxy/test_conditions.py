"""What requests have to meet: which are free of a client certificate, and how nearly others are."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.proxy.test_heads import HOST, Head
from tlsproxy.chassis.app_address import AppAddress
from tlsproxy.proxy.conditions import GuardedService, Precondition, certified, directed
from tlsproxy.proxy.exchange import Exchange
from tlsproxy.proxy.fixes import Fixes
from tlsproxy.proxy.forwarding import Forwarding
from tlsproxy.proxy.front import Front, Frontend
from tlsproxy.proxy.heads import Field
from tlsproxy.proxy.journal import Client, Journal
from tlsproxy.proxy.limits import Limits, Timeouts
from tlsproxy.proxy.pool import Pool
from tlsproxy.proxy.refusals import BadRequest, CertificateMissing, ClientDenied, Misdirected
from tlsproxy.proxy.request import Request
from tlsproxy.proxy.tally import Tally
from tlsproxy.proxy.tunnel import Tunnel

EXEMPT = ("/healthz", "/", "/a/b/")


@dataclass(frozen=True)
class Shown:
    """A client's certificate, as the proxy knows it."""

    denied: bool = False
    subject: str = "CN=reports"
    fields: bytes = b"Client-Cert: :AAAA:\r\n"


class Nobody:
    """Who keeps no connection, since none is made."""

    draining = False

    def opened(self, conversation: Front | Tunnel, transport: asyncio.Transport) -> None: ...

    def ended(self, conversation: Front | Tunnel) -> None: ...


class Port:
    """A listener whose requests have to meet conditions; nobody is behind it, since nothing is sent on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.told: list[str] = []
        """Addresses of those who were refused for want of a certificate."""
        self._journal = Journal(Tally())
        self._forwarding = Forwarding()
        self._loop = loop

    def begin(
        self, head: Head, *conditions: Precondition, client: Client | None = None, has_body: bool = False
    ) -> Exchange:
        """The exchange of one request."""
        return self.ask(Request(head), *conditions, client=client, has_body=has_body)

    def ask(
        self, request: Request, *conditions: Precondition, client: Client | None = None, has_body: bool = False
    ) -> Exchange:
        """The same of one that may have been asked before."""
        timeouts = Timeouts()
        pool = Pool(AppAddress(), Limits(), timeouts, self._journal.tally)
        service = GuardedService(pool, Fixes(), timeouts, self._journal, conditions)
        frontend = Frontend(service, self._forwarding, Limits(), timeouts, self._journal, self._loop)
        front = frontend.front(Nobody())
        front.client = client or self.client()
        return service.exchange(front, request, has_body=has_body)

    def client(self, caller: Shown | None = None) -> Client:
        return Client(self._forwarding.peer("192.0.2.1", caller))

    def probe(self, head: Head, caller: Shown | None = None, *, has_body: bool = False) -> Exchange:
        """The same where clients need a certificate on all but a few paths."""
        condition = certified(EXEMPT, self.told.append)
        return self.begin(head, condition, client=self.client(caller), has_body=has_body)


@pytest.fixture
def port() -> Iterator[Port]:
    loop = asyncio.new_event_loop()
    yield Port(loop)
    loop.close()


FREE = [
    Head(path="/healthz"),
    Head(path="/healthz", method="HEAD"),
    Head(path="/healthz?"),
    Head(path="/healthz?verbose=1&x=/../admin"),
    Head(path="/"),
    Head(path="/?x"),
    Head(path="/a/b/"),
    Head(path="http://shop/healthz"),
    Head(path="https://other:8443/healthz?x"),
    Head(path="http://shop"),
    Head(path="http://shop?x=/admin"),
    Head(path="/healthz", version=(1, 0), raw_headers=()),
    Head((HOST, (b"Connection", b"Upgrade"), (b"Upgrade", b"h2c")), "/healthz"),
    Head((HOST, (b"X-Forwarded-Proto", b"https"), (b"X-Probe", b"1"), (b"Cookie", b"a=b")), "/healthz"),
    Head((HOST, (b"Content-Length", b"0")), "/healthz"),
]


@pytest.mark.parametrize("head", FREE)
def test_free_of_a_certificate(port: Port, head: Head) -> None:
    """A path that is listed needs none, whatever the query, the host and the form of the target."""
    port.probe(head)
    assert port.told == []


NEARLY = [
    "/healthz/",
    "/healthz/..",
    "/healthz/../admin",
    "/admin/../healthz",
    "/./healthz",
    "//healthz",
    "//shop/healthz",
    "/healthz;x",
    "/healthz;/../admin",
    "/%68ealthz",
    "/healthz%00",
    "/healthz%2f..%2fadmin",
    "/healthz%3fx",
    "/healthz\\..\\admin",
    "/Healthz",
    "/HEALTHZ",
    "/healthzz",
    "/health",
    "/healthz,/x",
    "/healthz&x",
    "/x/healthz",
    "/x?/healthz",
    "/a/b",
    "/a/b//",
    "/;",
    "/.",
    "//",
    "/%2e",
    "http://shop/healthz/",
    "http://shop//healthz",
    "http://shop/%68ealthz",
    "http://shop/x?/healthz",
    "*",
]


@pytest.mark.parametrize("target", NEARLY)
def test_what_only_resembles_a_path_is_not_it(port: Port, target: str) -> None:
    """Nothing is normalised: what an app might take for a path, or for another one, needs a certificate."""
    with pytest.raises(CertificateMissing):
        port.probe(Head(path=target, method="OPTIONS" if target == "*" else "GET"))
    assert port.told == ["192.0.2.1"]


def test_an_authority_is_no_path(port: Port) -> None:
    """What stands in the authority's place of an absolute target is the host, and what has none is no request."""
    condition = certified(["/healthz"], port.told.append)
    with pytest.raises(CertificateMissing):
        port.begin(Head(path="http://healthz"), condition)
    with pytest.raises(BadRequest):
        port.begin(Head(path="http:///healthz"), condition)


def test_each_request_of_a_connection_is_judged_by_its_own_path(port: Port) -> None:
    """A head that repeats all but its path is remembered, and what one path is free for another is not."""
    request = Request(Head(path="/healthz"))
    condition = certified(EXEMPT, port.told.append)
    port.ask(request, condition)
    request.path = "/admin"
    with pytest.raises(CertificateMissing):
        port.ask(request, condition)


UNLIKE_A_PROBE: list[tuple[Field, ...]] = [
    ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")),
    ((b"X-Original-URL", b"/admin"),),
    ((b"x-rewrite-url", b"/admin"),),
    ((b"X_Original_URL", b"/admin"),),
    ((b"X.ORIGINAL.URI", b"/admin"),),
    ((b"X-HTTP-Method-Override", b"DELETE"),),
    ((b"X-Script-Name", b"/admin"),),
    ((b"SCRIPT_NAME", b"/healthz"),),
    ((b"Path-Info", b"/admin"),),
    ((b"X-Forwarded-Prefix", b"/admin"),),
]


@pytest.mark.parametrize("fields", UNLIKE_A_PROBE)
def test_what_would_lead_elsewhere_is_not_free(port: Port, fields: tuple[Field, ...]) -> None:
    """A tunnel is no probe, and fields that some apps take their path or method from need a certificate."""
    with pytest.raises(CertificateMissing):
        port.probe(Head((HOST, *fields), "/healthz"))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_only_get_and_head_are_free(port: Port, method: str) -> None:
    """Other methods need a certificate on each path."""
    with pytest.raises(CertificateMissing):
        port.probe(Head(path="/healthz", method=method))


def test_a_body_is_not_free(port: Port) -> None:
    """An app that does not read a GET's body would take it for the next request."""
    with pytest.raises(CertificateMissing):
        port.probe(Head((HOST, (b"Content-Length", b"20")), "/healthz"), has_body=True)


def test_whoever_shows_a_certificate_is_judged_by_that(port: Port) -> None:
    """With one that is let in all paths are open, with one that is not none is: not those either that are free."""
    port.probe(Head(path="/admin", method="POST"), Shown(), has_body=True)
    for path in ("/admin", "/healthz"):
        with pytest.raises(ClientDenied):
            port.probe(Head(path=path), Shown(denied=True))
    assert port.told == []


@pytest.mark.parametrize(("host", "refused"), [(b"shop", False), (b"other", True), (b"", False)])
def test_a_request_is_for_its_connections_host(port: Port, host: bytes, refused: bool) -> None:
    """A Host that the connection's certificate is not for is misdirected; none, of HTTP/1.0, is not judged."""
    client = Client(port.client().peer, covers=lambda name: name == b"shop")
    head = Head(((b"Host", host),) if host else (), version=(1, 1) if host else (1, 0))
    if refused:
        with pytest.raises(Misdirected):
            port.begin(head, directed, client=client)
    else:
        port.begin(head, directed, client=client)


def test_where_nothing_is_asked_of_hosts_all_are_served(port: Port) -> None:
    """A connection that is for any host is not asked."""
    port.begin(Head(), directed)


def test_conditions_come_in_their_order(port: Port) -> None:
    """The first that is not met gives the answer."""
    client = Client(port.client().peer, covers=lambda _: False)
    head = Head(path="/admin")
    with pytest.raises(CertificateMissing):
        port.begin(head, certified(EXEMPT, port.told.append), directed, client=client)
    with pytest.raises(Misdirected):
        port.begin(head, directed, certified(EXEMPT, port.told.append), client=client)
