"""Certificates of clients, and the lists on which their authorities revoke them."""

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOUR = timedelta(hours=1)


def issue_client(
    authority: trustme.CA,
    directory: Path,
    common_name: str,
    names: Sequence[x509.GeneralName] = (),
    ends: datetime | None = None,
) -> Path:
    """A new client certificate and its key, in one file; it ends with its authority's, or earlier."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(issuer.not_valid_before_utc)
        .not_valid_after(ends or issuer.not_valid_after_utc)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(_key(authority), hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = directory / f"{certificate.serial_number:x}.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return path


def certificate_of(path: Path) -> x509.Certificate:
    """The certificate of a file that `issue_client` wrote."""
    return x509.load_pem_x509_certificate(path.read_bytes())


def showing(
    server: trustme.CA, certificate: Path | None = None, version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """A client that trusts the server's authority and shows a certificate, or none."""
    context = ssl.create_default_context(cadata=server.cert_pem.bytes().decode())
    if certificate is not None:
        context.load_cert_chain(certificate)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def revocation_list(authority: trustme.CA, *revoked: Path, ends: timedelta = HOUR) -> bytes:
    """A new list, in PEM, that ends so much later from this moment."""
    now = datetime.now(UTC)
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - 2 * HOUR)
        .next_update(now + ends)
    )
    for path in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(certificate_of(path).serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(now - HOUR).build())
    return builder.sign(_key(authority), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _key(authority: trustme.CA) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key
