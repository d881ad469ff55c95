"""Certificates for tests, and the ways in which they come to lie in a mounted directory."""

import shutil
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | Ed25519PrivateKey

_versions = count(1)


@dataclass(frozen=True)
class Pair:
    """A certificate with its chain, and its key, as PEM."""

    chain: bytes
    key: bytes = field(repr=False)

    @property
    def serial(self) -> str:
        """As ssl.getpeercert and the product write it."""
        digits = f"{x509.load_pem_x509_certificate(self.chain).serial_number:X}"
        return digits.zfill(len(digits) + len(digits) % 2)


def issue(authority: trustme.CA, *names: str) -> Pair:
    """A new ECDSA certificate for these names (else localhost and 127.0.0.1)."""
    certificate = authority.issue_cert(*(names or ("localhost", "127.0.0.1")), key_type=trustme.KeyType.ECDSA)
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    return Pair(chain, certificate.private_key_pem.bytes())


def mount_certificate(authority: trustme.CA, directory: Path, *names: str) -> Pair:
    """Write a new certificate as a Kubernetes Secret of type kubernetes.io/tls names its files."""
    pair = issue(authority, *names)
    place(directory, pair)
    return pair


def place(directory: Path, pair: Pair) -> None:
    """Write or overwrite tls.key and then tls.crt, in place."""
    (directory / "tls.key").write_bytes(pair.key)
    (directory / "tls.crt").write_bytes(pair.chain)


def swap_secret(directory: Path, pair: Pair) -> None:
    """Mount or change a Secret as the kubelet does: a new directory, onto which the link `..data` is renamed."""
    data = directory / "..data"
    before = data.resolve() if data.is_symlink() else None
    content = directory / f"..version_{next(_versions)}"
    content.mkdir()
    place(content, pair)
    draft = directory / "..data_tmp"
    draft.symlink_to(content.name)
    draft.rename(data)
    for name in ("tls.crt", "tls.key"):
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")
    if before is not None:
        shutil.rmtree(before)


def issue_with(authority: trustme.CA, key: PrivateKey) -> Pair:
    """A new certificate for localhost with a key of any kind."""
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    signer = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(issuer.not_valid_before_utc)
        .not_valid_after(issuer.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=True)
        .sign(signer, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), private)
