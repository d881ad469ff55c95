"""A real etcd's keys through the whole program."""

from pathlib import Path

import pytest

from tests.companions.configsync.e2e.conftest import Launch
from tests.companions.configsync.e2e.volume import Volume
from tests.companions.configsync.sources.test_etcd import ETCD, started
from tests.e2e.polling import wait_until


@pytest.mark.skipif(ETCD is None, reason="there is no etcd here (Debian: etcd-server)")
def test_keys_beneath_a_prefix(volume: Volume, launch: Launch, tmp_path: Path) -> None:
    """A change, a new key and a deleted one are seen at once, by the watch."""
    directory = tmp_path / "etcd"
    directory.mkdir()
    for etcd in started(directory):
        etcd.put("/shop/a.json", b"[1]")
        configsync = launch(SOURCES=f"etcd+{etcd.url}/shop/", UPDATE_PERIOD="1h")
        volume.wait_for([1], "a.json")
        configsync.wait_until_ready()
        etcd.put("/shop/a.json", b"[2]")
        volume.wait_for([2], "a.json")
        etcd.put("/shop/b.json", b"[3]")
        volume.wait_for([3], "b.json")
        etcd.delete("/shop/a.json")
        wait_until(lambda: volume.names() == ["b.json"], "the deleted key's file is gone")
