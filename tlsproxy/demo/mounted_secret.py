"""A directory as the kubelet mounts a Secret, and its change as the kubelet makes it.

The files are links through the link `..data` to a directory named by the time. A change writes a new directory
and moves `..data` to it: all files change at one moment (Kubernetes, pkg/volume/util/atomic_writer.go).
"""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp

from tlsproxy.tls.development import Pair

_DATA = "..data"


def publish(directory: Path, pair: Pair) -> None:
    """Mount the pair as `tls.crt`, `tls.key` and `ca.crt`, or swap it with the one that is mounted.

    Args:
        directory: exists; holds nothing else.
        pair: the Secret's content.

    Raises:
        OSError: the directory may not be written to.
    """
    data = directory / _DATA
    before = data.resolve() if data.is_symlink() else None
    content = _written(directory, {"tls.crt": pair.chain_pem, "tls.key": pair.key_pem, "ca.crt": pair.ca_pem})
    draft = directory / "..data_tmp"
    draft.symlink_to(content.name)
    draft.rename(data)
    if before is None:
        for file in content.iterdir():
            (directory / file.name).symlink_to(Path(_DATA, file.name))
    else:
        shutil.rmtree(before)


def _written(directory: Path, files: dict[str, bytes]) -> Path:
    """A new directory with the files, readable by their owner alone."""
    content = Path(mkdtemp(prefix=f"..{datetime.now(UTC):%Y_%m_%d_%H_%M_%S}.", dir=directory))
    for name, data in files.items():
        descriptor = os.open(content / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    return content
