"""The PROXY protocol's headers, as the specification has them: each rule at its edge, and cut anywhere."""

import random
import struct
from ipaddress import ip_address
from typing import Literal

import pytest

from tlsproxy.proxy_protocol import Address, Header, HeaderError, Tls, read_header, write_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
UNSPEC, TCP4, UDP4, TCP6, UDP6, UNIX_STREAM, UNIX_DATAGRAM = 0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32
V4_ENDS = bytes([192, 0, 2, 7, 198, 51, 100, 9]) + struct.pack("!HH", 56324, 443)
FROM, TO = ("192.0.2.7", 56324), ("198.51.100.9", 443)
FROM6, TO6 = ("2001:db8::7", 1), ("2001:db8::9", 65535)
REST = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)
LONGEST = b"PROXY UNKNOWN " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n"
TLS = Tls("TLSv1.3", "TLS_AES_128_GCM_SHA256")


def block(command: int, kind: int, rest: bytes = b"", length: int | None = None) -> bytes:
    """A header of version 2; `length` in place of that of the rest."""
    return SIGNATURE + struct.pack("!BBH", command, kind, len(rest) if length is None else length) + rest


def tlv(kind: int, value: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("!BH", kind, len(value) if length is None else length) + value


def v6_ends(source: str, destination: str) -> bytes:
    return ip_address(source).packed + ip_address(destination).packed + struct.pack("!HH", 1, 65535)


# ---------------------------------------------------------------------------- what is read

GOOD: list[tuple[bytes, Address | None, Address | None]] = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.9 56324 443\r\n", FROM, TO),
    (
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        ("255.255.255.255", 65535),
        ("255.255.255.255", 65535),
    ),
    (b"PROXY TCP4 1.1.1.1 2.2.2.2 0 0\r\n", ("1.1.1.1", 0), ("2.2.2.2", 0)),
    (b"PROXY TCP6 2001:db8::7 2001:DB8:0:0:0:0:0:9 1 65535\r\n", FROM6, TO6),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:c633:6409 56324 443\r\n", FROM, TO),
    (b"PROXY UNKNOWN\r\n", None, None),
    (b"PROXY UNKNOWN \r\n", None, None),
    (b"PROXY UNKNOWN \xff\x00 whatever  stands here\r\n", None, None),
    (b"PROXY UNKNOWN TCP4 192.0.2.7 198.51.100.9 56324 443\r\n", None, None),
    (LONGEST, None, None),
    (block(PROXY, TCP4, V4_ENDS), FROM, TO),
    (block(PROXY, TCP4, V4_ENDS + tlv(0x04) + tlv(0xEA, b"\x01vpce-08d2bf15fac5001c9")), FROM, TO),
    (block(PROXY, TCP4, V4_ENDS + tlv(0x04, bytes(4096 - 16 - 12 - 3))), FROM, TO),
    (block(PROXY, TCP6, v6_ends("2001:db8::7", "2001:db8::9")), FROM6, TO6),
    (
        block(PROXY, TCP6, v6_ends("::ffff:192.0.2.7", "2001:db8::9") + tlv(0x02, b"shop")),
        ("192.0.2.7", 1),
        ("2001:db8::9", 65535),
    ),
    (block(PROXY, UNIX_STREAM, bytes(216)), None, None),
    (block(PROXY, UNIX_STREAM, b"/run/app.sock".ljust(216, b"\0") + tlv(0x04, b"x")), None, None),
    (block(PROXY, UNSPEC), None, None),
    (block(PROXY, UNSPEC, b"of some other family"), None, None),
    (block(PROXY, 0x01), None, None),
    (block(PROXY, 0x10, V4_ENDS), None, None),
    (block(LOCAL, UNSPEC), None, None),
    (block(LOCAL, TCP4, V4_ENDS), None, None),
    (block(LOCAL, TCP4, V4_ENDS[:5]), None, None),
    (block(LOCAL, 0xFF, b"ignored"), None, None),
]
"""Headers, and the two ends that they name."""


@pytest.mark.parametrize(("header", "source", "destination"), GOOD)
def test_headers(header: bytes, source: Address | None, destination: Address | None) -> None:
    """A header is read to its own end, whatever follows it, and tells the two ends of the connection, or none."""
    for rest in (b"", b"x", REST, header):
        assert read_header(header + rest) == Header(len(header), source, destination)


@pytest.mark.parametrize("header", [header for header, _, _ in GOOD])
def test_a_header_may_be_cut_anywhere(header: bytes) -> None:
    """As long as a byte is missing, more is asked for."""
    assert [cut for cut in range(len(header)) if read_header(header[:cut]) is not None] == []


