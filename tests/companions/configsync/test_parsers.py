"""What each format's files say, and what is said of those that are none."""

import json

import pytest

from tlsproxy.companions.configsync.file_data import Data, MalformedError
from tlsproxy.companions.configsync.parsers import PARSERS, parse


@pytest.mark.parametrize(
    ("name", "content", "documents"),
    [
        ("json", b'{"a": [1, 2.5, "\xc3\xa4", null, true]}', [{"a": [1, 2.5, "ä", None, True]}]),
        ("yaml", b"a: 1\nb: [x, 'y']\n", [{"a": 1, "b": ["x", "y"]}]),
        ("yaml", b"\xef\xbb\xbfa: 1\n", [{"a": 1}]),
        ("toml", b"at = 2026-11-21\n[a]\nb = [1, 07:30:00]\n", [{"at": "2026-11-21", "a": {"b": [1, "07:30:00"]}}]),
        ("ini", b"[A]\nKey = %(value)s ; x\nflag\n", [{"A": {"Key": "%(value)s ; x", "flag": None}}]),
        ("ini", b"[DEFAULT]\na=1\n[b]\nc: 2\n", [{"DEFAULT": {"a": "1"}, "b": {"a": "1", "c": "2"}}]),
        ("xml", b"<?xml version='1.0' encoding='ISO-8859-1'?><!DOCTYPE a SYSTEM 'a.dtd'><a b='\xe4'/>", []),
        ("xml", "<a>ä</a>".encode("utf-16"), []),
    ],
)  # fmt: skip
def test_good(name: str, content: bytes, documents: list[Data]) -> None:
    """A file is what its app would read, as JSON would say it."""
    assert parse(name, content) == documents


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("json", b'{"a": 1,\n "b" 2}', "line 2, column 6: expecting ':' delimiter"),
        ("json", b'{"a": 1} x', "line 1, column 10: extra data"),
        ("json", b'{"password": "hunter2', "line 1, column 14: unterminated string starting at"),
        ("json", b'{"a": NaN}', "NaN is no number in JSON"),
        ("json", b'{"a": -Infinity}', "-Infinity is no number in JSON"),
        ("json", b"1" * 5000, "a number has too many digits"),
        ("json", b'{"a": {"port": 1,\n "port": 2}}', "line 2: the key 'port' is there twice in one object"),
        ("json", b'[{"a": 1}, {"a": 1, "a": 2}]', "the key 'a' is there twice in one object"),
        ("json", b"\xef\xbb\xbf{}", "line 1: begins with a byte order mark, which not all take in JSON"),
        ("json", '{"a": 1}'.encode("utf-16"), "line 1: is in UTF-16, and JSON is read as UTF-8: save it so"),
        ("yaml", "a: 1".encode("utf-32"), "line 1: is in UTF-32, and YAML is read as UTF-8: save it so"),
        ("toml", "a = 1".encode("utf-16-le"), "line 1: is in UTF-16 or UTF-32, and TOML is read as UTF-8: save it so"),
        ("ini", b"[a]\nb = \xe4", "line 2: byte 0xe4 is not UTF-8: save it so"),
        ("toml", b"a = 1\nb = hunter2", "line 2, column 5: invalid value"),
        ("toml", b"a = 1\na = 2", "cannot overwrite a value"),
        ("toml", b"a = ", "invalid value"),
        ("ini", b"password = hunter2", "line 1: comes before any [section]"),
        ("ini", b"[a]\nb=1\nb=hunter2", "line 3: the key 'b' is there twice in the section 'a'"),
        ("ini", b"[a]\n[a]", "line 2: the section 'a' is there twice"),
        ("ini", b"[a]\n= hunter2", "line 2: is neither a [section] nor a key and its value"),
        ("xml", b"<a>\n<b></a>", "line 2, column 6: mismatched tag"),
        ("xml", b"<a>", "line 1, column 4: no element found"),
        ("xml", b"<!DOCTYPE a [\n<!ENTITY b 'c'>]><a>&b;</a>", "line 2: declares an entity, which is not"),
        ("xml", b"<!DOCTYPE a [<!ENTITY % b SYSTEM 'file:///etc/passwd'>]><a/>", "line 1: declares an entity"),
        ("xml", b"<a>&b;</a>", "line 1, column 4: undefined entity"),
        ("xml", b"<?xml version='1.0' encoding='Big5'?><a/>", "line 1: declares an encoding that is not known"),
        ("xml", b"<?xml version='1.0' encoding='EBCDIC-9'?><a/>", "line 1: declares an encoding that is not known"),
    ],
)  # fmt: skip
def test_bad(name: str, content: bytes, said: str) -> None:
    """What is none is told in a line, with its place where that is known, and without what may be secret."""
    with pytest.raises(MalformedError) as caught:
        parse(name, content)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["json", "toml"])
def test_depth(name: str) -> None:
    """A file without an end of nesting is refused, not followed."""
    with pytest.raises(RecursionError):
        parse(name, b"a = " * (name == "toml") + b"[" * 100_000)


def test_all_formats_are_read() -> None:
    """There is a parser for each format."""
    assert set(PARSERS) == {"json", "yaml", "toml", "ini", "xml"}
    assert parse("json", json.dumps({"a": "\0"}).encode()) == [{"a": "\0"}]
