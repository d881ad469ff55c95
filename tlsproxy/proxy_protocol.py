"""The PROXY protocol: what a load balancer says of a connection before its first byte. Bytes and values; pure.

Headers of versions 1 and 2 are read strictly by HAProxy's specification (proxy-protocol.txt of 2020/03/05), and those
of version 2 are written. Numbers of sections are its.
"""

import re
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

Address = tuple[str, int]
"""An IP address and a port."""

# Section 2.1: the longest line that a sender may write, with its CRLF.
_LINE_LIMIT = 107
# nginx's bound (NGX_PROXY_PROTOCOL_MAX_HEADER); the length field would allow 64 KiB.
_BLOCK_LIMIT = 4096

_V1 = b"PROXY"
_V2 = b"\r\n\r\n\0\r\nQUIT\n"
# What a line without its CRLF may be the beginning of.
_UNFINISHED = re.compile(rb"PROXY(?: [^\r\n]*\r?)?")
_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?|TCP(?P<version>[46]) (?P<source>[^ ]+) (?P<destination>[^ ]+)"
    rb" (?P<source_port>0|[1-9][0-9]{0,4}) (?P<destination_port>0|[1-9][0-9]{0,4}))"
)

# Section 2.2: after the signature, version and command, family and transport, and the length of what follows.
_FIXED = struct.Struct("!BBH")
_LOCAL, _PROXY = 0x20, 0x21
_UNSPEC, _INET, _INET6, _UNIX = 0x0, 0x1, 0x2, 0x3
_STREAM, _DATAGRAM = 0x1, 0x2
_ADDRESSES = {_INET: struct.Struct("!4s4sHH"), _INET6: struct.Struct("!16s16sHH"), _UNIX: struct.Struct("!108s108s")}

# Section 2.2, types of TLVs.
_TYPE_ALPN, _TYPE_AUTHORITY, _TYPE_UNIQUE_ID, _TYPE_TLS = 0x01, 0x02, 0x05, 0x20
_TYPE_TLS_VERSION, _TYPE_TLS_NAME, _TYPE_TLS_CIPHER = 0x21, 0x22, 0x23
_CLIENT_HAS_TLS, _CLIENT_CERTIFICATE_HERE, _CLIENT_CERTIFICATE_IN_SESSION = 0x01, 0x02, 0x04
_VERIFIED, _NOT_VERIFIED = 0, 1
# RFC 5280 appendix A.1: the upper bound of a common name. A longer one, of which nothing says so, would make the header
# one that readers refuse.
_NAME_LIMIT = 64


