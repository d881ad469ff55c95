"""Where fuzzing begins: good and bad examples for each place, and words that mean something there.

Those of requests and responses are the corpus itself.
"""

import random
import struct
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from tests.tls.material import DAY, NOW, Issued, Request, chain, key, pem

BETWEEN = b"\n====\n"
"""What stands between two files."""

PROXY_WORDS = (
    b"PROXY TCP4 ",
    b"PROXY TCP6 ",
    b"PROXY UNKNOWN",
    b"\r\n",
    b"192.0.2.7",
    b"::1",
    b" 65535",
    b"\r\n\r\n\0\r\nQUIT\n",
)
RULE_WORDS = (b"cn=", b"ou=", b"dns=", b"uri=", b"*.", b"*", b",", b"\\", b"\\,", b"spiffe://a/", b"/", b"\n", b"xn--")
VALUE_WORDS = (
    *(
        b"ms",
        b"s",
        b"m",
        b"h",
        b"d",
        b"k",
        b"g",
        b"on",
        b"off",
        b"auto",
        b"private",
        b"true",
        b",",
        b".",
        b"/",
        b"*",
        b"-",
    ),
    *(
        b"0",
        b"65536",
        b"999999999999",
        b"::1",
        b"10.0.0.0/8",
        b"CERT_NAME=",
        b"APP_PORT=",
        b"CLIENT_ALLOW=",
        b"\n",
        b"=",
    ),
    *(
        b"TRUSTED_PROXIES=",
        b"PROXY_PROTOCOL=accept",
        b"MODE=tcp",
        b"CLIENT_AUTH=required",
        b"HSTS=",
        b"tcp://1.2.3.4:5",
    ),
)
PEM_WORDS = (
    *(b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----", b"-----BEGIN PRIVATE KEY-----", b"-----", b"\n"),
    *(
        b"-----END PRIVATE KEY-----",
        b"-----BEGIN EC PRIVATE KEY-----",
        b"-----BEGIN X509 CRL-----",
        BETWEEN,
        b"=",
        b"\r\n",
    ),
)


def frames() -> list[bytes]:
    """WebSocket frames of every length and with and without a mask."""
    short, medium, long = b"\x81\x03abc", b"\x82\x7e\0\x80" + bytes(128), b"\x82\x7f" + struct.pack("!Q", 4) + b"abcd"
    masked = b"\x81\x83\1\2\3\4abc"
    return [short, medium, long, masked, b"\x89\0", short + masked + b"\x88\x02\x03\xe9", medium[:60]]


def walks() -> list[bytes]:
    """Courses of events."""
    chance = random.Random(0)  # noqa: S311  a course of events is no secret
    return [bytes([limit]) + chance.randbytes(60) for limit in range(5)]


def proxy_headers() -> list[bytes]:
    """Headers of both versions."""
    ends = bytes([192, 0, 2, 7, 198, 51, 100, 9]) + struct.pack("!HH", 56324, 443)
    signature = b"\r\n\r\n\0\r\nQUIT\n"

    def block(command: int, kind: int, rest: bytes) -> bytes:
        return signature + struct.pack("!BBH", command, kind, len(rest)) + rest

    tlv = b"\x02\0\x04shop"
    return [
        b"PROXY TCP4 192.0.2.7 198.51.100.9 56324 443\r\n",
        b"PROXY TCP6 2001:db8::7 ::ffff:192.0.2.9 1 65535\r\nmore",
        b"PROXY UNKNOWN whatever stands here\r\n",
        block(0x21, 0x11, ends),
        block(0x21, 0x11, ends + tlv),
        block(0x21, 0x21, bytes(36) + tlv),
        block(0x20, 0, b""),
        block(0x21, 0x31, bytes(216)),
    ]


def client_rules() -> list[bytes]:
    """Rules, and behind them a name that somebody has."""
    return [
        b"cn=reports\nreports",
        b"dns=*.billing.svc, dns=a.b\na.billing.svc",
        b"dns=*.billing.svc\na.b.billing.svc",
        b"uri=spiffe://a/*/b\nspiffe://a/x/y/b",
        b"cn=a.b\na-b",
        b"uri=spiffe://example.org/ns/*/sa/x\nspiffe://example.org/ns/a/sa/x",
        b"ou=a\\,b,cn=\\\\\na,b",
        b"uri=urn:a:b\nurn:a:b",
    ]


def values(kinds: int) -> list[bytes]:
    """A byte that chooses the kind, and a value."""
    written = [
        "30",
        "1.5s",
        "500ms",
        "14d",
        "10m",
        "65536",
        "1g",
        "on",
        "off",
        "8443",
        "auto",
        "/healthz",
        "10.0.0.0/8,::1",
    ]
    written += ["private", "cn=a,dns=*.b", "h2,http/1.1", "a,b", "*", "[::1]", "localhost", "/a,/b/", "365d", "tcp"]
    return [bytes([kind]) + value.encode() for kind in range(kinds) for value in written]


def settings() -> list[bytes]:
    """Environments, without the variables' prefix."""
    return [
        b"CERT_NAME=shop\nAPP_PORT=3000",
        b"MODE=tcp\nALPN=h2,http/1.1\nPROXY_PROTOCOL=send",
        b"CLIENT_AUTH=required\nCLIENT_ALLOW=cn=a,dns=*.b\nTRUSTED_PROXIES=private,10.0.0.0/8",
        b"APP_PORT=tcp://10.0.0.1:443\nPORT=tcp://10.0.0.1:443\nAPP_PROT=3000",
        b"HEAD_TIMEOUT=10s\nMAX_HEAD=32k\nHSTS=365d\nWORKERS=auto\nLOG_FORMAT=text",
        b"LISTEN_PORT=0\nADMIN_PORT=0\nDRAIN_DELAY=-1\nAPP_CHECK=/healthz",
    ]


@cache
def _chain() -> list[Issued]:
    made = chain()
    return [made.leaf, made.lower, made.upper, made.root]


def certificates() -> list[bytes]:
    """Pairs, good and bad."""
    issued = [Request(key=key(kind)).issue() for kind in ("secp256r1", "rsa-2048", "ed25519", "secp256k1")]
    pairs = [BETWEEN.join(one.pair) for one in issued]
    leaf = _chain()[0]
    whole = pem(*(one.certificate for one in _chain()))
    mixed = BETWEEN.join([issued[0].pair[0], issued[1].pair[1]])
    return [
        *pairs,
        BETWEEN.join([whole, leaf.pair[1]]),
        whole + leaf.pair[1],
        mixed,
        BETWEEN.join(issued[0].pair[::-1]),
    ]


def bundles() -> list[bytes]:
    """Trust bundles, alone and with a revocation list."""
    root = _chain()[3]
    revocations = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(root.certificate.subject)
        .last_update(NOW - DAY)
        .next_update(NOW + DAY)
        .sign(root.key, hashes.SHA256())
    )
    lists = revocations.public_bytes(serialization.Encoding.PEM)
    authority = pem(root.certificate)
    return [authority, pem(*(one.certificate for one in _chain())), BETWEEN.join([authority, lists]), lists]
