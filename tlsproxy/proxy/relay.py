"""One client connection in tcp mode, until the app's is had: then a tunnel joins the two, whatever they speak."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol, cast

from tlsproxy.proxy.forwarding import Forwarding
from tlsproxy.proxy.journal import Journal, Record, client_of
from tlsproxy.proxy.limits import Timeouts
from tlsproxy.proxy.pool import Pool
from tlsproxy.proxy.refusals import ClientDenied, ClientGone, Draining, Refusal
from tlsproxy.proxy.tunnel import Tunnel
from tlsproxy.proxy.upstream import Upstream

Announce = Callable[[asyncio.BaseTransport, bytes], bytes]
"""From a client's connection and its id, the bytes that the app is sent before the client's own."""


@dataclass(frozen=True, slots=True)
class TcpFrontend:
    """What the relays of one port share."""

    pool: Pool
    forwarding: Forwarding
    """Tells clients by their addresses; nothing is forwarded."""
    timeouts: Timeouts
    """Those of a tunnel count."""
    journal: Journal
    announce: Announce | None = None
    """None: the app is sent nothing but the client's own bytes."""

    def relay(self, server: "Owner") -> "Relay":
        """A relay for a new connection."""
        return Relay(self, server)


class Owner(Protocol):
    """Who keeps the connections: the server."""

    draining: bool
    """Whether it is about to end."""

    def opened(self, conversation: "Relay | Tunnel", transport: asyncio.Transport) -> None:
        """Take a connection in."""

    def ended(self, conversation: "Relay | Tunnel") -> None:
        """Let a connection go."""


class Relay(asyncio.Protocol):
    """A client that waits for its connection to the app."""

    __slots__ = ("_early", "_frontend", "_half_closed", "_record", "_server", "_slow", "_transport")

    def __init__(self, frontend: TcpFrontend, server: Owner) -> None:
        self._frontend = frontend
        self._server = server
        self._early = b""
        self._half_closed = False
        self._slow = False
        self._record: Record
        self._transport: asyncio.Transport

    def __repr__(self) -> str:
        return f"<Relay {self._record.address}>"

    @property
    def is_idle(self) -> bool:
        """Never: the client may have asked for something, in words that are not understood here."""
        return False

    # ------------------------------------------------------------------ the client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a connection to the app, and hold the client until it is there."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.pause_reading()
        frontend = self._frontend
        self._record = Record(client_of(transport.get_extra_info, frontend.forwarding), None)
        self._record.request_id = frontend.journal.next_id()
        self._server.opened(self, self._transport)
        caller = self._record.client.peer.caller
        if caller is not None and caller.denied:
            self.unavailable(ClientDenied(caller.subject))
        else:
            frontend.pool.ask(self, repeatable=False)

    def data_received(self, data: bytes) -> None:
        """Keep what had been read before the client was held."""
        self._early += data

    def eof_received(self) -> bool:
        """The client says no more, and still listens."""
        self._half_closed = True
        return True

    def pause_writing(self) -> None:
        """The client is slow, by what TLS had to say."""
        self._slow = True

    def resume_writing(self) -> None:
        """It is ready again."""
        self._slow = False

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left, unless it was ended here."""
        if not self._record.status:
            self._frontend.pool.withdraw(self)
            self._over(ClientGone())

    # ------------------------------------------------------------------ the app

    def lent(self, upstream: Upstream, *, used: bool) -> None:
        """Join the two connections."""
        frontend, record = self._frontend, self._record
        record.status = HTTPStatus.OK
        tunnel = Tunnel(record, frontend.journal, frontend.timeouts)
        greeting = upstream.switch(tunnel.app)
        if frontend.announce is not None:
            tunnel.app.transport.write(frontend.announce(self._transport, record.request_id))
        self._transport.resume_reading()
        tunnel.client.take(self._transport, slow=self._slow)
        tunnel.open(self._server, self._early, half_closed=self._half_closed)
        self._server.ended(self)
        if greeting:
            tunnel.app.data_received(greeting)
        if upstream.ended_early:
            tunnel.app.eof_received()

    def unavailable(self, refusal: Refusal) -> None:
        """End the client's connection, so that it does not look like an empty answer."""
        self._over(refusal)
        self._transport.abort()

    def _over(self, refusal: Refusal) -> None:
        self._server.ended(self)
        self._frontend.journal.closed(self._record, refusal)

    # ------------------------------------------------------------------ what its server does

    def close(self) -> None:
        """Go on: the client has not had what it came for."""

    def retire(self) -> None:
        """Go on."""

    def stop(self) -> None:
        """End at once."""
        self._frontend.pool.withdraw(self)
        self.unavailable(Draining("a connection was cut at the end of draining"))

    def sweep(self, now: float) -> None:
        """Nothing: the pool bounds the wait."""
