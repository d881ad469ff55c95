"""A first look at certificates, taken by a process that ends, so that the one that serves has nothing to check yet.

What the checks take it then loads with the first certificate that is new to it, which may be months later.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from tlsproxy.tls.certificate import Checked
from tlsproxy.tls.checks import check
from tlsproxy.tls.discovery import discover
from tlsproxy.tls.files import MaterialError, find

# The start waits for the look, and the probes with it.
FEW = 16


def look_at(directory: Path, names: Sequence[str]) -> Checked:
    """What is good as it lies there; of what is not, whoever serves tells when it finds the same.

    Args:
        directory: TLSPROXY_CERT_DIR.
        names: as in TLSPROXY_CERT_NAME; of more than `FEW` nothing is looked at.
    """
    found: Checked = {}
    with suppress(MaterialError):
        names = discover(directory) if tuple(names) == ("*",) else names
        for name in names if len(names) <= FEW else ():
            with suppress(MaterialError):
                material = find(directory, name)
                found[name] = material, check(material, datetime.now(UTC))
    return found
