"""A sidecar with a certificate of its own in a directory that goes with it: for a test, and for a run by hand."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from tests.e2e.certificates import issue, swap_secret
from tests.e2e.polling import wait_until_still
from tests.e2e.sidecar_process import Sidecar


@contextmanager
def standing(app_port: int, **settings: str | int) -> Iterator[Sidecar]:
    """A running sidecar before that port; its `settings` are the contract's variables without their prefix."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        mounted = directory / "certs"
        mounted.mkdir()
        swap_secret(mounted, issue(authority))
        given = {"APP_PORT": app_port, "CERT_DIR": mounted, **settings}
        with Sidecar(directory, authority, {key: str(value) for key, value in given.items()}) as sidecar:
            sidecar.wait_for_stderr("serving HTTPS")
            wait_until_still(sidecar.open_files, "the watch has begun")
            yield sidecar
