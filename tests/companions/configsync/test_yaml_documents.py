"""YAML as PyYAML leaves it open and as it is decided."""

import pytest

from tlsproxy.companions.configsync.file_data import Data, MalformedError
from tlsproxy.companions.configsync.yaml_documents import documents


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: 1\n---\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ("# nothing but a comment\n", [None]),
        ("at: 2026-11-21\nno: 2026-13-45\n", [{"at": "2026-11-21", "false": "2026-13-45"}]),
        ("2: a\ntrue: b\nnull: c\n1.5: d\n", [{"2": "a", "true": "b", "null": "c", "1.5": "d"}]),
        ("a: !secret b\nc: !include [d]\ne: !x {f: 1}\n", [{"a": "b", "c": ["d"], "e": {"f": 1}}]),
        ("a: =\nb: !!binary aGk=\nc: !!set {d, e}\n", [{"a": "=", "b": "aGk=", "c": {"d": None, "e": None}}]),
        ("x: &x {a: 1, b: 1}\ny: &y\n  <<: *x\n  a: 2\nz:\n  <<: [*y, *x]\n  c: 3\n",
         [{"x": {"a": 1, "b": 1}, "y": {"a": 2, "b": 1}, "z": {"a": 2, "b": 1, "c": 3}}]),
        ("q: {r: &r {<<: {s: 1}, s: 2}, t: {<<: *r, s: 3}}", [{"q": {"r": {"s": 2}, "t": {"s": 3}}}]),
    ],
)  # fmt: skip
def test_good(text: str, data: list[Data]) -> None:
    """Documents are what JSON would say: text where it has no word, tags of an app's own passed over."""
    assert documents(text) == data


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: b: c", "line 1, column 5: mapping values are not allowed in this context"),
        ("a: 'hunter2", "line 1, column 12: found unexpected end of stream"),
        ("a: *x", "line 1, column 4: found undefined alias"),
        ("a: 1\nb: \x01", "line 2: control characters are not allowed"),
        ("a: 1\na: 2", "line 2, column 1: the key 'a' is there twice in one mapping"),
        ("- {yes: 1, true: 2}", "line 1, column 12: the key 'true' is there twice in one mapping"),
        ("a: &a {b: 1}\nc:\n  <<: *a\n  <<: *a", "line 4, column 3: the key '<<' is there twice in one mapping"),
        ("? [a]\n: b", "line 1, column 3: a list or a mapping can't be a key"),
        ("a: !!int hunter2", "line 1, column 4: is no int"),
        ("a: !!python/object/apply:os.system [x]", "line 1, column 4: could not determine a constructor for the tag"),
        ("&a [*a]", "line 1, column 1: holds an alias of itself"),
        ("[" * 101 + "]" * 101, "line 1, column 101: is nested too deep"),
        ("{a: " * 60_000, "line 1, column 401: is nested too deep"),
    ],
)
def test_bad(text: str, said: str) -> None:
    """What is wrong is told with its place, and values are not repeated."""
    with pytest.raises(MalformedError) as caught:
        documents(text)
    assert str(caught.value).startswith(said)
    assert "hunter2" not in str(caught.value)


def bomb(form: str) -> str:
    """Nine times nine times nine, and so on: a few hundred bytes for 10**9 values."""
    lines = ["l0: &l0 {k: v}"]
    lines += [f"l{n}: &l{n} " + form % ", ".join([f"*l{n - 1}"] * 9) for n in range(1, 10)]
    return "\n".join(lines)


@pytest.mark.parametrize("form", ["[%s]", "{<<: [%s]}"])
def test_bomb(form: str) -> None:
    """Aliases that would fill all memory are refused before anything is made of them."""
    with pytest.raises(MalformedError, match="aliases make more than 100000 values of what is written"):
        documents(bomb(form))