# ---------------------------------------------------------------------------- what is refused

BAD_LINES = [
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXY TCP4\r\n",
    b"PROXYTCP4 192.0.2.7 198.51.100.9 1 2\r\n",
    b"PROXY  TCP4 192.0.2.7 198.51.100.9 1 2\r\n",
    b"PROXY TCP4 192.0.2.7  198.51.100.9 1 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.9 1 2 \r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.9 1 2 3\r\n",
    b"PROXY\tTCP4 192.0.2.7 198.51.100.9 1 2\r\n",
    b"PROXY TCP4\t192.0.2.7 198.51.100.9 1 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.9 1\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.9\r\n",
    b"PROXY TCP4 192.0.2.7 1 2\r\n",
    b"PROXY tcp4 192.0.2.7 198.51.100.9 1 2\r\n",
    b"PROXY TCP 192.0.2.7 198.51.100.9 1 2\r\n",
    b"PROXY TCP5 192.0.2.7 198.51.100.9 1 2\r\n",
    b"PROXY UDP4 192.0.2.7 198.51.100.9 1 2\r\n",
    b"PROXY unknown\r\n",
    b"PROXY UNKNOWNX\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.9 65536 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.9 1 65536\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.9 100000 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.9 01 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.9 1 00\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.9 +1 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.9 -1 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.9 0x1 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.9 1_0 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.9 \xd9\xa1 2\r\n",
    b"PROXY TCP4 192.0.2.256 198.51.100.9 1 2\r\n",
    b"PROXY TCP4 192.0.2.07 198.51.100.9 1 2\r\n",
    b"PROXY TCP4 192.0.2 198.51.100.9 1 2\r\n",
    b"PROXY TCP4 192.0.2.7.1 198.51.100.9 1 2\r\n",
    b"PROXY TCP4 3221225991 198.51.100.9 1 2\r\n",
    b"PROXY TCP4 192.0.2.7/32 198.51.100.9 1 2\r\n",
    b"PROXY TCP4 192.0.2.7 shop.example 1 2\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::9 1 2\r\n",
    b"PROXY TCP4 192.0.2.7 2001:db8::9 1 2\r\n",
    b"PROXY TCP4 \xff\xfe 198.51.100.9 1 2\r\n",
    b"PROXY TCP6 192.0.2.7 198.51.100.9 1 2\r\n",
    b"PROXY TCP6 2001:db8::7 192.0.2.7 1 2\r\n",
    b"PROXY TCP6 2001:db8::7::1 2001:db8::9 1 2\r\n",
    b"PROXY TCP6 2001:db8::12345 2001:db8::9 1 2\r\n",
    b"PROXY TCP6 [2001:db8::7] 2001:db8::9 1 2\r\n",
    b"PROXY TCP6 fe80::1%eth0 2001:db8::9 1 2\r\n",
    b"PROXY TCP6 2001:db8::7 fe80::1%1 1 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.9 1 2\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.9 1 2\r\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.9 1 2\n\r\n",
    b"PROXY UNKNOWN\n",
    b"PROXY UNKNOWN\r \r\n",
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    b"PROXY UNKNOWN " + b"x" * 100,
]
BAD_BLOCKS = [
    *(block(command, TCP4, V4_ENDS) for command in (0x01, 0x11, 0x22, 0x2F, 0x31, 0x00)),
    *(block(PROXY, kind, bytes(216)) for kind in (UDP4, UDP6, UNIX_DATAGRAM, 0x02, 0x03, 0x13, 0x1F, 0x41, 0xF1)),
    block(PROXY, TCP4),
    block(PROXY, TCP4, V4_ENDS[:-1]),
    block(PROXY, TCP6, V4_ENDS),
    block(PROXY, TCP6, bytes(35)),
    block(PROXY, UNIX_STREAM, bytes(215)),
    block(PROXY, TCP4, V4_ENDS + b"\x04"),
    block(PROXY, TCP4, V4_ENDS + b"\x04\x00"),
    block(PROXY, TCP4, V4_ENDS + tlv(0x04, length=1)),
    block(PROXY, TCP4, V4_ENDS + tlv(0x04, b"x") + tlv(0x04, b"xyz", length=4)),
    block(PROXY, UNIX_STREAM, bytes(216) + b"x"),
    block(PROXY, TCP4, V4_ENDS + tlv(0x04, bytes(4096 - 16 - 12 - 2))),
    block(PROXY, UNSPEC, length=4081),
    block(LOCAL, UNSPEC, length=0xFFFF),
]
MISSING = [
    REST,
    b"GET / HTTP/1.1\r\n\r\n",
    b"proxy TCP4 192.0.2.7 198.51.100.9 1 2\r\n",
    b" PROXY TCP4 192.0.2.7 198.51.100.9 1 2\r\n",
    b"PROPFIND / HTTP/1.1\r\n\r\n",
    b"\r\nPROXY TCP4 192.0.2.7 198.51.100.9 1 2\r\n",
    b"\r\n\r\n\x00\r\nQUIT\r",
    SIGNATURE.replace(b"Q", b"q"),
    b"\x00",
]


