"""Who asks, as the app is told: X-Forwarded-*, X-Real-IP and Forwarded (RFC 7239), client certificates. Pure.

What these fields say depends on the peer's address, its certificate and the request's Host alone, so it is made once
for each of these and remembered; only what a trusted proxy says of its own client is made anew for each request.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import NamedTuple, Protocol

from tlsproxy.proxy.refusals import BadRequest, ClientDenied

Network = IPv4Network | IPv6Network


class Caller(Protocol):
    """Who a peer is by the certificate that it has shown."""

    @property
    def subject(self) -> str:
        """Whose certificate it is, in printable ASCII."""

    @property
    def fields(self) -> bytes:
        """The lines that tell the app of it."""

    @property
    def denied(self) -> bool:
        """Whether none of its requests is for the app."""


class Said(NamedTuple):
    """What a trusted proxy says of its own client: the fields' values, empty where it sent none."""

    forwarded: bytes = b""
    forwarded_for: bytes = b""
    proto: bytes = b""
    host: bytes = b""
    port: bytes = b""


_NOTHING = Said()


class Forwarding:
    """What a listener tells its app of clients, and a bounded memory of its peers.

    Args:
        external_port: for X-Forwarded-Port when the request's Host names no port.
        trusted: networks whose forwarded fields are believed and extended.
        app_authority: the Host that an HTTP/1.0 request without one is given.
    """

    BOUND = 4096

    def __init__(
        self, external_port: int = 443, trusted: Sequence[Network] = (), app_authority: bytes = b"localhost"
    ) -> None:
        self.external_port = b"%d" % external_port
        self.app_authority = app_authority
        self._trusted = tuple(trusted)
        self._peers: dict[tuple[str, Caller | None], Peer] = {}

    def peer(self, address: str, caller: Caller | None = None) -> "Peer":
        """The peer of that address; one that is no IP address (a unix socket's) is never trusted.

        Args:
            address: the TCP connection's, or as a load balancer announced it.
            caller: None: it has shown no certificate.
        """
        peer = self._peers.get((address, caller))
        if peer is None:
            if len(self._peers) >= self.BOUND:
                self._peers.clear()
            peer = self._peers[address, caller] = Peer(address, self, caller)
        return peer

    def trusts(self, address: str) -> bool:
        """Whether what that address says of its clients is believed."""
        if not self._trusted:
            return False
        try:
            ip = ip_address(address)
        except ValueError:
            return False
        mapped = getattr(ip, "ipv4_mapped", None)
        return any((mapped or ip) in network for network in self._trusted)


class Peer:
    """Who is at the other end of a client connection."""

    __slots__ = ("_blocks", "address", "caller", "forwarding", "trusted")

    BOUND = 64
    CERTIFIED_BOUND = 4
    """Of one with a certificate, which stands in each block with kilobytes."""

    def __init__(self, address: str, forwarding: Forwarding, caller: Caller | None = None) -> None:
        self.address = address
        self.caller = caller
        self.forwarding = forwarding
        self.trusted = forwarding.trusts(address)
        self._blocks: dict[bytes, bytes] = {}

    def fields(self, host: bytes) -> bytes:
        """The lines that tell the app who asks for that host (empty: none was named).

        Raises:
            BadRequest: the host is no authority, such as every parser would read alike.
            ClientDenied: nothing of this peer's is for the app.
        """
        block = self._blocks.get(host)
        if block is None:
            if len(self._blocks) >= (self.BOUND if self.caller is None else self.CERTIFIED_BOUND):
                self._blocks.clear()
            block = self._blocks[host] = self._lines(host, _NOTHING, self.address)
        return block

    def extended(self, host: bytes, said: Said) -> tuple[bytes, str]:
        """The same lines with what this peer, a trusted proxy, said kept and extended; and the client's address.

        Raises:
            BadRequest: as `fields`.
        """
        client = self._client(said.forwarded_for)
        return self._lines(host, said, client), client

    def _client(self, chain: bytes) -> str:
        """The right-most address of the chain that is no trusted proxy (as nginx's real_ip_recursive)."""
        client = self.address
        for entry in reversed(chain.split(b",")):
            address = _address(entry.strip().decode("latin-1"))
            if address is None:
                break
            client = address
            if not self.forwarding.trusts(address):
                break
        return client

    def _lines(self, host: bytes, said: Said, client: str) -> bytes:
        caller = self.caller
        if caller is not None and caller.denied:
            raise ClientDenied(caller.subject)
        if host:
            check_host(host)
        address = self.address.encode() or b"unknown"
        element = b"for=%b" % _node(self.address)
        if host:
            element += b";host=%b" % _value(host)
        port = _PORT.search(host)
        lines = [
            b"X-Forwarded-For: %b" % _appended(said.forwarded_for, address),
            b"X-Real-IP: %b" % (client.encode() or b"unknown"),
            b"X-Forwarded-Proto: %b" % (said.proto or b"https"),
            b"X-Forwarded-Port: %b" % (said.port or (port[1] if port else self.forwarding.external_port)),
            b"Forwarded: %b" % _appended(said.forwarded, element + b";proto=https"),
        ]
        if said.host or host:
            lines.append(b"X-Forwarded-Host: %b" % (said.host or host))
        return b"\r\n".join(lines) + b"\r\n" + (b"" if caller is None else caller.fields)


def check_host(host: bytes) -> None:
    """Make sure that every parser reads the same host and port.

    Raises:
        BadRequest: it is no authority.
    """
    authority = _AUTHORITY.fullmatch(host)
    if authority is None or int(authority[1] or 0) > _MAX_PORT:
        raise BadRequest(f"Host {host!r}")


# RFC 3986 section 3.2: reg-name or IP-literal, and a port; no userinfo, no `%`, which some decode before they look,
# and no `,`, which would make a list of X-Forwarded-Host.
_AUTHORITY = re.compile(
    rb"(?:[A-Za-z0-9._~!$&'()*+;=-]+|\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f.]*\])(?::0*([0-9]{0,5}))?"
)
# To who counts in 16 bits a port above is another one.
_MAX_PORT = 65535
_PORT = re.compile(rb":([0-9]+)$")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _appended(before: bytes, element: bytes) -> bytes:
    return b"%b, %b" % (before, element) if before else element


def _node(address: str) -> bytes:
    """A node of Forwarded: IPv6 in brackets and quotes, what is no address as `unknown` (RFC 7239 section 6)."""
    if ":" in address:
        return f'"[{address}]"'.encode()
    return address.encode() or b"unknown"


def _value(text: bytes) -> bytes:
    """A value of Forwarded: a token, or else a quoted string (RFC 7239 section 4)."""
    return text if _TOKEN.fullmatch(text) else b'"%b"' % text


def _address(entry: str) -> str | None:
    """The IP address of an X-Forwarded-For entry, which may carry a port; None where it is none.

    One with a zone is none: it means nothing beyond its own host, and a zone may hold any character.
    """
    if entry.startswith("["):
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        entry = entry.partition(":")[0]
    try:
        return None if "%" in entry else str(ip_address(entry))
    except ValueError:
        return None
