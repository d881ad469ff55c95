"""tlsproxy/tls/trust.py."""

import tempfile
from pathlib import Path

import pytest

from tests.tls.material import unprivileged
from tlsproxy.tls.files import AbsentError, MaterialError
from tlsproxy.tls.trust import TrustMaterial, find_trust


def test_find_trust(tmp_path: Path) -> None:
    """The bundle and the lists beside it are read; without lists there are none, without a bundle there is no trust."""
    bundle = tmp_path / "clients.pem"
    with pytest.raises(AbsentError, match=r"clients\.pem is not there"):
        find_trust(bundle)
    bundle.write_bytes(b"bundle")
    assert find_trust(bundle) == TrustMaterial(str(bundle), str(tmp_path / "clients.crl"), b"bundle", None)
    (tmp_path / "clients.crl").write_bytes(b"lists")
    assert find_trust(bundle).lists == b"lists"


def test_a_bundle_that_nobody_may_ask_about_is_told_of() -> None:
    """In a closed directory it is not taken for absent, nor its lists."""
    with tempfile.TemporaryDirectory() as name:
        closed = Path(name)
        closed.chmod(0)
        with unprivileged(), pytest.raises(MaterialError, match="may not be read by uid") as refused:
            find_trust(closed / "ca.crt")
        closed.chmod(0o700)
    assert not isinstance(refused.value, AbsentError)
