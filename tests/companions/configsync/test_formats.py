"""Which file is held to what, as settings say it."""

from pathlib import PurePosixPath

import pytest

from tlsproxy.companions.configsync.formats import Formats, parse_formats, parse_schemas


def test_words() -> None:
    """One word is for all files, else each pattern has its own."""
    assert parse_formats("YAML") == (("*", "yaml"),)
    assert parse_formats("*.conf=ini, app.yaml = none,") == (("*.conf", "ini"), ("app.yaml", "none"))
    assert parse_schemas("/etc/a.json") == (("*", "/etc/a.json"),)
    assert parse_schemas("a.json=/etc/a.json") == (("a.json", "/etc/a.json"),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yml", "yml is no format"),
        ("*.conf=nginx", "nginx is no format"),
        ("yaml, json", "one of several has no pattern"),
        ("=json", "a pattern has no value"),
        ("a=", "a pattern has no value"),
    ],
)
def test_bad_formats(text: str, said: str) -> None:
    """What is no format is refused by its name."""
    with pytest.raises(ValueError, match=said):
        parse_formats(text)


def test_bad_schemas() -> None:
    """A schema's path does not depend on where the process runs."""
    with pytest.raises(ValueError, match=r"schema\.json must be an absolute path"):
        parse_schemas("schema.json")


@pytest.mark.parametrize(
    ("text", "file", "word"),
    [
        ("auto", "a/app.YML", "yaml"),
        ("auto", "nginx.conf", "none"),
        ("json", "nginx.conf", "json"),
        ("*.conf=ini,*=auto", "a/b.conf", "ini"),
        ("*.conf=ini,*=auto", "b.toml", "toml"),
        ("*.conf=ini", "b.toml", "none"),
        ("a/*=none,*=json", "a/b.json", "none"),
        ("a/*=none,*=json", "b/b.json", "json"),
    ],
)
def test_format(text: str, file: str, word: str) -> None:
    """The first pattern that matches the path or the name counts."""
    assert Formats(parse_formats(text)).format_of(PurePosixPath(file)) == word


def test_schema() -> None:
    """A file has the schema of the first pattern, or none."""
    formats = Formats(schemas=parse_schemas("app.*=/a.json,b=/b.json"))
    assert [formats.schema_of(PurePosixPath(file)) for file in ("x/app.yaml", "b", "c")] == ["/a.json", "/b.json", ""]


def test_free() -> None:
    """Only what is told to be of no format is let alone; a suffix that is not known is no such word."""
    formats = Formats(parse_formats("a=none,*=auto"))
    assert [formats.is_free(PurePosixPath(file)) for file in ("a", "b")] == [True, False]
