"""What stands on a TCP connection first where load balancers announce their clients: it reads the PROXY header.

Nothing is guessed: a peer that is not trusted is hung up on unheard, a trusted one has to begin with a header. Behind
it the TLS connection takes over, and shows the announced addresses as its own. What is known of it then can be
announced to the app in turn.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import cast

from tlsproxy.chassis.repeats import Repeats
from tlsproxy.proxy_protocol import Header, HeaderError, Tls, read_header, write_header
from tlsproxy.tls.clients import Caller
from tlsproxy.tls.connection import Acceptor

_logger = logging.getLogger("tlsproxy.clients")

_TRUST = "TLSPROXY_TRUSTED_PROXIES"
_USE = "TLSPROXY_PROXY_PROTOCOL"


class Gate:
    """What the connections of one port share.

    Args:
        acceptor: makes the TLS connections, counts those that are turned away, and keeps the deadlines:
            `handshake_timeout` counts from the TCP connection on, for header and handshake together.
        trusts: whether the load balancer at an address may announce clients.
    """

    def __init__(self, acceptor: Acceptor, trusts: Callable[[str], bool]) -> None:
        self.acceptor = acceptor
        self.trusts = trusts
        self._repeats = Repeats()

    def connection(self, upper: Callable[[], asyncio.Protocol]) -> "HeaderReader":
        """The protocol for a new TCP connection; `upper` makes what stands above TLS after the handshake."""
        return HeaderReader(self, upper)

    def denied(self, reason: str, told: str, variable: str) -> None:
        """Count a connection that was turned away, and tell the operator why; `reason` is one of a few."""
        self.acceptor.denied[reason] += 1
        untold = self._repeats.untold(reason, monotonic())
        if untold is not None:
            more = f" ({untold} more since the last such line)" if untold else ""
            _logger.warning("%s: %s%s; the variable for it is %s", reason, told, more, variable)


class HeaderReader(asyncio.Protocol):
    """One TCP connection until its header has come."""

    __slots__ = ("_gate", "_make_upper", "_peer", "_seen", "_transport", "deadline")

    is_shaking = True

    def __init__(self, gate: Gate, upper: Callable[[], asyncio.Protocol]) -> None:
        self._gate = gate
        self._make_upper = upper
        self._peer = ""
        self._seen = b""
        self._transport: asyncio.Transport
        self.deadline: float

    def __repr__(self) -> str:
        return f"<HeaderReader {self._peer} {len(self._seen)} bytes>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Listen to a trusted peer, and hang up on any other."""
        self._transport = cast("asyncio.Transport", transport)
        self.deadline = monotonic() + self._gate.acceptor.handshake_timeout
        peername = transport.get_extra_info("peername")
        if not isinstance(peername, tuple):
            # It has left already.
            self._transport.abort()
            return
        self._peer = str(peername[0])
        if self._gate.trusts(self._peer):
            self._gate.acceptor.timed.add(self)
        else:
            self._deny("proxy_untrusted", "is no trusted proxy, and may not announce clients", _TRUST)

    def data_received(self, data: bytes) -> None:
        """Read on, and make way for TLS once the header is whole."""
        self._seen += data
        try:
            header = read_header(self._seen)
        except HeaderError as error:
            self._deny(f"proxy_{error.reason}", f"sent no valid PROXY protocol header: {error}", _USE)
            return
        if header is not None:
            self._hand_over(header, self._seen[header.size :])

    def connection_lost(self, exc: Exception | None) -> None:
        """The end; a peer that has said nothing only looked whether the port is open."""
        said = self._seen and self in self._gate.acceptor.timed
        self._leave()
        self._gate.acceptor.ended()
        if said:
            self._deny("proxy_invalid", "ended its connection within the PROXY protocol header", _USE)

    def expired(self) -> None:
        """Cut a peer that has taken too long."""
        seconds = self._gate.acceptor.handshake_timeout
        self._deny("proxy_timeout", f"sent no whole PROXY protocol header within {seconds:g} s", _USE)

    def _hand_over(self, header: Header, rest: bytes) -> None:
        """Let the TLS connection take this one's place, with what is left of its time."""
        self._leave()
        connection = self._gate.acceptor.connection(self._make_upper)
        if header.source is not None and header.destination is not None:
            connection.announced = {"peername": header.source, "sockname": header.destination}
        self._transport.set_protocol(connection)
        connection.connection_made(self._transport)
        connection.deadline = self.deadline
        if rest:
            connection.data_received(rest)

    def _deny(self, reason: str, told: str, variable: str) -> None:
        self._leave()
        self._transport.abort()
        self._gate.denied(reason, f"{self._peer} {told}", variable)

    def _leave(self) -> None:
        self._gate.acceptor.timed.discard(self)


def announce(transport: asyncio.BaseTransport, connection_id: bytes) -> bytes:
    """The header that tells the app of a client: its addresses, its certificate, and what was agreed with it by TLS.

    Args:
        transport: a TLS connection.
        connection_id: as in its request line.
    """
    info = transport.get_extra_info
    tls, cipher, caller = info("ssl_object"), info("cipher"), info("caller")
    agreed = Tls(info("tls_version") or "", cipher[0], tls.selected_alpn_protocol() or "", info("server_name") or "")
    if caller is not None:
        agreed = replace(
            agreed, certificate="resumed" if tls.session_reused else "shown", common_name=common_name(caller)
        )
    return write_header(info("peername"), info("sockname"), agreed, connection_id)


def common_name(caller: Caller) -> str:
    """That of a client's certificate; empty where it has none, or several, of which nobody says which one counts."""
    names = caller.identity.common_names
    return names[0] if len(names) == 1 else ""