def reason(data: bytes) -> str | None:
    """Why it is refused; None where it isn't."""
    try:
        read_header(data)
    except HeaderError as error:
        return error.reason
    return None


@pytest.mark.parametrize("data", BAD_LINES + BAD_BLOCKS)
def test_what_is_not_allowed_is_invalid(data: bytes) -> None:
    """What begins as a header and is none that the specification allows is refused, by itself and before more."""
    assert [reason(data), reason(data + REST)] == ["invalid"] * 2


@pytest.mark.parametrize("data", BAD_LINES + BAD_BLOCKS)
def test_a_cut_makes_nothing_valid(data: bytes) -> None:
    """However it comes, nothing is taken for a header on the way to its refusal."""
    assert [cut for cut in range(len(data)) if read_or_none(data[:cut]) is not None] == []


@pytest.mark.parametrize("data", MISSING)
def test_what_begins_otherwise_is_missing(data: bytes) -> None:
    """The first byte that fits neither signature is enough to say that there is no header."""
    assert reason(data) == "missing"
    signature = SIGNATURE if data.startswith(b"\r") else b"PROXY"
    same = next(index for index in range(len(data)) if data[index : index + 1] != signature[index : index + 1])
    assert [reason(data[: same + 1]), reason(data[:same])] == ["missing", None]


def test_a_line_is_refused_when_it_can_no_longer_be_one() -> None:
    """A line that is not ended by CRLF is refused at a lone CR or LF, and otherwise at its 107th byte."""
    assert len(LONGEST) == 107
    assert reason(LONGEST[:-2] + b"xx") == "invalid"
    for line in (b"PROXY TCP4 192.0.2.7", b"PROXY UNKNOWN", b"PROXY"):
        assert [reason(line), reason(line + b"\n"), reason(line + b"\rx")] == [None, "invalid", "invalid"]


def test_a_block_is_refused_before_it_has_come() -> None:
    """What the first 16 bytes rule out is not waited for."""
    for data in (block(0x22, TCP4, length=12), block(PROXY, UDP4, length=12), block(PROXY, TCP4, length=4081)):
        assert [reason(data[:15]), reason(data)] == [None, "invalid"]


def test_garbage_is_refused_in_words() -> None:
    """Whatever comes, the answer is a header, the wish for more or a HeaderError."""
    dice = random.Random(5)  # noqa: S311 - nothing of it is a secret
    seeds = [header for header, _, _ in GOOD] + BAD_LINES + BAD_BLOCKS
    for _ in range(20_000):
        data = bytearray(dice.choice(seeds) if dice.random() < 0.9 else dice.randbytes(dice.randrange(300)))
        for _ in range(dice.randrange(4)):
            if data:
                data[dice.randrange(min(len(data), 60))] = dice.randrange(256)
        header = read_or_none(bytes(data[: dice.randrange(len(data) + 1)] if dice.random() < 0.3 else data))
        if header is not None:
            assert 0 < header.size <= len(data)
            assert (header.source is None) == (header.destination is None)


def read_or_none(data: bytes) -> Header | None:
    try:
        return read_header(data)
    except HeaderError:
        return None


# ---------------------------------------------------------------------------- what is written


def tlvs(data: bytes) -> list[tuple[int, bytes]]:
    """Types and values, in their order."""
    found = []
    while data:
        kind, length = struct.unpack_from("!BH", data)
        assert len(data) >= 3 + length
        found.append((kind, data[3 : 3 + length]))
        data = data[3 + length :]
    return found


