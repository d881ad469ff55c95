"""A CA and a certificate for development, made in memory; the CA's key is forgotten at once.

Whoever trusts the CA therefore trusts this one certificate and no other.
"""

import ipaddress
import logging
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tlsproxy.tls.files import AbsentError, Material, MaterialError

LOCAL = ("localhost", "127.0.0.1", "::1")
LIFETIME = timedelta(days=90)
# Clients' clocks may be behind.
BACKDATED = timedelta(hours=1)

log = logging.getLogger("tlsproxy.certificates")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key, and the CA that clients must trust."""

    ca_pem: bytes
    chain_pem: bytes
    key_pem: bytes = field(repr=False)


def make(names: tuple[str, ...] = ()) -> Pair:
    """A fresh CA and a certificate of its for localhost and the names.

    Args:
        names: further host names, wildcards and addresses.

    Raises:
        MaterialError: one of them is none.
    """
    alternatives = x509.SubjectAlternativeName([_general_name(name) for name in dict.fromkeys((*LOCAL, *names))])
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    # A name of its own for each CA: a trust store that holds two of the same name may try the wrong one.
    ca_name = _common_name(f"tlsproxy development CA {secrets.token_hex(4)}")
    ca = _ca(ca_name, ca_key)
    leaf = _leaf(_common_name("localhost"), key, ca, ca_key, alternatives)
    return Pair(
        ca.public_bytes(serialization.Encoding.PEM),
        leaf.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    if not name.isascii() or not name.strip("*.") or any(character in name for character in " /:@,"):
        raise MaterialError(f"{name!r} is neither a host name nor an address")
    return x509.DNSName(name)


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _ca(name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    name: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    alternatives: x509.SubjectAlternativeName,
) -> x509.Certificate:
    authority = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        _builder(name, ca.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority), critical=False)
        .add_extension(alternatives, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def write(directory: Path, names: tuple[str, ...] = (), *, force: bool = False) -> tuple[Path, Path, Path]:
    """Put a fresh `tls.crt`, `tls.key` and `ca.crt` into a directory, which is made if need be.

    The key is readable by its owner alone. Each file is replaced as a whole, so that a sidecar that serves
    the directory takes them up.

    Args:
        directory: serves as TLSPROXY_CERT_DIR with the default TLSPROXY_CERT_NAME.
        names: as for `make`.
        force: replace files that exist. The new CA is another one, to be trusted anew.

    Returns:
        The paths of certificate, key and CA.

    Raises:
        MaterialError: a file exists and `force` is not given, or one cannot be written.
    """
    certificate, key, ca = (directory / file for file in ("tls.crt", "tls.key", "ca.crt"))
    existing = [str(path) for path in (certificate, key, ca) if os.path.lexists(path)]
    if existing and not force:
        raise MaterialError(f"{', '.join(existing)} exists already: name another directory, or --force")
    pair = make(names)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # The CA first: whoever sees the new certificate finds its issuer beside it.
        replace(ca, pair.ca_pem, 0o644)
        replace(key, pair.key_pem, 0o600)
        replace(certificate, pair.chain_pem, 0o644)
    except OSError as error:
        raise MaterialError(f"{directory} cannot be written to: {error.strerror}") from None
    return certificate, key, ca


def replace(path: Path, content: bytes, mode: int) -> None:
    """Write a file beside its place and move it there: nobody ever reads half of it.

    Raises:
        OSError: the directory is missing or may not be written to.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


class Standby:
    """A source that makes a certificate as long as the real one has never been there (SELF_SIGNED).

    Once the real one has been read, its absence is an error like any other: clients that trust it would
    refuse what is made here.
    """

    def __init__(self, name: str, source: Callable[[], Material], ca_file: Path | None = None) -> None:
        """Makes nothing yet.

        Args:
            name: of the certificate.
            source: reads the real one.
            ca_file: where the CA is written when one is made; None: nowhere.
        """
        self._name = name
        self._source = source
        self._ca_file = ca_file
        self._made: Material | None = None
        self._real = False

    def __call__(self) -> Material:
        """The real material, else the made one, always the same.

        Raises:
            MaterialError: the real one is bad, or was there and is gone, or the CA cannot be written.
        """
        try:
            material = self._source()
        except AbsentError:
            if self._real:
                raise
            self._made = self._made or self._make()
            return self._made
        self._real = True
        return material

    def _make(self) -> Material:
        pair = make()
        if self._ca_file is not None:
            try:
                replace(self._ca_file, pair.ca_pem, 0o644)
            except OSError as error:
                raise MaterialError(
                    f"{self._ca_file} (TLSPROXY_SELF_SIGNED_CA) cannot be written: {error.strerror}"
                ) from None
        log.warning(
            "certificate %s: MADE HERE, FOR DEVELOPMENT ONLY (TLSPROXY_SELF_SIGNED): none is mounted; "
            "clients must trust %s",
            self._name,
            self._ca_file or "its CA, which TLSPROXY_SELF_SIGNED_CA would write to a file",
        )
        where = "(made in memory)"
        return Material(self._name, where, where, pair.chain_pem, pair.key_pem, pair.ca_pem)
