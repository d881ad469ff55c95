"""What a request has to meet before the app hears of it, beyond its being one; only where the settings ask for more.

A condition looks at one request and raises a Refusal, or lets it pass. The service without any is `Service` itself, so
that a listener which asks for nothing pays for nothing.
"""

import re
from collections.abc import Callable, Collection, Sequence

from tlsproxy.proxy.exchange import Exchange, Service, Stream
from tlsproxy.proxy.fixes import Fixes
from tlsproxy.proxy.journal import Journal
from tlsproxy.proxy.limits import Timeouts
from tlsproxy.proxy.pool import Pool
from tlsproxy.proxy.refusals import CertificateMissing, Misdirected
from tlsproxy.proxy.request import Request

Precondition = Callable[[Exchange, Request], None]
"""Looks at an exchange that has just begun and the head that it was made of; raises Refusal where it is not met."""


class GuardedService(Service):
    """One whose requests have to meet conditions, in their order."""

    def __init__(
        self, pool: Pool, fixes: Fixes, timeouts: Timeouts, journal: Journal, conditions: Sequence[Precondition]
    ) -> None:
        super().__init__(pool, fixes, timeouts, journal)
        self._conditions = tuple(conditions)

    def exchange(self, stream: Stream, request: Request, *, has_body: bool) -> Exchange:
        """Begin an exchange.

        Raises:
            Refusal: as `Service.exchange`, or because a condition is not met.
        """
        exchange = super().exchange(stream, request, has_body=has_body)
        for condition in self._conditions:
            condition(exchange, request)
        return exchange


def directed(exchange: Exchange, _: Request) -> None:
    """The request's host is one that its client's connection is for.

    Raises:
        Misdirected: it is for another; one that names none is not judged.
    """
    covers = exchange.client.covers
    if covers is not None and exchange.host and not covers(exchange.host):
        raise Misdirected(f"Host {exchange.host!r}")


def certified(exempt: Collection[str], told: Callable[[str], None]) -> Precondition:
    """The client has shown a certificate, or asks for no more than a probe does.

    Args:
        exempt: paths that GET and HEAD are free for, without a body and an offer to upgrade; each is compared, byte by
            byte, with what stands before the query in the target that the app gets.
        told: called with the address of each client that is refused.
    """
    free = frozenset(path.encode() for path in exempt)

    def check(exchange: Exchange, request: Request) -> None:
        peer = exchange.client.peer
        if peer.caller is None and not (exchange.path in free and _is_bare(exchange, request)):
            told(peer.address)
            raise CertificateMissing

    return check


# Fields by which some frameworks and servers take another path or method than those of the request line.
_REWRITING = frozenset(
    {
        b"path-info",
        b"script-name",
        b"x-forwarded-path",
        b"x-forwarded-prefix",
        b"x-forwarded-uri",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-uri",
        b"x-original-url",
        b"x-rewrite-url",
        b"x-script-name",
    }
)
_ODD = re.compile(rb"[^a-z0-9]")


def _is_bare(exchange: Exchange, request: Request) -> bool:
    """Whether the app can read it in one way only: a GET or HEAD of just that path.

    An app that leaves a GET's body unread may take it for the next request.
    """
    return (
        exchange.method in {"GET", "HEAD"}
        and exchange.is_whole
        and not exchange.offered
        and not any(_ODD.sub(b"-", name.lower()) in _REWRITING for name, _ in request.raw_fields)
    )
