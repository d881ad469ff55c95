"""How releases are seen by an app: links, plain files, and what is not ours."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.companions.rollout.volume import LAYOUTS, Layout, data, leftovers, opened, publish, seal, seen
from tlsproxy.companions.rollout.layouts import Links
from tlsproxy.companions.rollout.releases import ReleaseError

ONE = {"app.conf": "one", "conf.d/a": "one", "conf.d/deep/b": "one"}
TWO = {"app.conf": "two", "conf.d/a": "two", "new.d/c": "two"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_release_is_seen_with_all_its_files_and_no_others(tmp_path: Path, layout: Layout) -> None:
    """What is new comes, what is no more goes, with its directories; the way back is the same."""
    releases = opened(tmp_path, layout)
    for name, files in (("1", ONE), ("2", TWO)):
        publish(releases, name, files)
        assert seen(tmp_path) == files
        assert data(tmp_path) == f"..versions/{name}"
    assert not (tmp_path / "conf.d" / "deep").exists()
    releases.publish("1")
    assert seen(tmp_path) == ONE
    assert not (tmp_path / "new.d").exists()
    assert leftovers(tmp_path) == []


def test_links_are_relative_and_lead_through_one(tmp_path: Path) -> None:
    """Wherever the volume is mounted, one link decides on all files."""
    volume, elsewhere = tmp_path / "volume", tmp_path / "elsewhere"
    publish(opened(volume), "1", ONE)
    assert (volume / "conf.d").readlink() == Path("..data/conf.d")
    volume.rename(elsewhere)
    assert seen(elsewhere) == ONE


def test_links_of_what_stays_are_not_touched(tmp_path: Path) -> None:
    """Who watches the volume is told of `..data` and of nothing that stays."""
    releases = opened(tmp_path)
    publish(releases, "1", ONE)
    before = (tmp_path / "app.conf").lstat().st_ino
    publish(releases, "2", TWO)
    assert (tmp_path / "app.conf").lstat().st_ino == before


def test_links_are_there_before_they_lead_to_something(tmp_path: Path) -> None:
    """At the moment of the swap each entry of both releases has its link: none is missing for a moment."""
    releases = opened(tmp_path)
    publish(releases, "1", {"a": "1", "old": "1"})
    seal(releases, "2", {"a": "2", "new": "2"})
    at_swap = []

    def swap() -> None:
        at_swap.extend(sorted(path.name for path in tmp_path.iterdir() if path.is_symlink()))

    Links(tmp_path, Nothing()).publish(releases.path("2"), tmp_path, swap)
    assert at_swap == ["..data", "a", "new", "old"]


class Nothing:
    """Of plain files there are none."""

    files: frozenset[str] = frozenset()
    directories: frozenset[str] = frozenset()

    def own(self, files: Iterable[str], directories: Iterable[str]) -> None:
        raise AssertionError


def test_plain_files_are_plain_and_copies(tmp_path: Path) -> None:
    """An app that writes into its configuration changes its own copy, not the version."""
    releases = opened(tmp_path, "files")
    publish(releases, "1", ONE)
    assert not (tmp_path / "app.conf").is_symlink()
    (tmp_path / "app.conf").write_text("changed by the app")
    assert (releases.path("1") / "app.conf").read_text() == "one"


def test_plain_files_that_stay_equal_are_not_touched(tmp_path: Path) -> None:
    """An app that follows its files is not told of one that has not changed."""
    releases = opened(tmp_path, "files")
    publish(releases, "1", ONE)
    before = (tmp_path / "conf.d" / "a").stat().st_ino
    publish(releases, "2", ONE | {"app.conf": "two"})
    assert (tmp_path / "conf.d" / "a").stat().st_ino == before
    assert (tmp_path / "app.conf").read_text() == "two"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_may_become_a_directory_and_the_other_way_round(tmp_path: Path, layout: Layout) -> None:
    """Releases need not have the same shape."""
    releases = opened(tmp_path, layout)
    publish(releases, "1", {"a": "file", "b/inner/c": "deep"})
    publish(releases, "2", {"a/b": "deep", "b": "file"})
    assert seen(tmp_path) == {"a/b": "deep", "b": "file"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_symlinks_of_a_release_stay_symlinks(tmp_path: Path, layout: Layout) -> None:
    """A repository may have them; they lead where they led."""
    releases = opened(tmp_path, layout)
    staged = releases.stage()
    (staged / "real").write_text("content")
    (staged / "alias").symlink_to("real")
    releases.seal(staged, "1")
    releases.publish("1")
    assert seen(tmp_path)["alias"] == "content"
    assert (releases.path("1") / "alias").is_symlink()
    publish(releases, "2", {"real": "content"})
    assert not os.path.lexists(tmp_path / "alias")


# ---------------------------------------------------------------------------- what is not ours


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_others_have_in_the_volume_stays(tmp_path: Path, layout: Layout) -> None:
    """Files, directories and links of others are not touched, also in directories that we made."""
    releases = opened(tmp_path, layout)
    publish(releases, "1", ONE)
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "alias").symlink_to("..data/app.conf")
    if layout == "files":
        (tmp_path / "conf.d" / "theirs").write_text("theirs")
    publish(releases, "2", {"app.conf": "two"})
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert (tmp_path / "alias").read_text() == "two"
    assert (tmp_path / "conf.d" / "theirs").exists() == (layout == "files")
    assert not (tmp_path / "conf.d" / "a").exists()


def a_directory(place: Path) -> None:
    place.mkdir()
    (place / "theirs").touch()


def a_link(place: Path) -> None:
    place.symlink_to("/etc")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("entry", ["app.conf", "conf.d"])
@pytest.mark.parametrize("make", [a_directory, a_link, os.mkfifo])
def test_what_others_have_in_the_place_of_an_entry_is_refused(
    tmp_path: Path, layout: Layout, entry: str, make: Callable[[Path], None]
) -> None:
    """It is named, nothing has been changed, and what was published still is."""
    releases = opened(tmp_path, layout)
    publish(releases, "0", {"former": "0"})
    make(tmp_path / entry)
    if (layout, entry, make) == ("files", "conf.d", a_directory):
        publish(releases, "1", ONE)  # files may stand beside those of others
        assert (tmp_path / "conf.d" / "theirs").exists()
        return
    with pytest.raises(ReleaseError, match=f"{entry} is in the way: it was not published from here; move it away"):
        publish(releases, "1", ONE)
    assert (tmp_path / "former").read_text() == "0"
    assert releases.current == "0"
    assert leftovers(tmp_path) == []


def test_a_regular_file_is_taken_over_by_plain_files_alone(tmp_path: Path) -> None:
    """An image's own configuration may be taken over by a file of the same name, never by a link."""
    for layout in LAYOUTS:
        volume = tmp_path / layout
        volume.mkdir()
        (volume / "app.conf").write_text("the image's")
    publish(opened(tmp_path / "files", "files"), "1", ONE)
    assert seen(tmp_path / "files") == ONE
    with pytest.raises(ReleaseError, match=r"app\.conf is in the way"):
        publish(opened(tmp_path / "link"), "1", ONE)
    assert seen(tmp_path / "link") == {"app.conf": "the image's"}


