"""What is there whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tlsproxy.companions.rollout.durable import GOING, are_same, read_json, remove_tree, remove_whole, sync, write_whole


def test_a_file_is_written_by_a_rename(tmp_path: Path) -> None:
    """Who has the former file open goes on reading it, and nothing is left beside the new one."""
    path = tmp_path / "state"
    write_whole(path, b"one")
    with path.open("rb") as former:
        write_whole(path, b"two")
        assert former.read() == b"one"
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_begun_is_written_over(tmp_path: Path) -> None:
    """A process that was killed while it wrote leaves nothing that the next one stumbles over."""
    (tmp_path / "state.new").write_bytes(b"half of something much longer")
    write_whole(tmp_path / "state", b"whole")
    assert (tmp_path / "state").read_bytes() == b"whole"


def test_a_symlink_is_not_written_through(tmp_path: Path) -> None:
    """A link that others put in the way leads nothing of ours to somewhere else."""
    (tmp_path / "theirs").write_bytes(b"theirs")
    (tmp_path / "state.new").symlink_to("theirs")
    write_whole(tmp_path / "state", b"ours")
    assert (tmp_path / "state").read_bytes() == b"ours"
    assert (tmp_path / "theirs").read_bytes() == b"theirs"


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: path.hardlink_to(path.with_name("other"))])
def test_what_others_have_put_there_is_not_written_to(plant: Callable[[Path], None], tmp_path: Path) -> None:
    """Neither a pipe, which would be waited for, nor a file that has another name."""
    other = tmp_path / "other"
    other.write_text("theirs")
    plant(tmp_path / "file.new")
    write_whole(tmp_path / "file", b"ours")
    assert (tmp_path / "file").read_text() == "ours"
    assert other.read_text() == "theirs"


@pytest.mark.parametrize(
    "plant",
    [
        os.mkfifo,
        Path.mkdir,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.write_text("[" * 5000),
        lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_RDWR), 2**40),
    ],
)
def test_what_is_not_ours_is_not_read(plant: Callable[[Path], object], tmp_path: Path) -> None:
    """What would be waited for, or would take all memory, is none of our files."""
    plant(tmp_path / "file")
    with pytest.raises(ValueError, match="is "):
        read_json(tmp_path / "file")


def test_a_tree_is_out_of_sight_before_it_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed while it removes leaves no half of a tree under its name."""
    tree, aside = tmp_path / "tree", tmp_path / "aside"
    tree.mkdir()
    aside.mkdir()
    (tree / "file").touch()
    with monkeypatch.context() as killed:
        killed.setattr("tlsproxy.companions.rollout.durable.remove_tree", lambda _path: None)
        remove_whole(tree, aside)
    (gone,) = aside.iterdir()
    assert not tree.exists()
    assert gone.name.startswith(GOING)


def test_what_may_not_be_written_is_removed(tmp_path: Path) -> None:
    """Modes without w are no reason to keep what is old; links are removed and not what they lead to."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "file").touch()
    inner = tmp_path / "tree" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    (inner / "link").symlink_to("../../theirs")
    inner.chmod(0o555)
    inner.parent.chmod(0o555)
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert (tmp_path / "theirs" / "file").exists()
    remove_tree(tmp_path / "tree")


@pytest.mark.parametrize("difference", ["content", "length", "mode", "kind", "absence"])
def test_what_is_not_the_same(tmp_path: Path, difference: str) -> None:
    """Two files are the same by content, mode, owner and kind, whatever their times are."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("text")
    other.write_text({"content": "TEXT", "length": "text and more"}.get(difference, "text"))
    os.utime(one, (0, 0))
    if difference == "mode":
        other.chmod(0o600)
    if difference in ("kind", "absence"):
        other.unlink()
    if difference == "kind":
        other.symlink_to("one")
    assert not are_same(one, other)


def test_what_is_the_same(tmp_path: Path) -> None:
    """Equal files are the same, and so are equal symlinks, wherever they lead."""
    for name in ("one", "other"):
        (tmp_path / name).write_text("text")
        (tmp_path / f"{name} link").symlink_to("nowhere")
    assert are_same(tmp_path / "one", tmp_path / "other")
    assert are_same(tmp_path / "one link", tmp_path / "other link")


def test_what_is_not_there_can_not_be_synced(tmp_path: Path) -> None:
    """An error of the disk is not kept quiet."""
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "nothing")
