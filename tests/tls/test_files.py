"""tlsproxy/tls/files.py."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tls.material import unprivileged
from tlsproxy.tls import files
from tlsproxy.tls.files import MAX_FILE, PIECE, AbsentError, MaterialError, find, read
from tlsproxy.tls.steps import at_once

# The layouts in the order of precedence, for the name `tls`: the files of each.
LAYOUTS = (
    ("tls/tls.crt", "tls/tls.key"),
    ("tls.crt", "tls.key"),
    ("tls/fullchain.pem", "tls/privkey.pem"),
    ("tls.pem",),
)


def lay(directory: Path, *files: str) -> None:
    for file in files:
        path = directory / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"content of {file}")


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may enter, which pytest's own is not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_is_found(tmp_path: Path, layout: tuple[str, ...]) -> None:
    """Each layout is found and read, the one file of the last for certificate and key."""
    lay(tmp_path, *layout)
    found = find(tmp_path, "tls")
    assert found.certificate_file == str(tmp_path / layout[0])
    assert found.key_file == str(tmp_path / layout[-1])
    assert found.certificate == f"content of {layout[0]}".encode()
    assert found.key == f"content of {layout[-1]}".encode()


@pytest.mark.parametrize(
    "files", [("example.org/tls.crt", "example.org/tls.key"), ("example.org.crt", "example.org.key")]
)
def test_other_names_have_their_own_files(tmp_path: Path, files: tuple[str, ...]) -> None:
    """A certificate of another name is found under it, with its dots."""
    lay(tmp_path, *files)
    assert find(tmp_path, "example.org").certificate_file == str(tmp_path / files[0])


@pytest.mark.parametrize("first", range(len(LAYOUTS)))
def test_the_first_layout_wins(tmp_path: Path, first: int) -> None:
    """Of several complete layouts the first of the contract's order is taken."""
    for layout in LAYOUTS[first:]:
        lay(tmp_path, *layout)
    assert find(tmp_path, "tls").certificate_file == str(tmp_path / LAYOUTS[first][0])


def test_the_flat_secret_is_only_for_the_name_tls(tmp_path: Path) -> None:
    """CERT_DIR/tls.crt is served for the name `tls` and for no other."""
    lay(tmp_path, "tls.crt", "tls.key")
    with pytest.raises(AbsentError):
        find(tmp_path, "web")


@pytest.mark.parametrize("there", [True, False])
def test_the_ca_beside_is_read_along(tmp_path: Path, there: bool) -> None:
    """A ca.crt beside the certificate comes with it; none, or one that cannot be read, is no error and no change."""
    (tmp_path / "tls.pem").write_bytes(b"both")
    alone = find(tmp_path, "tls")
    if there:
        (tmp_path / "ca.crt").write_bytes(b"authority")
    else:
        (tmp_path / "ca.crt").mkdir()
    assert find(tmp_path, "tls") == alone
    assert find(tmp_path, "tls").authorities == (b"authority" if there else b"")


def test_absence_names_every_path_and_the_way_out(tmp_path: Path) -> None:
    """Where nothing is found, the message has every path that was tried and the two variables."""
    with pytest.raises(AbsentError) as caught:
        find(tmp_path, "tls")
    message = str(caught.value)
    for layout in (*LAYOUTS, ("tls.crt", "tls.key")):
        assert all(str(tmp_path / file) in message for file in layout)
    assert "TLSPROXY_CERT_DIR" in message
    assert "TLSPROXY_CERT_NAME" in message


@pytest.mark.parametrize(("present", "missing"), [("tls.crt", "tls.key"), ("tls.key", "tls.crt")])
def test_half_a_layout_is_an_error_of_its_own(tmp_path: Path, present: str, missing: str) -> None:
    """One file of two is not absence: the message says which one is missing."""
    lay(tmp_path, f"tls/{present}")
    with pytest.raises(MaterialError, match=f"{present} is there, but .*{missing} is missing") as caught:
        find(tmp_path, "tls")
    assert not isinstance(caught.value, AbsentError)


def test_a_later_whole_layout_beats_an_earlier_half(tmp_path: Path) -> None:
    """A layout that is half there does not hide a complete one after it."""
    lay(tmp_path, "tls/tls.crt", "tls.pem")
    assert find(tmp_path, "tls").certificate_file == str(tmp_path / "tls.pem")


def test_a_missing_directory_is_absence(tmp_path: Path) -> None:
    """A directory that is not mounted yet is named, and counts as absence."""
    with pytest.raises(AbsentError, match=r"nowhere does not exist.*TLSPROXY_CERT_DIR"):
        find(tmp_path / "nowhere", "tls")


def test_a_file_in_place_of_the_directory_is_an_error(tmp_path: Path) -> None:
    """A file given as TLSPROXY_CERT_DIR is said to be no directory."""
    lay(tmp_path, "file")
    with pytest.raises(MaterialError, match=r"file is not a directory.*TLSPROXY_CERT_DIR"):
        find(tmp_path / "file", "tls")


def test_a_link_to_nowhere_says_where_it_points(tmp_path: Path) -> None:
    """certbot's live/ mounted without archive/ is told from absence."""
    live = tmp_path / "tls"
    live.mkdir()
    for file in ("fullchain.pem", "privkey.pem"):
        (live / file).symlink_to(f"../../archive/tls/{file}")
    with pytest.raises(
        MaterialError, match=r"fullchain.pem links to \.\./\.\./archive/tls/fullchain.pem, which is not"
    ):
        find(tmp_path, "tls")


