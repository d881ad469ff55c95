"""What sources give: names that stay in their directory, and messages that stay on their line."""

import pytest

from tlsproxy.companions.configsync.sources.content import SourceError, file_name, laid_out


@pytest.mark.parametrize("name", ["app.json", "conf.d/a.conf", ".hidden", "a b", "ä"])
def test_names_of_files(name: str) -> None:
    """Any relative name that stays where it is put."""
    assert file_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        "a/",
        ".",
        "..data",
        "a/..x",
        "a\\b",
        "a\nb",
        "a\ud800",
        "x" * 256,
        "a/" * 600,
    ],
)
def test_names_that_lead_elsewhere(name: str) -> None:
    """Out of the directory, into the publisher's own entries, or into a terminal: refused, whoever says it."""
    with pytest.raises(ValueError, match=r"file name"):
        file_name(name)


def test_files_are_laid_out_under_their_directory() -> None:
    """Each name is put behind the directory's."""
    assert laid_out("conf.d/", {"a": b"1", "b/c": b"2"}) == {"conf.d/a": b"1", "conf.d/b/c": b"2"}


@pytest.mark.parametrize("files", [{"../x": b""}, {"a": b"", "a/b": b""}])
def test_names_from_outside_are_checked(files: dict[str, bytes]) -> None:
    """A source can't have anything written elsewhere, nor a file in the place of a directory."""
    with pytest.raises(SourceError, match="rename it at the source"):
        laid_out("", files)


def test_a_message_is_one_line() -> None:
    """What a server says can't end a line of the log or turn a terminal's colours on."""
    assert str(SourceError("a\nb\x1b[31m")) == "a?b?[31m"
