"""The plain-HTTP port that sends clients to the HTTPS address, and does nothing else."""

import math
import re
from collections.abc import Sequence

from tlsproxy.proxy.exchange import Stream
from tlsproxy.proxy.heads import NO_BODY, Field, for_app, lines
from tlsproxy.proxy.journal import Journal, Record
from tlsproxy.proxy.refusals import BadRequest, Refusal, phrase
from tlsproxy.proxy.request import Request

_PORT = re.compile(rb":[0-9]*$")


class RedirectService:
    """Answers every request with a redirect to its HTTPS address.

    Args:
        external_port: the port that clients reach HTTPS on; 443 is left out of the URL.
        journal: where the requests are told of.
    """

    def __init__(self, external_port: int, journal: Journal) -> None:
        self._suffix = b"" if external_port == 443 else b":%d" % external_port
        self.journal = journal

    def exchange(self, stream: Stream, request: Request, *, has_body: bool) -> "Redirect":
        """Begin an exchange.

        Raises:
            Refusal: the request names no host, or is none.
        """
        return Redirect(self, stream, request)

    def location(self, host: bytes, target: bytes) -> bytes:
        """The HTTPS address of what was asked for."""
        return b"https://%b%b%b" % (_PORT.sub(b"", host), self._suffix, target if target != b"*" else b"/")


class Redirect(Record):
    """One request, answered at once."""

    __slots__ = ("_location", "_service", "_stream", "deadline")

    def __init__(self, service: RedirectService, stream: Stream, request: Request) -> None:
        super().__init__(stream.client, request)
        _, target, self.request_id, told = for_app(request, stream.client.peer, service.journal.next_id())
        if not told.host:
            raise BadRequest("no Host to redirect to")
        self.address, self.agent, self.referer = told.client, told.agent, told.referer
        self._location = service.location(told.host, target)
        self._service = service
        self._stream: Stream | None = stream
        self.deadline = math.inf

    def flush(self) -> None:
        """Answer: 308 keeps method and body (RFC 9110 section 15.4.9), 301 is known to the oldest client."""
        self.status = 301 if self.method in {"GET", "HEAD"} else 308
        self._answer(self.status, [(b"Location", self._location)])

    def fail(self, refusal: Refusal) -> None:
        """Answer a request whose body can't be read on."""
        self.status = refusal.status
        self._answer(refusal.status, [], refusal)

    def _answer(self, status: int, fields: Sequence[Field], refusal: Refusal | None = None) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            fields = [*fields, (b"Content-Length", b"0"), (b"X-Request-ID", self.request_id)]
            stream.start(lines(status, phrase(status), fields), NO_BODY, (), end=True)
            self._service.journal.ended(self, refusal)

    def body(self, piece: bytes) -> None:
        """Throw a piece of the request's body away."""
        self.received += len(piece)

    def end(self) -> None:
        """Nothing waits for a body."""

    def slow(self) -> None:
        """Nothing is held back."""

    def ready(self) -> None:
        """Nothing is held back."""

    def gone(self) -> None:
        """Nothing is under way."""

    def expired(self) -> None:
        """There is no deadline."""
