"""What is left of a request when it is over: its counts, its line, and a word to the operator when the app failed.

Requests that are over are kept until there are some dozens, or until somebody asks, and are counted and written then,
one behind the other: what does that is in the processor's caches for all but the first. Done for each request by
itself, in the midst of all else, it took three times as long.
"""

import logging
import os
from collections.abc import Callable, Sequence
from itertools import count
from time import monotonic
from typing import Protocol, cast

from tlsproxy.chassis.repeats import Repeats
from tlsproxy.proxy.forwarding import Caller, Forwarding, Peer
from tlsproxy.proxy.refusals import AppFault, OurLimit, Refusal
from tlsproxy.proxy.request import Request
from tlsproxy.proxy.tally import Tally

_logger = logging.getLogger("tlsproxy.app")


class Client:
    """One client connection, as the request line tells of it."""

    __slots__ = ("cipher", "covers", "peer", "server_name", "shown", "tls")

    def __init__(
        self,
        peer: Peer,
        tls: str = "",
        cipher: str = "",
        server_name: str = "",
        covers: Callable[[bytes], bool] | None = None,
    ) -> None:
        self.peer = peer
        self.tls = tls
        """The protocol's version, "TLSv1.3"; empty without TLS, as `cipher`."""
        self.cipher = cipher
        self.server_name = server_name
        """What the client asked for by SNI; empty when it did not."""
        self.covers = covers
        """Whether the connection is for the host of an authority; None: for any."""
        self.shown = ""
        """All this in a request line, once one was written."""


def client_of(info: Callable[[str], object], forwarding: Forwarding) -> Client:
    """The client of a connection, from what its transport's get_extra_info tells; it may stand on TLS or not."""
    peername, cipher = info("peername"), info("cipher")
    caller = cast("Caller | None", info("caller"))
    peer = forwarding.peer(str(peername[0]) if isinstance(peername, tuple) else "", caller)
    if not isinstance(cipher, tuple):
        return Client(peer)
    covers = cast("Callable[[bytes], bool] | None", info("covers"))
    return Client(peer, str(info("tls_version") or cipher[1]), str(cipher[0]), str(info("server_name") or ""), covers)


class Record:
    """One request, from its head to its end; filled in as it goes."""

    ended: float
    """When it was over, in monotonic time; not set until then, as `reason`."""
    reason: str
    """Why the answer is ours, or why there is none; empty for the app's answers."""

    __slots__ = (
        "address",
        "agent",
        "app_started",
        "client",
        "ended",
        "method",
        "reason",
        "received",
        "referer",
        "request_id",
        "sent",
        "started",
        "status",
        "target",
        "version",
    )

    def __init__(self, client: Client, request: Request | None) -> None:
        self.client = client
        self.address = client.peer.address
        """The client's, as the nearest trusted proxy saw it."""
        self.method = "-" if request is None else request.method
        self.target = "-" if request is None else request.path
        self.version = None if request is None else request.version
        self.request_id = b""
        self.agent = b""
        self.referer = b""
        self.received = 0
        """Bytes of the request's body so far; `sent`: of the response's."""
        self.sent = 0
        self.status = 0
        """0 until a response has begun."""
        self.started = monotonic()
        self.app_started = 0.0
        """When the app was given the request; 0 when it was not."""


class Lines(Protocol):
    """Where request lines go."""

    def add(self, records: Sequence[Record]) -> None:
        """Write the lines of requests that are over, in this order."""


# So many that what is the same for all costs little, and so few that they stay in the processor's caches.
_TOGETHER = 64


class Journal:
    """Counts and logs each request once, when it is over.

    Args:
        tally: where it counts, as far as they are settled.
        lines: where request lines go; None when there are none.
    """

    def __init__(self, tally: Tally, lines: Lines | None = None) -> None:
        self.tally = tally
        self._lines = lines
        self._over: list[Record] = []
        """Ended, and neither counted nor written."""
        self._prefix = os.urandom(8).hex().encode()
        self._count = count(1)
        self._repeats = Repeats()

    def next_id(self) -> bytes:
        """A request id that no other request of any process has."""
        return b"%b-%x" % (self._prefix, next(self._count))

    def ended(self, record: Record, refusal: Refusal | None = None) -> None:
        """Take note that a request is over; `refusal`: why its answer is ours, or why it has none."""
        self._end(record, refusal)
        over = self._over
        over.append(record)
        if len(over) >= _TOGETHER:
            self.settle()

    def settle(self) -> None:
        """Count and write what is over: to be called before counts are read, now and then, and at the end."""
        over, self._over = self._over, []
        tally = self.tally
        for record in over:
            tally.requests[record.method, record.status] += 1
            tally.durations.observe(record.ended - record.started)
            tally.received += record.received
            tally.sent += record.sent
        if self._lines is not None:
            self._lines.add(over)

    def switched(self, record: Record) -> None:
        """Count a request whose answer is a tunnel; its line comes when that is `closed`."""
        self.tally.requests[record.method, record.status] += 1
        self.tally.durations.observe(monotonic() - record.started)

    def closed(self, record: Record, refusal: Refusal | None = None) -> None:
        """Take note that a tunnel is over; `refusal`: why, unless both sides had said all."""
        self._end(record, refusal)
        if self._lines is not None:
            self._lines.add((record,))

    def _end(self, record: Record, refusal: Refusal | None) -> None:
        record.ended = monotonic()
        record.reason = ""
        if refusal is not None:
            record.status = record.status or refusal.status
            record.reason = refusal.reason
            self._failed(refusal, record.ended)

    def _failed(self, refusal: Refusal, now: float) -> None:
        if not isinstance(refusal, AppFault | OurLimit):
            return
        self.tally.app_errors[refusal.reason] += 1
        untold = self._repeats.untold(refusal.reason, now)
        if untold is None:
            return
        _logger.warning(
            "%s: %s%s%s",
            refusal.reason,
            refusal.detail or refusal.text,
            f" ({untold} more since the last such line)" if untold else "",
            f"; the variable for it is {refusal.variable}" if refusal.variable else "",
        )
