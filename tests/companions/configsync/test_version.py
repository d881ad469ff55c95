"""Of what all sources have given, one version."""

import pytest

from tlsproxy.companions.configsync.sources.content import Content
from tlsproxy.companions.configsync.version import ClashError, Version, version_of


def content(*names: str, version: str = "1") -> Content:
    return Content({name: name.encode() for name in names}, version)


def test_all_files_of_all_sources() -> None:
    """With where they are from, in the order of the sources, be their names the same."""
    version = version_of([("https://h/x", content("b", version="7")), ("https://h/x", content("a/c", version="8"))])
    assert version.files == {"b": b"b", "a/c": b"a/c"}
    assert version.origin == "https://h/x (7), https://h/x (8)"


def test_its_name_is_its_files() -> None:
    """Whatever their order and their sources' words; another one for any other name or content."""
    name = Version({"a": b"1", "b": b"2"}, "x").name
    assert Version({"b": b"2", "a": b"1"}, "y").name == name
    others = [{"a": b"1"}, {"a": b"1", "b": b"3"}, {"a": b"1", "c": b"2"}, {"a": b"1b2"}, {"a1": b"", "b": b"2"}, {}]
    names = {Version(files, "x").name for files in others}
    assert len(names | {name}) == 7
    assert len(name) == 20
    assert name.isalnum()


def test_what_can_not_lie_side_by_side() -> None:
    """A file twice, or one where another source has a directory; the file is named."""
    with pytest.raises(ClashError, match="'a' is given by y and by another source"):
        version_of([("x", content("a")), ("y", content("b", "a"))])
    with pytest.raises(ClashError, match="'a' is a file of one source and a directory of another"):
        version_of([("x", content("a")), ("y", content("a/b"))])
