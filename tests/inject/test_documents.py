"""YAML as nodes with places: what stands where, whatever form it is written in."""

import pytest

from tlsproxy.inject.documents import Mapping, Node, Scalar, Sequence, mapping_at, mappings_at, parse, text_at
from tlsproxy.inject.refusals import Refused


def only(text: str) -> Mapping:
    (root,) = parse(text)
    assert isinstance(root, Mapping)
    return root


def written(text: str, node: Node | None) -> str:
    assert node is not None
    return text[node.start : node.end]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: b\n", "b"),
        ("a: b   # comment\n", "b"),
        ("\ufeffa: 'b c'\n", "'b c'"),
        ("a: {b: c}  # comment\n", "{b: c}"),
        ("a: [b,\n c]\nd: e\n", "[b,\n c]"),
        ("a:\n  b: c # comment\n\n  # more\n\nd: e\n", "b: c"),
        ("a:\n- b\n- c: d\n\nd: e\n", "- b\n- c: d"),
        ("a:  &x # comment - here\n  - b\nd: *x\n", "- b"),
        ("a: &x\n  b: c\nd: e\n", "b: c"),
        ("a:\r\n  b: c\r\n\r\nd: e\r\n", "b: c"),
        ("a: |\n  b\n  c\nd: e\n", "|\n  b\n  c\n"),
        ("a:\n\nd: e\n", ""),
        ("a: # comment\nd: e\n", ""),
        ("z: 𝄞\na: 𝄞x # c\n", "𝄞x"),
    ],
)
def test_values_end_with_their_last_character(text: str, expected: str) -> None:
    """Neither comments nor blank lines behind it are a value's."""
    entry = only(text).entry("a")
    assert entry is not None
    assert written(text, entry.value) == expected
    assert text[: entry.colon].endswith("a:")


def test_aliases_stand_where_they_are_used() -> None:
    """An alias has the content of its anchor and a place of its own, behind comments that have stars."""
    text = "a: &x\n  b: c\nd: # not *y\n  *x\ne:\n- f\n- *x # z\n"
    root = only(text)
    assert written(text, root.get("d")) == "*x"
    items = root.get("e")
    assert isinstance(items, Sequence)
    assert written(text, items) == "- f\n- *x"
    assert text_at(items.items[1], "b") == "c" if isinstance(items.items[1], Mapping) else False


def test_an_anchor_may_be_set_anew() -> None:
    """An alias means the last one above it, and nobody is warned."""
    root = only("a: &x b\nc: &x d\ne: *x\nf: {? g : h}\n")
    assert text_at(root, "e") == "d"
    inner = mapping_at(root, "f")
    assert inner is not None
    assert text_at(inner, "g") == "h"


def test_what_is_shared_says_so() -> None:
    """Whatever is reached in two ways is shared, at both places and all the way down."""
    root = only("a: &x {b: {c: d}}\ne: *x\nf: &y {}\n")
    shared = [node.shared for key in "aef" if isinstance(node := root.get(key), Mapping)]
    assert shared == [True, True, False]
    below = mapping_at(root, "a")
    assert below is not None
    assert below.entries[0].value.shared


def test_merged_entries_are_found() -> None:
    """`<<` brings entries in, which one of its own hides."""
    root = only("base: &b {x: '1', y: '2'}\nother: &o {z: '3'}\nall:\n  <<: [*b, *o]\n  x: '9'\n")
    merged = mapping_at(root, "all")
    assert merged is not None
    assert [text_at(merged, key, "-") for key in ("x", "y", "z", "w")] == ["9", "2", "3", "-"]


def test_nulls() -> None:
    """Written or not, a null is as good as no value; a quoted one is text."""
    root = only("a:\nb: ~\nc: null\nd: 'null'\n")
    assert [root.get(key) is None for key in "abcd"] == [True, True, True, False]
    assert [isinstance(entry.value, Scalar) and entry.value.null for entry in root.entries] == [True, True, True, False]


def test_what_is_of_another_kind_is_not_there() -> None:
    """Whoever wants a mapping or a list of mappings gets no other thing."""
    root = only("a: b\nl: [1, {x: y}]\n")
    assert mapping_at(root, "a") is None
    assert mappings_at(root, "a") == ()
    assert [text_at(item, "x") for item in mappings_at(root, "l")] == ["y"]


def test_documents() -> None:
    """All of a stream, empty ones and such that are no mapping included."""
    kinds = [type(document).__name__ for document in parse("---\n---\na: b\n--- text\n...\n---\n- x\n")]
    assert kinds == ["Scalar", "Mapping", "Scalar", "Sequence"]
    assert parse("") == parse("# nothing\n") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: b\n c: d\n", "line 2, column"),
        ("a: {{ .Values.x }}\nb: [\n", "helm template"),
        ("a: 1\na: 2\n", "duplicate key"),
        ("a: \x00\n", "not YAML"),
        ("a: b\rc: d\r", "carriage returns alone"),
        ("a: *nobody\n", "line 1, column 4: "),
        ("a: &x [*x]\n", "an anchor holds itself"),
        ("[" * 500, "nested too deeply"),
        ("? a\n? b\n", "line 1: a key without a colon, which no manifest has; write it as key: value"),
        ("x: [a: b]\n", "line 1: a pair without braces, which no manifest has; write it as {key: value}"),
    ],
)
def test_what_is_no_yaml(text: str, said: str) -> None:
    """It is refused with the place, and a template with what to do about it."""
    with pytest.raises(Refused) as refused:
        parse(text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
