"""One of ours by itself: certificates as the kubelet mounts them, and CPU time that is its own."""

import os
from pathlib import Path
from time import thread_time

from bench import alone, certificate, proc


def test_a_secret_is_mounted_as_the_kubelet_does(tmp_path: Path) -> None:
    """Files are links through `..data`, and a new version takes the old one's place by one rename."""
    mounts = alone.Mounts(tmp_path)
    mounts.mount("shop", (b"old", b"key"))
    mounts.mount("shop", (b"new", b"key"))
    assert (tmp_path / "shop" / "tls.crt").read_bytes() == b"new"
    assert (tmp_path / "shop" / "tls.crt").readlink() == Path("..data/tls.crt")
    assert str((tmp_path / "shop" / "..data").readlink()).startswith("..version")


def test_every_name_has_a_spare(tmp_path: Path) -> None:
    """What is mounted in place of a name's pair is another one; and the served certificate is the default."""
    (tmp_path / "made").mkdir()
    served = certificate.make(tmp_path / "made")
    mounts, names, spares = alone.mounted(tmp_path / "mounts", served, 3)
    assert names == ["tls", "n1", "n2"]
    assert len(spares) == len(names) + 1
    assert (mounts.directory / "tls" / "tls.crt").read_bytes() == served.chain.read_bytes()
    for name, spare in zip(names, spares[1:], strict=True):
        assert (mounts.directory / name / "tls.crt").read_bytes() != spare[0]


def test_cpu_time_is_exact() -> None:
    """What is used between two readings is what the thread's own clock says, beyond the ticks of the other books."""
    before, began = proc.cpu_seconds_exactly(os.getpid()), thread_time()
    while thread_time() < began + 0.05:
        pass
    used = proc.cpu_seconds_exactly(os.getpid()) - before
    assert 0.03 < used < 0.5


def test_memory_that_is_in_no_file() -> None:
    """It is a part of what is resident."""
    assert 0 < proc.anonymous(os.getpid()) < proc.memory(os.getpid()).resident
