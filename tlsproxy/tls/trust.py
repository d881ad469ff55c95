"""Whom a listener believes: the CAs that client certificates are verified with, and their revocation lists.

The bytes as they are found, and the value that comes of them; see `trust_checks`.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tlsproxy.tls.files import AbsentError, exists, read


@dataclass(frozen=True, slots=True)
class TrustMaterial:
    """The bytes of a bundle and its revocation lists at one moment."""

    bundle_file: str
    lists_file: str
    bundle: bytes = field(repr=False)
    lists: bytes | None = field(repr=False)
    """None: there is no such file."""


def find_trust(bundle: Path) -> TrustMaterial:
    """Read a bundle, and the revocation lists in the file beside it whose ending is `.crl`.

    Raises:
        MaterialError: the bundle is not there, or a file cannot be read.
    """
    beside = lists_beside(bundle)
    if not exists(bundle):
        raise AbsentError(
            f"{bundle} is not there: mount the CAs that issue client certificates, or set TLSPROXY_CLIENT_CA"
        )
    lists = read(beside) if exists(beside) else None
    return TrustMaterial(str(bundle), str(beside), read(bundle), lists)


def lists_beside(bundle: Path) -> Path:
    """Where the revocation lists of a bundle lie, if there are any."""
    return bundle.with_suffix(".crl")


@dataclass(frozen=True, slots=True)
class Trust:
    """What clients are verified with."""

    required: bool
    """Whether a client that shows no certificate is refused."""
    authorities: tuple[str, ...]
    """Subjects."""
    revoked: int | None
    """How many certificates are on the lists; None: nobody asks, since there is no list."""
    list_began: datetime | None
    """Of the list that is over first, like `list_ends`; None where no list has an end."""
    list_ends: datetime | None
    """From then on every client of that CA is refused."""
    pem: bytes = field(repr=False)
    """The CAs and the lists."""
    warnings: tuple[str, ...] = ()

    def is_over(self, now: datetime) -> bool:
        """Whether one of the lists is."""
        return self.list_ends is not None and now > self.list_ends