class HeaderError(Exception):
    """A connection that begins with no header, or with one that the specification does not allow.

    Attributes:
        reason: `missing`: what came is the beginning of no header; `invalid`: it is, but of none that is allowed.
    """

    def __init__(self, reason: Literal["missing", "invalid"], detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Header:
    """A header that was read."""

    size: int
    """Bytes that it took; what comes behind them is the connection's own."""
    source: Address | None = None
    """The client; None, as `destination` then: the connection's own ends count (LOCAL, UNKNOWN, UNSPEC, UNIX)."""
    destination: Address | None = None
    """What the client had connected to."""


# ---------------------------------------------------------------------------- reading


def read_header(data: bytes) -> Header | None:
    """The header at the beginning of a connection; None when more must come before that can be said.

    Args:
        data: all that has come; it may be cut anywhere, and hold more than the header.

    Raises:
        HeaderError: none can come any more, or the one that came is not allowed.
    """
    if data.startswith(_V1):
        return _read_line(data)
    if data.startswith(_V2):
        return _read_block(data)
    if _V1.startswith(data) or _V2.startswith(data):
        return None
    raise HeaderError("missing", "it began with something else")


def _read_line(data: bytes) -> Header | None:
    """A header of version 1 (section 2.1)."""
    line, end, _ = data[:_LINE_LIMIT].partition(b"\r\n")
    if not end:
        if len(data) < _LINE_LIMIT and _UNFINISHED.fullmatch(line):
            return None
        raise HeaderError("invalid", f"its first {_LINE_LIMIT} bytes are no line that ends with CRLF")
    parts = _LINE.fullmatch(line)
    if parts is None:
        raise HeaderError("invalid", "its line is not PROXY, UNKNOWN or TCP4 or TCP6, two addresses and two ports")
    size = len(line) + len(end)
    if parts["version"] is None:
        return Header(size)
    return Header(
        size,
        _address_in_line(parts["version"], parts["source"], parts["source_port"]),
        _address_in_line(parts["version"], parts["destination"], parts["destination_port"]),
    )


def _address_in_line(version: bytes, host: bytes, port: bytes) -> Address:
    try:
        ip = IPv4Address(host.decode()) if version == b"4" else IPv6Address(host.decode())
    except ValueError:
        ip = None
    if ip is None or b"%" in host:
        raise HeaderError("invalid", f"its line has something else in the place of an IPv{version.decode()} address")
    if int(port) > 0xFFFF:
        raise HeaderError("invalid", "its line has a port above 65535")
    return _shown(ip), int(port)


def _read_block(data: bytes) -> Header | None:
    """A header of version 2 (section 2.2)."""
    start = len(_V2) + _FIXED.size
    if len(data) < start:
        return None
    command, kind, length = _FIXED.unpack_from(data, len(_V2))
    family, transport = kind >> 4, kind & 0xF
    if command not in {_LOCAL, _PROXY}:
        raise HeaderError("invalid", f"its version and command are 0x{command:02x}: neither 0x20 nor 0x21")
    if start + length > _BLOCK_LIMIT:
        raise HeaderError("invalid", f"its header is longer than {_BLOCK_LIMIT} bytes")
    # LOCAL: whatever stands there is to be ignored, the family included.
    if command == _PROXY and (family > _UNIX or transport > _STREAM):
        raise HeaderError("invalid", f"its family and transport are 0x{kind:02x}: nothing that comes over TCP")
    size = start + length
    if len(data) < size:
        return None
    if command == _LOCAL or _UNSPEC in {family, transport}:
        return Header(size)
    return _with_addresses(size, family, data[start:size])


def _with_addresses(size: int, family: int, block: bytes) -> Header:
    layout = _ADDRESSES[family]
    if len(block) < layout.size:
        raise HeaderError("invalid", f"its length is {len(block)}, less than its addresses take")
    _check_tlvs(block[layout.size :])
    if family == _UNIX:
        return Header(size)
    source, destination, source_port, destination_port = layout.unpack_from(block)
    return Header(
        size,
        (_shown(ip_address(source)), source_port),
        (_shown(ip_address(destination)), destination_port),
    )


def _check_tlvs(tlvs: bytes) -> None:
    """Walk them; none of them is used."""
    while tlvs:
        end = 3 + int.from_bytes(tlvs[1:3], "big")
        if len(tlvs) < end:
            raise HeaderError("invalid", "its last TLV is longer than what is left of the header")
        tlvs = tlvs[end:]


def _shown(ip: IPv4Address | IPv6Address) -> str:
    """As the rest of the program shows it: an IPv4 client of an IPv6 socket by its IPv4 address."""
    return str(_plain(ip))


def _plain(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    return getattr(ip, "ipv4_mapped", None) or ip


# ---------------------------------------------------------------------------- writing


@dataclass(frozen=True, slots=True)
class Tls:
    """What was agreed with a client."""

    version: str
    """As OpenSSL names it: `TLSv1.3`."""
    cipher: str
    protocol: str = ""
    """By ALPN; empty: none."""
    server_name: str = ""
    """By SNI; empty: none."""
    certificate: Literal["none", "shown", "resumed"] = "none"
    """Whether the client has shown one, which was verified: on this connection, or on that which began its session."""
    common_name: str = ""
    """Of that certificate's subject; empty: none. It is not told where a reader could take it for another."""


def write_header(peername: object, sockname: object, tls: Tls, connection_id: bytes = b"") -> bytes:
    """A header of version 2 for a connection that came over TLS.

    Args:
        peername: the client, as a transport's get_extra_info tells it: a tuple of IP address, port and perhaps more.
            What is anything else, a unix socket's for example, is no address, and the header names none (LOCAL).
        sockname: what it had connected to, likewise.
        tls: what was agreed with it.
        connection_id: for PP2_TYPE_UNIQUE_ID, at most 128 bytes; empty: none.
    """
    tlvs = _tlvs(tls, connection_id)
    source, destination = _endpoint(peername), _endpoint(sockname)
    if source is None or destination is None:
        return _block(_LOCAL, 0, tlvs)
    (client, client_port), (server, server_port) = source, destination
    if client.version != server.version:
        # One address block holds one family, and IPv6 can say both.
        client, server = _mapped(client), _mapped(server)
    family = _INET if client.version == 4 else _INET6
    addresses = _ADDRESSES[family].pack(client.packed, server.packed, client_port, server_port)
    return _block(_PROXY, family << 4 | _STREAM, addresses + tlvs)


def _block(command: int, kind: int, rest: bytes) -> bytes:
    return _V2 + _FIXED.pack(command, kind, len(rest)) + rest


def _endpoint(name: object) -> tuple[IPv4Address | IPv6Address, int] | None:
    match name:
        case (str(host), int(port), *_):
            try:
                return _plain(ip_address(host)), port
            except ValueError:
                return None
    return None


def _mapped(ip: IPv4Address | IPv6Address) -> IPv6Address:
    return IPv6Address(f"::ffff:{ip}") if isinstance(ip, IPv4Address) else ip


def _tlvs(tls: Tls, connection_id: bytes) -> bytes:
    """What is told beside the addresses (sections 2.2.1, 2.2.2, 2.2.5 and 2.2.6)."""
    agreed = struct.pack("!BI", *_CLIENT[tls.certificate])
    agreed += _tlv(_TYPE_TLS_VERSION, tls.version.encode())
    if tls.common_name.isprintable() and 0 < len(tls.common_name) <= _NAME_LIMIT:
        agreed += _tlv(_TYPE_TLS_NAME, tls.common_name.encode())
    agreed += _tlv(_TYPE_TLS_CIPHER, tls.cipher.encode())
    told = ((_TYPE_ALPN, tls.protocol.encode()), (_TYPE_AUTHORITY, tls.server_name.encode()))
    given = ((kind, value) for kind, value in (*told, (_TYPE_UNIQUE_ID, connection_id), (_TYPE_TLS, agreed)) if value)
    return b"".join(_tlv(kind, value) for kind, value in given)


# The flags of `client`, and `verify`.
_CLIENT = {
    "none": (_CLIENT_HAS_TLS, _NOT_VERIFIED),
    "shown": (_CLIENT_HAS_TLS | _CLIENT_CERTIFICATE_HERE | _CLIENT_CERTIFICATE_IN_SESSION, _VERIFIED),
    "resumed": (_CLIENT_HAS_TLS | _CLIENT_CERTIFICATE_IN_SESSION, _VERIFIED),
}


def _tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value
