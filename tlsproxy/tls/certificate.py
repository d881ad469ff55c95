"""A certificate that can be served, as a value: what comes of the checks, which read it from bytes.

Knows nothing of those, so that a process that only serves need not load what they take.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from tlsproxy.tls.files import Material


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is served under one name: leaf, chain and key that belong together."""

    name: str
    """As in TLSPROXY_CERT_NAME."""
    names: tuple[str, ...]
    """DNS names and addresses that it is for; the common name where it has none of them."""
    serial: str
    """Hexadecimal, as `openssl x509 -serial` prints it."""
    issuer: str
    subject: str
    not_before: datetime
    """In UTC, like `not_after`."""
    not_after: datetime
    key_type: str
    """Such as `ECDSA P-256`, `RSA 2048`, `Ed25519`."""
    fingerprint: str
    """SHA-256 of the leaf, hexadecimal."""
    certificate_file: str
    key_file: str
    chain: tuple[str, ...]
    """Subjects of what is presented, leaf first."""
    missing_issuer: str
    """Who issued the last of the chain and is not in it; empty where that is its own issuer (a root)."""
    chain_pem: bytes = field(repr=False)
    """Leaf first, each certificate followed by its issuer."""
    key_pem: bytes = field(repr=False)
    """PKCS#8, unencrypted, whatever form the file had."""
    warnings: tuple[str, ...] = ()
    """What the operator should know though it is served; each begins with the file's name."""

    def dates(self, now: datetime) -> Literal["valid", "expired", "not yet valid"]:
        """How the moment lies to its dates."""
        if now > self.not_after:
            return "expired"
        return "not yet valid" if now < self.not_before else "valid"

    def days_left(self, now: datetime) -> float:
        """Days until it expires; below 0 once it has."""
        return (self.not_after - now) / timedelta(days=1)


Checked = dict[str, tuple[Material, Certificate]]
"""Material and what has come of it, by name."""


def recall(checked: Checked, material: Material) -> Certificate | None:
    """What has come of material, if that is what was checked under its name; either way the name is taken out."""
    found, certificate = checked.pop(material.name, (None, None))
    return certificate if found == material else None