def test_nothing_is_removed_through_a_link_of_others(tmp_path: Path) -> None:
    """Where somebody put a link in the place of a directory of ours, what it leads to is theirs."""
    volume, theirs = tmp_path / "volume", tmp_path / "theirs"
    releases = opened(volume, "files")
    publish(releases, "1", ONE)
    (volume / "conf.d").rename(theirs)
    (volume / "conf.d").symlink_to(theirs)
    publish(releases, "2", {"app.conf": "two"})
    assert (theirs / "a").read_text() == "one"


# ---------------------------------------------------------------------------- another layout


@pytest.mark.parametrize(("before", "after"), [LAYOUTS, LAYOUTS[::-1]])
def test_a_layout_may_change_with_a_start(tmp_path: Path, before: Layout, after: Layout) -> None:
    """The same release is seen the other way, and the next one too; of the former way nothing is left."""
    releases = opened(tmp_path, before)
    publish(releases, "1", ONE)
    releases.close()
    releases = opened(tmp_path, after)
    assert seen(tmp_path) == ONE
    assert (tmp_path / "app.conf").is_symlink() == (after == "link")
    publish(releases, "2", TWO)
    assert seen(tmp_path) == TWO
    seal(releases, "3", {})
    releases.publish("3")
    assert seen(tmp_path) == {}
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("..")] == []
