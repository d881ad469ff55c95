"""The certificate that every front serves: ECDSA P-256, for localhost, from a CA made for the run."""

from dataclasses import dataclass
from pathlib import Path

import trustme

NAMES = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Certificate:
    """PEM files; `chain` and `key` lie in their directory as `tls.crt` and `tls.key`."""

    chain: Path
    key: Path
    ca: Path


def make(directory: Path) -> Certificate:
    """Writes the files into a directory of their own, which must exist and be private."""
    ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
    leaf = ca.issue_cert(*NAMES, key_type=trustme.KeyType.ECDSA)
    made = Certificate(directory / "tls.crt", directory / "tls.key", directory / "ca.pem")
    made.chain.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    made.key.write_bytes(leaf.private_key_pem.bytes())
    ca.cert_pem.write_to_path(made.ca)
    return made
