"""Changes to a text: each adds what it should, touches nothing else, and can be undone without a trace."""

import pytest
from ruamel.yaml import YAML

from tlsproxy.inject import edits
from tlsproxy.inject.documents import Mapping, Sequence, parse
from tlsproxy.inject.edits import Edit
from tlsproxy.inject.rendering import Plain


def root_of(text: str) -> Mapping:
    (root,) = parse(text)
    assert isinstance(root, Mapping)
    return root


def added_to(text: str) -> str:
    """The text with `new: {k: [v]}` in the mapping at `a`, or `{k: v}` in the list there."""
    node = root_of(text).get("a")
    if isinstance(node, Sequence):
        return edits.apply(text, [edits.add_item(text, node, {"k": "v"})])
    assert isinstance(node, Mapping)
    return edits.apply(text, [edits.add_entry(text, node, "new", {"k": ["v"]})])


CASES = {
    "a:\n  b: c\nd: e\n": "a:\n  b: c\n  new:\n    k:\n      - v\nd: e\n",
    "a:\n  b: c  # one\n\n# two\nd: e\n": "a:\n  b: c  # one\n  new:\n    k:\n      - v\n\n# two\nd: e\n",
    "a:\n  b: c": "a:\n  b: c\n  new:\n    k:\n      - v",
    "a:\r\n  b: c\r\n": "a:\r\n  b: c\r\n  new:\r\n    k:\r\n      - v\r\n",
    "a:\n  b: |\n    c\nd: e\n": "a:\n  b: |\n    c\n  new:\n    k:\n      - v\nd: e\n",
    "a:\n- b: c\nd: e\n": "a:\n- b: c\n- k: v\nd: e\n",
    "a:\n  - b\n": "a:\n  - b\n  - k: v\n",
    "a: &x\n  - b\n": "a: &x\n  - b\n  - k: v\n",
    "a: {b: c}  # x\n": "a: {b: c, new: {k: [v]}}  # x\n",
    'a: {"b": "c"}\n': 'a: {"b": "c", "new": {"k": ["v"]}}\n',
    "a: &x [b]\n": "a: &x [b, {k: v}]\n",
    "a: &x []\n": 'a: &x [{"k": "v"}]\n',
    "a: !!map {}\n": 'a: !!map {"new": {"k": ["v"]}}\n',
    "a: {}\n": 'a: {"new": {"k": ["v"]}}\n',
    "a: []\n": 'a: [{"k": "v"}]\n',
    "a: [b, c]\n": "a: [b, c, {k: v}]\n",
    '{\n  "a": [\n    "b"\n  ]\n}\n': '{\n  "a": [\n    "b",\n    {\n      "k": "v"\n    }\n  ]\n}\n',
    '{\n\t"a": {\n\t\t"b": 1\n\t}\n}\n': (
        '{\n\t"a": {\n\t\t"b": 1,\n\t\t"new": {\n\t\t\t"k": [\n\t\t\t\t"v"\n\t\t\t]\n\t\t}\n\t}\n}\n'
    ),
}


@pytest.mark.parametrize(("before", "after"), CASES.items())
def test_what_is_added_stands_behind_the_others(before: str, after: str) -> None:
    """In the form that is there: block or flow, JSON or not, on one line or on many, with these line ends."""
    assert added_to(before) == after
    YAML(typ="safe", pure=True).load(after)


@pytest.mark.parametrize("before", [text for text in CASES if "{}" not in text and "[]" not in text])
def test_what_was_added_goes_without_a_trace(before: str) -> None:
    """Deleting it gives the very text from before."""
    after = added_to(before)
    node = root_of(after).get("a")
    assert isinstance(node, Mapping | Sequence)
    last = node.entries[-1] if isinstance(node, Mapping) else node.items[-1]
    assert edits.apply(after, edits.delete(after, node, [last])) == before


