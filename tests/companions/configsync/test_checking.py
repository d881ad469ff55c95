"""A version's files, checked in a process of their own."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tlsproxy.companions.configsync.checking import FormatError, UncheckedError, check_files
from tlsproxy.companions.configsync.formats import Formats, parse_formats, parse_schemas


def check(directory: Path, formats: Formats) -> None:
    asyncio.run(check_files(directory, formats))


def test_good(tmp_path: Path) -> None:
    """Files that are as they are to be are no news, and what reads them is not loaded here."""
    loaded = "yaml" in sys.modules
    (tmp_path / "a.yaml").write_text("a: 1")
    check(tmp_path, Formats())
    assert ("yaml" in sys.modules) is loaded


def test_bad(tmp_path: Path) -> None:
    """Each file that is not has its line."""
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.xml").write_text("<b>")
    with pytest.raises(FormatError) as caught:
        check(tmp_path, Formats())
    assert [line.split(",")[0] for line in str(caught.value).split("\n")] == ["a.json: line 1", "b.xml: line 1"]


def test_no_schema(tmp_path: Path) -> None:
    """A schema that can't be used is no fault of the files."""
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(
        UncheckedError, match=r"^the files could not be checked: the schema /none can't be read: no such"
    ):
        check(tmp_path, Formats(schemas=parse_schemas("/none")))


def test_pattern_without_end(tmp_path: Path) -> None:
    """A pattern that would take for ever takes as long as there is time."""
    (tmp_path / "a.json").write_text(json.dumps("a" * 40 + "!"))
    schema = tmp_path / "schema"
    schema.write_text('{"pattern": "^(a+)+$"}')
    formats = Formats(parse_formats("*.json=json"), parse_schemas(f"*.json={schema}"), within=0.7)
    with pytest.raises(
        UncheckedError, match=r"^the files could not be checked: \S+ took longer than 0.7s and was ended$"
    ):
        check(tmp_path, formats)


def test_memory(tmp_path: Path) -> None:
    """A file that would take all memory is refused."""
    (tmp_path / "a.json").write_text("[" + "[],".join([""] * 5_000_000) + "[]]")
    with pytest.raises(FormatError, match=r"^a.json: takes more than 256 MiB of memory to be read$"):
        check(tmp_path, Formats(max_size=1 << 30))