def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    """A FIFO does not make the reader wait for a writer."""
    lay(tmp_path, "tls.key")
    os.mkfifo(tmp_path / "tls.crt")
    with pytest.raises(MaterialError, match=r"tls\.crt is not a regular file"):
        find(tmp_path, "tls")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    """A directory in a file's place, as container engines make for a missing mount, is refused by name."""
    (tmp_path / "tls.crt").mkdir()
    with pytest.raises(MaterialError, match=r"tls\.crt is not a regular file"):
        read(tmp_path / "tls.crt")


def test_size_is_bounded(tmp_path: Path) -> None:
    """A file of the greatest size is read, one byte more is refused."""
    path = tmp_path / "large"
    for size in (0, 1, PIECE - 1, PIECE, PIECE + 1, MAX_FILE):
        path.write_bytes(b"x" * size)
        assert read(path) == b"x" * size
    path.write_bytes(b"x" * (MAX_FILE + 1))
    with pytest.raises(MaterialError, match="larger than"):
        read(path)


def test_denied_permission_names_the_user_and_the_mode(open_directory: Path) -> None:
    """A file that may not be read is named with the process's uid, its mode and a way out."""
    lay(open_directory, "tls.crt", "tls.key")
    (open_directory / "tls.key").chmod(0o000)
    with unprivileged(), pytest.raises(MaterialError) as caught:
        find(open_directory, "tls")
    uid = os.geteuid() or 65534
    assert f"tls.key may not be read by uid {uid}" in str(caught.value)
    assert "mode 0000" in str(caught.value)
    assert "fsGroup" in str(caught.value)


def test_a_closed_directory_is_not_absence(open_directory: Path) -> None:
    """A directory that may not be entered is an error, for nobody knows what is in it."""
    closed = open_directory / "certs"
    closed.mkdir()
    lay(closed, "tls.crt", "tls.key")
    closed.chmod(0o000)
    try:
        with unprivileged(), pytest.raises(MaterialError, match="may not be read by uid") as caught:
            find(closed, "tls")
    finally:
        closed.chmod(0o700)
    assert not isinstance(caught.value, AbsentError)


def directories(directory: Path, *names: str) -> frozenset[Path]:
    """What is to be watched for these names."""
    return at_once(files.directories(directory, *names))


def test_plain_files_are_decided_by_their_directories(tmp_path: Path) -> None:
    """For plain files the directories are those of the layouts."""
    lay(tmp_path, "tls/tls.crt", "tls/tls.key")
    assert directories(tmp_path, "tls") == {tmp_path, tmp_path / "tls"}


def test_each_link_on_the_way_counts(tmp_path: Path) -> None:
    """A mounted Secret's links are followed step by step, a linked CERT_DIR among them."""
    data = tmp_path / "mount" / "tls" / "..2026"
    data.mkdir(parents=True)
    lay(data, "tls.crt", "tls.key")
    (data.parent / "..data").symlink_to("..2026")
    for file in ("tls.crt", "tls.key"):
        (data.parent / file).symlink_to(f"..data/{file}")
    (tmp_path / "certs").symlink_to(tmp_path / "mount")
    assert directories(tmp_path / "certs", "tls") == {tmp_path, tmp_path / "mount", data.parent, data}


def test_several_names_have_the_directories_of_each(tmp_path: Path) -> None:
    """Ways that names have in common are looked at once, and a link that leads upwards is followed."""
    for made in ("archive", "certs"):
        (tmp_path / made).mkdir()
    lay(tmp_path, "archive/a/tls.crt", "b/tls.crt")
    (tmp_path / "certs" / "a").symlink_to("../archive/./a")
    (tmp_path / "certs" / "b").symlink_to("../b/")
    here = tmp_path / "certs"
    assert directories(here, "a", "b") == {here, tmp_path / "archive" / "a", tmp_path / "b"}


def test_what_is_not_there_yet_is_awaited_above(tmp_path: Path) -> None:
    """For a directory that does not exist the nearest one above it is returned."""
    assert directories(tmp_path / "a" / "b", "tls") == {tmp_path}


def test_a_closed_directory_is_awaited_above(open_directory: Path) -> None:
    """Where a directory may not be read, the one above it tells when that changes; what is in it is not known."""
    closed = open_directory / "certs"
    closed.mkdir(mode=0o000)
    with unprivileged():
        assert directories(closed, "tls") == {open_directory, closed}
        assert directories(closed / "below", "tls") == {open_directory, closed}


def test_what_lies_at_a_path_is_told_by_its_inode(tmp_path: Path) -> None:
    """A directory that was renamed away is another than the one in its place; what is not there has none."""
    (tmp_path / "certs").mkdir()
    before = at_once(files.identities([tmp_path, tmp_path / "certs", tmp_path / "absent"]))
    (tmp_path / "certs").rename(tmp_path / "old")
    (tmp_path / "certs").mkdir()
    after = at_once(files.identities([tmp_path, tmp_path / "certs", tmp_path / "absent"]))
    assert before.keys() == after.keys() == {tmp_path, tmp_path / "certs"}
    assert [path for path in before if before[path] != after[path]] == [tmp_path / "certs"]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    """A link that leads to itself ends the way and is refused by the reader."""
    (tmp_path / "tls.pem").symlink_to("tls.pem")
    assert directories(tmp_path, "tls") == {tmp_path}
    with pytest.raises(MaterialError, match="cannot be read"):
        find(tmp_path, "tls")