@pytest.mark.parametrize(
    ("text", "gone", "left"),
    [
        ("a:\n  x: 1\n  y: 2\n  z: 3\n", "x", "a:\n  y: 2\n  z: 3\n"),
        ("a:\n  x: 1\n  y: 2\n  z: 3\n", "xy", "a:\n  z: 3\n"),
        ("a: {x: 1, y: 2, z: 3}\n", "x", "a: {y: 2, z: 3}\n"),
        ("a: {x: 1, y: 2, z: 3}\n", "xy", "a: {z: 3}\n"),
        ("a: {x: 1, y: 2, z: 3}\n", "yz", "a: {x: 1}\n"),
        ("a: {x: 1, y: 2, z: 3}\n", "xz", "a: {y: 2}\n"),
        ("a:\n  x: 1\n  y:\n    q: 2\n  z: 3", "yz", "a:\n  x: 1"),
        ("b:\n- x: 1\n  y: 2\n", "x", "b:\n- y: 2\n"),
    ],
)
def test_deleting(text: str, gone: str, left: str) -> None:
    """Wherever they stand, what is left is as it was."""
    node = root_of(text).get(text[0])
    if isinstance(node, Sequence):
        node = node.items[0]
    assert isinstance(node, Mapping)
    assert edits.apply(text, edits.delete(text, node, [entry for entry in node.entries if entry.key in gone])) == left


@pytest.mark.parametrize(
    ("text", "key", "value", "after"),
    [
        ("a: 1  # x\n", "a", 2, "a: 2  # x\n"),
        ("a:  # x\n", "a", 2, "a: 2  # x\n"),
        ("{a: , b: 1}\n", "a", 2, "{a: 2 , b: 1}\n"),
        ("a: # x\n", "a", {"k": 1}, "a:\n  k: 1 # x\n"),
        ("{a: 1, b: 2}\n", "a", "x", "{a: x, b: 2}\n"),
        ('{"a": 1}\n', "a", "x", '{"a": "x"}\n'),
        ("a:\n  b: c\n", "new", {"k": {"l": 1}}, "new:\n  k:\n    l: 1\n"),
        ("{a: {b: c}, d: e}\n", "new", {"k": 1}, "{new: {k: 1}, d: e}\n"),
    ],
)
def test_replacing(text: str, key: str, value: Plain, after: str) -> None:
    """A value alone, or the whole entry when its key is another."""
    root = root_of(text)
    assert edits.apply(text, [edits.replace_entry(text, root, root.entries[0], key, value)]) == after


@pytest.mark.parametrize(
    ("text", "after"),
    [("a: # x\nb: c\n", 'a: {"k": 1} # x\nb: c\n'), ("a: ~\n", 'a: {"k": 1}\n'), ("a:", 'a: {"k": 1}')],
)
def test_filling_a_null(text: str, after: str) -> None:
    """The value stands behind the colon."""
    assert edits.apply(text, [edits.fill(root_of(text).entries[0], {"k": 1})]) == after


def test_several_at_one_place() -> None:
    """What belongs into the deeper collection comes first, in whatever order they were asked for."""
    text = "a:\n  b:\n  - c\n"
    outer = root_of(text).get("a")
    assert isinstance(outer, Mapping)
    inner = outer.get("b")
    assert isinstance(inner, Sequence)
    both = [edits.add_entry(text, outer, "new", "1"), edits.add_item(text, inner, "d")]
    assert edits.apply(text, both) == edits.apply(text, both[::-1]) == 'a:\n  b:\n  - c\n  - d\n  new: "1"\n'


def test_overlapping_edits() -> None:
    """The outer one counts, and deletions that touch are one."""
    assert edits.apply("abcdef", [Edit(0, 4, "X"), Edit(1, 2, "Y")]) == "Xef"
    assert edits.apply("abcdef", [Edit(1, 3, ""), Edit(2, 5, "")]) == "af"


def test_indentation_is_the_places_own() -> None:
    """Lines taken at one column are put back at another."""
    text = "a:\n    b:\n      c: d\n\n      e: f\n"
    start = text.index("b:")
    lines = edits.unindented(text, start, len(text) - 1)
    assert lines == "b:\n  c: d\n\n  e: f"
    assert edits.indented("  x", 2, "b:\n  c: d") == "b:\n    c: d"
