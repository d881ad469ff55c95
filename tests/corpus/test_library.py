"""The corpus is whole: each file is in its index, each class has messages, and no line end has been mended."""

from pathlib import Path

import pytest

from tests.corpus.library import HERE, groups, messages

KINDS = ["requests", "responses"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_file_has_its_row(kind: str) -> None:
    """What is not in the index is not tried, and a row without its file would be none."""
    found = {str(path.relative_to(HERE / kind)) for path in (HERE / kind).rglob("*") if path.is_file()}
    assert found == {"index.toml"} | {f"{message.label}.http" for message in messages(kind)}


@pytest.mark.parametrize("kind", KINDS)
def test_each_message_is_there_once(kind: str) -> None:
    """Two names for the same bytes would count twice."""
    tried = [(message.data, message.method, message.ends) for message in messages(kind)]
    assert len(tried) == len(set(tried))


@pytest.mark.parametrize(("kind", "least"), [("requests", 150), ("responses", 60)])
def test_there_are_enough(kind: str, least: int) -> None:
    """In number, and in each class."""
    assert len(messages(kind)) >= least
    assert min(len(group.messages) for group in groups(kind)) >= 2
    assert all(message.why and group.tries for group in groups(kind) for message in group.messages)


def test_line_ends_are_as_they_were_written() -> None:
    """Git leaves them alone; nearly every message has a CRLF."""
    assert "tests/corpus/**/*.http -text" in (Path(__file__).parents[2] / ".gitattributes").read_text()
    assert sum(b"\r\n" in message.data for message in messages("requests")) > 500
