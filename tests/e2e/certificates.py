"""Certificates for tests, laid out as a Kubernetes Secret of type kubernetes.io/tls mounts them."""

from pathlib import Path

import trustme


def mount_certificate(authority: trustme.CA, directory: Path, *names: str) -> None:
    """Write a new ECDSA certificate for these names (else localhost and 127.0.0.1) as tls.crt and tls.key."""
    certificate = authority.issue_cert(*(names or ("localhost", "127.0.0.1")), key_type=trustme.KeyType.ECDSA)
    (directory / "tls.key").write_bytes(certificate.private_key_pem.bytes())
    (directory / "tls.crt").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
