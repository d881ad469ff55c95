"""The mounted directory, as tlsproxy.tls.files reads it."""

import stat
from pathlib import Path

from tlsproxy.demo.mounted_secret import publish
from tlsproxy.tls.development import make
from tlsproxy.tls.files import find


def test_links_go_through_the_data_link(tmp_path: Path) -> None:
    """Each file is a link through `..data` into a directory beside it, as the kubelet lays it out."""
    pair = make()
    publish(tmp_path, pair)
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith("..")} == {
        "tls.crt",
        "tls.key",
        "ca.crt",
    }
    assert str((tmp_path / "tls.key").readlink()) == "..data/tls.key"
    assert len((tmp_path / "..data").readlink().parts) == 1
    assert stat.S_IMODE((tmp_path / "tls.key").stat().st_mode) == 0o600
    assert find(tmp_path, "tls").certificate == pair.chain_pem


def test_swap_moves_the_data_link_alone(tmp_path: Path) -> None:
    """A swap changes all files by one link; the files' own links stay, and the old content goes."""
    publish(tmp_path, make())
    before = {path: path.lstat().st_ino for path in tmp_path.glob("*.*") if not path.name.startswith("..")}
    old = (tmp_path / "..data").resolve()
    pair = make()
    publish(tmp_path, pair)
    assert {path: path.lstat().st_ino for path in before} == before
    assert find(tmp_path, "tls").key == pair.key_pem
    assert (tmp_path / "ca.crt").read_bytes() == pair.ca_pem
    assert not old.exists()
    assert len(list(tmp_path.iterdir())) == len(before) + 2