@pytest.mark.parametrize(
    ("peername", "sockname", "kind", "ends"),
    [
        (FROM, TO, TCP4, V4_ENDS),
        (("::ffff:192.0.2.7", 56324, 0, 0), ("::ffff:198.51.100.9", 443, 0, 0), TCP4, V4_ENDS),
        (("::ffff:192.0.2.7", 56324), TO, TCP4, V4_ENDS),
        ((*FROM6, 0, 0), (*TO6, 0, 0), TCP6, v6_ends("2001:db8::7", "2001:db8::9")),
        (("fe80::7%eth0", 1, 0, 2), TO6, TCP6, v6_ends("fe80::7", "2001:db8::9")),
        (("192.0.2.7", 1), TO6, TCP6, v6_ends("::ffff:192.0.2.7", "2001:db8::9")),
        (FROM6, ("192.0.2.7", 65535), TCP6, v6_ends("2001:db8::7", "::ffff:192.0.2.7")),
    ],
)
def test_addresses_are_written(peername: object, sockname: object, kind: int, ends: bytes) -> None:
    """Both ends in one family: IPv4 where both are, however a socket shows them, else IPv6."""
    header = write_header(peername, sockname, TLS)
    assert header[:14] == SIGNATURE + bytes([PROXY, kind])
    assert header[16 : 16 + len(ends)] == ends


@pytest.mark.parametrize(
    ("peername", "sockname"),
    [
        (None, None),
        (FROM, None),
        (None, TO),
        ("", ""),
        ("/run/app.sock", TO),
        (("shop", 1), TO),
        (("::1",), TO),
        ((), TO),
    ],
)
def test_what_is_no_address_is_not_named(peername: object, sockname: object) -> None:
    """Without two IP addresses the header is LOCAL and of no family; what was agreed is told all the same."""
    header = write_header(peername, sockname, TLS)
    assert header[:14] == SIGNATURE + bytes([LOCAL, UNSPEC])
    assert [kind for kind, _ in tlvs(header[16:])] == [0x20]


def test_the_length_is_that_of_the_rest() -> None:
    """What was written is read again, to its end and no further."""
    tls = Tls("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", "h2", "shop.example")
    for source, destination in ((FROM, TO), (FROM6, TO6)):
        header = write_header(source, destination, tls, b"id")
        assert read_header(header + REST) == Header(len(header), source, destination)
        assert len(header) == 16 + int.from_bytes(header[14:16], "big")


def test_what_was_agreed_is_told() -> None:
    """Protocol, server name and connection id stand in TLVs of their own, version and cipher in that of TLS."""
    header = write_header(FROM, TO, Tls("TLSv1.3", "TLS_AES_128_GCM_SHA256", "h2", "shop.example"), b"f00-1")
    *told, (kind, agreed) = tlvs(header[28:])
    assert told == [(0x01, b"h2"), (0x02, b"shop.example"), (0x05, b"f00-1")]
    assert kind == 0x20
    client, verify = struct.unpack_from("!BI", agreed)
    assert client == 0x01
    assert verify != 0, "no client certificate was verified"
    assert tlvs(agreed[5:]) == [(0x21, b"TLSv1.3"), (0x23, b"TLS_AES_128_GCM_SHA256")]


def test_what_was_not_agreed_has_no_tlv() -> None:
    """A client without ALPN and SNI leaves TLS alone; so does a connection without an id."""
    assert [kind for kind, _ in tlvs(write_header(FROM, TO, TLS)[28:])] == [0x20]


def told_of_the_client(tls: Tls) -> tuple[int, int, dict[int, bytes]]:
    """The flags, `verify`, and what else stands in the TLV of TLS."""
    ((_, agreed),) = tlvs(write_header(FROM, TO, tls)[28:])
    client, verify = struct.unpack_from("!BI", agreed)
    return client, verify, dict(tlvs(agreed[5:]))


@pytest.mark.parametrize(("certificate", "flags"), [("shown", 0x07), ("resumed", 0x05)])
def test_a_certificate_is_told(certificate: Literal["shown", "resumed"], flags: int) -> None:
    """That it was verified, whether on this connection or on that which began its session, and the common name."""
    tls = Tls("TLSv1.3", "TLS_AES_128_GCM_SHA256", certificate=certificate, common_name="r\u00e9ports")
    told = {0x21: b"TLSv1.3", 0x22: "r\u00e9ports".encode(), 0x23: b"TLS_AES_128_GCM_SHA256"}
    assert told_of_the_client(tls) == (flags, 0, told)


@pytest.mark.parametrize(
    ("name", "told"), [("\U0001f600" * 64, True), ("a" * 65, False), ("", False)], ids=["longest", "longer", "none"]
)
@pytest.mark.parametrize("more", ["", "\0.evil", "\n"], ids=["plain", "nul", "line"])
def test_a_common_name_that_is_none_is_not_told(name: str, told: bool, more: str) -> None:
    """One above X.509's bound, or that a reader would cut or fold, is left out; the header stays a valid one."""
    tls = Tls("TLSv1.3", "TLS_AES_128_GCM_SHA256", certificate="shown", common_name=name[len(more) :] + more)
    assert (0x22 in told_of_the_client(tls)[2]) is (told and not more)
    assert read_or_none(write_header(FROM, TO, tls))
