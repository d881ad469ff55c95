"""What is said of a version's files, in the process that reads them."""

import json
import resource
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tlsproxy.companions.configsync.check_process import MALFORMED, UNUSABLE, main
from tlsproxy.companions.configsync.formats import Formats, parse_formats, parse_schemas


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, ...]]]:
    """The limit that is set, which this process keeps to itself."""
    limits: list[tuple[int, ...]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, both: limits.append((kind, *both)))
    yield limits
    assert set(limits) == {(resource.RLIMIT_DATA, 1 << 28, 1 << 28)}


def check(directory: Path, formats: Formats, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    status = main(str(directory), json.dumps(asdict(formats)))
    return status, capsys.readouterr().out.splitlines()


def test_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is said of files that are as they are to be, wherever they lie."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.json").write_text("{}")
    (tmp_path / "c.conf").write_text("{")
    assert check(tmp_path, Formats(), capsys) == (0, [])


def test_each_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each file that is not has a line, by its path; symbolic links are passed over."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.json").write_text("{")
    (tmp_path / "c.toml").write_text("x")
    (tmp_path / "d\n.xml").write_text("x")
    (tmp_path / "e.json").symlink_to("a/b.json")
    status, lines = check(tmp_path, Formats(), capsys)
    assert status == MALFORMED
    assert [line.partition(": ")[0] for line in lines] == ["a/b.json", "c.toml", r"'d\n.xml'"]


def test_many_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only so many are told."""
    for number in range(25):
        (tmp_path / f"{number:02}.json").write_text("{")
    _, lines = check(tmp_path, Formats(), capsys)
    assert len(lines) == 21
    assert lines[-1] == "... and 5 more files"


@pytest.mark.parametrize("content", [b"", b" \r\n\t", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["a.json", "a.conf"])
def test_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes) -> None:
    """A file without anything is refused, unless that is allowed or the file has no format."""
    (tmp_path / name).write_bytes(content)
    assert check(tmp_path, Formats(), capsys) == (MALFORMED, [f"{name}: is empty"])
    assert check(tmp_path, Formats(allow_empty=True), capsys) == (0, [])
    assert check(tmp_path, Formats(parse_formats("none")), capsys) == (0, [])


def test_large(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is larger than it may be is not read; what has no format may be."""
    (tmp_path / "a.json").write_text("[1, 2, 3]")
    assert check(tmp_path, Formats(max_size=9), capsys) == (0, [])
    assert check(tmp_path, Formats(max_size=8), capsys) == (MALFORMED, ["a.json: has more than 8 bytes"])
    (tmp_path / "a.json").rename(tmp_path / "a.conf")
    assert check(tmp_path, Formats(max_size=8), capsys) == (0, [])


def test_deep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nesting without an end is told like anything else."""
    (tmp_path / "a.json").write_text("[" * 100_000)
    assert check(tmp_path, Formats(), capsys) == (MALFORMED, ["a.json: is nested too deep"])


@pytest.fixture
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schemas") / "schema.json"
    path.write_text('{"required": ["port"]}')
    return path


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", '{"port": 1}', []),
        ("a.json", "{}", ["a.json: $ lacks 'port'"]),
        ("a.yaml", "{port: 1}\n---\n{}", ["a.yaml: document 2, $ lacks 'port'"]),
        ("a.xml", "<a/>", ["a.xml: has a schema, and XML can't be held to one"]),
        ("a.conf", "x", ["a.conf: has a schema, but no format that it is read as"]),
    ],
)
def test_schema(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], schema: Path, name: str, content: str, said: list[str]
) -> None:
    """A file with a schema is held to it, each document of it."""
    (tmp_path / name).write_text(content)
    formats = Formats(schemas=parse_schemas(str(schema)))
    assert check(tmp_path, formats, capsys) == (MALFORMED if said else 0, said)


def test_bad_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That there is no schema is told apart from files that are none."""
    (tmp_path / "a.json").write_text("{}")
    status, lines = check(tmp_path, Formats(schemas=parse_schemas(f"{tmp_path}/none")), capsys)
    assert (status, lines) == (UNUSABLE, [f"the schema {tmp_path}/none can't be read: no such file or directory"])
