"""Certificates, good and bad, for the tests of this room."""

import asyncio
import contextlib
import os
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from tlsproxy.tls.files import Material

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
NOBODY = 65534
# Key agreement alone: enough for nobody's TLS 1.2 suites of today.
NOT_FOR_SIGNING = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=True,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


@cache
def key(kind: str) -> Key:
    """A key of a kind such as `rsa-2048`, `secp256r1`, `ed25519`; made once, for RSA is slow."""
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith("rsa-"):
        return rsa.generate_private_key(65537, int(kind.removeprefix("rsa-")))
    curves = {curve.name: curve for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1())}
    return ec.generate_private_key(curves[kind])


def key_pem(private: Key, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8) -> bytes:
    return private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


@dataclass
class Issued:
    """A certificate, its key and its issuer."""

    certificate: x509.Certificate
    key: Key
    issuer: "Issued | None" = None

    @property
    def pair(self) -> tuple[bytes, bytes]:
        return pem(self.certificate), key_pem(self.key)


@dataclass
class Request:
    """What a certificate is to say; the defaults make an everyday one."""

    common_name: str = "localhost"
    names: tuple[str, ...] = ("localhost",)
    issuer: Issued | None = None
    key: Key = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    ca: bool = False
    not_before: datetime = NOW - DAY
    not_after: datetime = NOW + 90 * DAY
    serial: int = field(default_factory=x509.random_serial_number)
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = ()

    def issue(self) -> Issued:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.common_name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.issuer.certificate.subject if self.issuer else subject)
            .public_key(self.key.public_key())
            .serial_number(self.serial)
            .not_valid_before(self.not_before)
            .not_valid_after(self.not_after)
            .add_extension(x509.BasicConstraints(ca=self.ca, path_length=None), critical=True)
        )
        if self.names:
            names = x509.SubjectAlternativeName([x509.DNSName(name) for name in self.names])
            builder = builder.add_extension(names, critical=False)
        for extension, critical in self.extensions:
            builder = builder.add_extension(extension, critical=critical)
        signer = self.issuer.key if self.issuer else self.key
        digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        return Issued(builder.sign(signer, digest), self.key, self.issuer)


@dataclass
class Chain:
    """A leaf under two intermediates under a root."""

    root: Issued
    upper: Issued
    lower: Issued
    leaf: Issued


def chain() -> Chain:
    root = Request("root", (), ca=True).issue()
    upper = Request("upper", (), root, ca=True).issue()
    lower = Request("lower", (), upper, ca=True).issue()
    return Chain(root, upper, lower, Request(issuer=lower).issue())


def signed_with_sha1(directory: Path, selfsigned: bool = True) -> tuple[bytes, bytes]:
    """A certificate for CN=weak that openssl signs as no library does any more, and its key."""
    ec_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30")
    for name, signer in [("root", ()), ("weak", () if selfsigned else ("-CA", "root.crt", "-CAkey", "root.key"))]:
        names = ("-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost", "-sha1")
        files = ("-keyout", f"{name}.key", "-out", f"{name}.crt")
        command = ["openssl", "req", "-x509", *ec_key, *names, *signer, *files]
        subprocess.run(command, cwd=directory, capture_output=True, check=True)
    return (directory / "weak.crt").read_bytes(), (directory / "weak.key").read_bytes()


def material(certificate: bytes, private: bytes) -> Material:
    return Material("tls", "/certs/tls.crt", "/certs/tls.key", certificate, private)


def put(directory: Path, pair: tuple[bytes, bytes]) -> None:
    """Lay a pair down as tls.crt and tls.key, each replaced as a whole."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in zip(("tls.key", "tls.crt"), reversed(pair), strict=True):
        draft = directory / f".{name}"
        draft.write_bytes(content)
        draft.replace(directory / name)


def serial(pair: tuple[bytes, bytes]) -> str:
    digits = f"{x509.load_pem_x509_certificate(pair[0]).serial_number:X}"
    return digits.zfill(len(digits) + len(digits) % 2)


def handshake(
    server: ssl.SSLContext, client: ssl.SSLContext | None = None, name: str | None = "localhost"
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """A handshake in memory, by a client that verifies nothing unless given; returns client and server."""
    if client is None:
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(down, up, server_hostname=name)
    other = server.wrap_bio(up, down, server_side=True)
    for side in (one, other, one, other, one):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    other.write(b"x")
    assert one.read(1) == b"x"
    return one, other


def trusting(authority: x509.Certificate) -> ssl.SSLContext:
    """A client that verifies, as leniently as Python 3.11's default."""
    client = ssl.create_default_context(cadata=pem(authority).decode())
    client.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return client


def strict(authority: x509.Certificate) -> ssl.SSLContext:
    """A client as strict as Python 3.13's default."""
    client = trusting(authority)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    return client


async def until(condition: Callable[[], bool], seconds: float = 5) -> float:
    """Wait for something to become true; how long it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "it did not come true in time"
        await asyncio.sleep(0.01)
    return time.monotonic() - start


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Without root's right to read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
