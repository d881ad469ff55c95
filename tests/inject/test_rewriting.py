"""Changes to an object and their record: whatever was done, taking it back gives the very text from before."""

import pytest

from tlsproxy.inject import edits
from tlsproxy.inject.documents import Mapping, parse
from tlsproxy.inject.refusals import Refusal
from tlsproxy.inject.rewriting import ANNOTATION, Rewriting, is_rewritten, take_back


def root_of(text: str) -> Mapping:
    (root,) = parse(text)
    assert isinstance(root, Mapping)
    return root


def rewritten(text: str) -> str:
    """With an item in `spec.list`, an entry in `spec.map.inner`, and another value at `spec.value`."""
    rewriting = Rewriting(text, root_of(text), "the object")
    rewriting.add("spec.list[new]", {"name": "new", "x": "y"}, "why one")
    rewriting.add("spec.map.inner.key", 1, "why two")
    rewriting.replace("spec.value", 2, "why three")
    rewriting.finish()
    assert [reason.why for reason in rewriting.reasons] == ["why one", "why two", "why three"]
    return edits.apply(text, rewriting.edits)


def taken_back(text: str) -> str:
    return edits.apply(text, take_back(text, root_of(text), "the object"))


TEXTS = [
    "spec:\n  map:\n    inner:\n      key: # c\n      other: 1\n  value: 1\n",
    "spec: {map: {inner: {key: null}}, value: 1}\n",
    "spec:\n  value: 1 # c\n",
    "spec:\n  value: 1\n  list: []\n  map: {}\nmetadata: {}\n",
    "spec:\n  list:\n  map: # c\n  value: 1\nmetadata:\n",
    "spec:\n  list: ~\n  map: null\n  value: 1\nmetadata:\n  annotations: {}\n",
    "spec:\n  list:\n  - name: old\n  map:\n    inner:\n      other: 1\n  value: 1\nmetadata:\n  name: x\n",
    "metadata:\n  annotations:\n    a: b\nspec:\n  value: 1\n  list: [{name: old}]\n  map: {inner: {o: 1}}",
    "spec: {value: 1, map: {inner: {}}, list: [ ]}\n",
    '{"spec":{"value":1}}',
    '{\n    "metadata": {\n        "name": "x"\n    },\n    "spec": {\n        "value": 1\n    }\n}\n',
]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("text", TEXTS)
def test_taking_back_leaves_no_trace(text: str, newline: str) -> None:
    """Collections that were made go, such that were empty or null are so again, and values are what they were."""
    text = text.replace("\n", newline)
    after = rewritten(text)
    assert is_rewritten(root_of(after))
    assert not is_rewritten(root_of(text))
    assert taken_back(after) == text


def test_what_others_have_added_since_stays() -> None:
    """A collection that is no longer ours alone is kept."""
    after = rewritten("spec:\n  value: 1\n")
    grown = after.replace("  map:\n", "    - name: theirs\n  map:\n").replace("key: 1\n", "key: 1\n      z: 1\n")
    left = "spec:\n  value: 1\n  list:\n    - name: theirs\n  map:\n    inner:\n      z: 1\n"
    assert taken_back(grown) == left


def test_what_is_gone_is_passed_over() -> None:
    """Whoever has taken a part out by hand has done that part."""
    after = rewritten("spec:\n  value: 1\n")
    cut = after.replace("  map:\n    inner:\n      key: 1\n", "").replace("  value: 2\n", "")
    assert cut != after
    assert "list" not in taken_back(cut)


def test_replaced_lines_follow_the_indentation() -> None:
    """What stood on several lines is put back where the entry is by then."""
    text = "spec:\n  deep:\n    old:\n      x: 1\n"
    rewriting = Rewriting(text, root_of(text), "the object")
    rewriting.replace("spec.deep.old", {"y": 2}, "why", key="new")
    rewriting.finish()
    after = edits.apply(text, rewriting.edits)
    assert taken_back(after) == text
    deeper = "\n".join(f"  {line}" if number else line for number, line in enumerate(after.splitlines())) + "\n"
    deeper = deeper.replace("\n  metadata", "\nmetadata").replace("\n    annotations", "\n  annotations")
    assert (
        taken_back(deeper.replace("\n      tlsproxy", "\n    tlsproxy"))
        == "spec:\n    deep:\n      old:\n        x: 1\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "spec: {value: 1, list: &l [{name: a}], other: *l}\n",
        "x: &x {value: 1}\nspec: *x\n",
        "x: &x {value: 1}\nspec: {<<: *x}\n",
        "x: &l []\nspec: {value: 1, list: *l}\n",
    ],
)
def test_what_is_shared_is_refused(text: str) -> None:
    """A change to it would change another place."""
    with pytest.raises(Refusal, match=r"the object: spec\..* anchor .*write it out"):
        rewritten(text)


def test_what_is_of_another_kind_is_refused() -> None:
    """An item can't be added to text, nor anything where something stands."""
    with pytest.raises(Refusal, match="can't be added"):
        rewritten("spec: {value: 1, list: text}\n")
    with pytest.raises(Refusal, match=r"spec\.map\.inner\.key is something else already"):
        rewritten("spec: {value: 1, map: {inner: {key: text}}}\n")


@pytest.mark.parametrize("record", ["yes", "[1]", '{"replaced": 3}', "{"])
def test_a_record_that_is_none(record: str) -> None:
    """It is refused: nobody can tell what there was."""
    text = f"metadata: {{annotations: {{{ANNOTATION}: '{record}'}}}}\n"
    with pytest.raises(Refusal, match="by hand"):
        taken_back(text)
