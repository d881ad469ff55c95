"""tlsproxy/tls/discovery.py."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.tls.material import unprivileged
from tlsproxy.tls.discovery import discover, places
from tlsproxy.tls.files import MaterialError

BOTH = "-----BEGIN CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\n"


def lay(directory: Path, files: Iterable[str], content: str = BOTH) -> None:
    for name in files:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(content)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["shop/tls.crt", "shop/tls.key"], ["shop"]),
        (["shop/fullchain.pem", "shop/privkey.pem"], ["shop"]),
        (["shop.crt", "shop.key"], ["shop"]),
        (["shop.pem"], ["shop"]),
        (["tls.crt", "tls.key", "ca.crt"], ["tls"]),
        (["a/tls.crt", "b.crt", "b.key", "c.pem", "tls/tls.key"], ["tls", "a", "b", "c"]),
        (["z.example.org.crt", "z.example.org.key"], ["z.example.org"]),
        (["shop/tls.crt", "shop.crt", "shop.key"], ["shop"]),
        (["ca.crt", "lone.key", "README", "empty/other", "crt", ".pem"], []),
        (["..data/tls.crt", "..data/tls.key", ".hidden/tls.crt", ".x.crt", ".x.key"], []),
        ([], []),
    ],
)
def test_what_is_found(tmp_path: Path, files: list[str], names: list[str]) -> None:
    """Each layout makes a name, `tls` first and then by the alphabet; hidden entries and lone files make none."""
    lay(tmp_path, files)
    assert discover(tmp_path) == tuple(names)


@pytest.mark.parametrize("half", BOTH.splitlines(), ids=["certificate", "key"])
def test_a_pem_with_one_of_the_two_is_none(tmp_path: Path, half: str) -> None:
    """A chain or a key of its own in a .pem is not taken for a certificate with its key."""
    lay(tmp_path, ["chain.pem"], half)
    assert discover(tmp_path) == ()


def test_links_count_though_they_lead_nowhere(tmp_path: Path) -> None:
    """In the middle of a Secret's swap its links dangle, and its name stays."""
    (tmp_path / "shop").mkdir()
    for name in ("tls.crt", "tls.key"):
        (tmp_path / "shop" / name).symlink_to(f"..data/{name}")
    assert discover(tmp_path) == ("shop",)


def test_a_known_name_stays_while_a_file_is_left(tmp_path: Path) -> None:
    """A name is gone when all its files are."""
    lay(tmp_path, ["a.crt", "shop.crt"])
    assert discover(tmp_path, ("shop", "blog")) == ("shop",)
    (tmp_path / "shop.crt").unlink()
    assert discover(tmp_path, ("shop", "blog")) == ()


def test_a_directory_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    """It may be mounted yet; nor does a file in its place hold anything."""
    lay(tmp_path, ["file"])
    assert discover(tmp_path / "absent") == discover(tmp_path / "file") == ()


def test_a_directory_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """The message names it."""
    tmp_path.chmod(0)
    with unprivileged(), pytest.raises(MaterialError, match="cannot be looked into: Permission denied"):
        discover(tmp_path)
    tmp_path.chmod(0o700)


def test_entries_that_nobody_may_ask_about_are_told(tmp_path: Path) -> None:
    """A directory whose names may be read and nothing else makes a message, not an error of ours."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        lay(directory, ["shop/tls.crt"])
        directory.chmod(0o744)
        with unprivileged(), pytest.raises(MaterialError, match="cannot be looked into: Permission denied"):
            discover(directory)


def test_places_are_the_directory_and_those_in_it(tmp_path: Path) -> None:
    """A directory that is still empty is a place too, a hidden one is none; for an absent one it is the one above."""
    lay(tmp_path, ["shop/tls.crt", "..data/x", "file"])
    (tmp_path / "coming").mkdir()
    assert set(places(tmp_path)) == {tmp_path, tmp_path / "shop", tmp_path / "coming"}
    assert list(places(tmp_path / "absent")) == [tmp_path]
