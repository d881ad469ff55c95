"""Changes to a text at the places of its nodes; pure.

What is added can be taken out again without a trace: an entry or an item gets lines of its own in the block form, and
a comma of its own in the flow form.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from tlsproxy.inject import rendering
from tlsproxy.inject.documents import Entry, Mapping, Node, Sequence
from tlsproxy.inject.rendering import Plain

_NEWLINE: Final = re.compile(r"\r?\n")
# A list in the column of its key, as kubectl writes them.
_UNINDENTED: Final = re.compile(r"^( *)(?:- )?[^\s#-][^\n#]*:\r?\n\1- ", re.MULTILINE)
# Deeper than any column: what goes on in a line comes before what follows the line.
_IN_THE_LINE: Final = 1 << 30
_JSON: Final = re.compile(r'[{\[\s]*["}\]]')


@dataclass(frozen=True, slots=True)
class Edit:
    """The text that stands between two positions afterwards."""

    start: int
    end: int
    text: str
    depth: int = 0
    """Of several at one position the deepest comes first: it ends what the others go on after."""


def apply(text: str, edits: Iterable[Edit]) -> str:
    """The text with all of them made; of two that overlap the outer one counts, and deletions are united."""
    pieces, position = list[str](), 0
    for edit in sorted(edits, key=lambda edit: (edit.start, -edit.depth, -edit.end)):
        if edit.start < position and edit.end <= position:
            continue
        pieces += [text[position : edit.start], edit.text]
        position = max(position, edit.end)
    rest = text[position:]
    made = "".join(pieces) + rest
    # Where the last lines go of a text that lacks its last line end, the line before them is the last, and lacks it.
    return made if rest or text.endswith("\n") or pieces[-1:] != [""] else made.removesuffix("\n").removesuffix("\r")


# --- Adding ------------------------------------------------------------------------------------------------


def add_entry(text: str, mapping: Mapping, key: str, value: Plain) -> Edit:
    """The key and its value behind the others."""
    if mapping.flow:
        return _add_in_flow(text, mapping, value, f"{rendering.flow(key, quoted=_is_json(text, mapping))}: ")
    return _add_lines(
        text, mapping.end, _column(text, mapping.start), rendering.block_entry(key, value, _list_step(text)), 0
    )


def add_item(text: str, sequence: Sequence, value: Plain) -> Edit:
    """The value behind the others."""
    if sequence.flow:
        return _add_in_flow(text, sequence, value, "")
    return _add_lines(
        text, sequence.end, _column(text, sequence.start), rendering.block_item(value, _list_step(text)), 1
    )


def fill(entry: Entry, value: Plain) -> Edit:
    """The value in the place of a null."""
    if entry.value.start == entry.value.end:
        return Edit(entry.colon, entry.colon, f" {rendering.flow(value)}", _IN_THE_LINE)
    return Edit(entry.value.start, entry.value.end, rendering.flow(value))


def replace_entry(text: str, mapping: Mapping, entry: Entry, key: str, value: Plain) -> Edit:
    """Another value in the place of an entry's, and another key where it is another."""
    quoted = _is_json(text, mapping)
    written = entry.value.end > entry.value.start
    if entry.key == key and written and not isinstance(value, AnyMapping | list):
        return Edit(entry.value.start, entry.value.end, rendering.flow(value, quoted=quoted))
    if mapping.flow:
        return Edit(entry.start, entry.end, rendering.flow({key: value}, quoted=quoted)[1:-1])
    lines = rendering.block_entry(key, value, _list_step(text))
    return Edit(entry.start, entry.end, _joined(text, _column(text, entry.start), lines).lstrip(" "))


def _add_lines(text: str, end: int, column: int, lines: list[str], within: int) -> Edit:
    """After the line in which the last character stands, whatever else is in it."""
    # A list's dashes may stand in the column of the keys around it.
    depth = 2 * column + within
    added = _joined(text, column, lines)
    position = line_after(text, end)
    if position == len(text) and not text.endswith("\n"):
        return Edit(position, position, _line_end(text) + added, depth)
    return Edit(position, position, added + _line_end(text), depth)


def _add_in_flow(text: str, collection: Mapping | Sequence, value: Plain, key: str) -> Edit:
    children = collection.entries if isinstance(collection, Mapping) else collection.items
    quoted = _is_json(text, collection)
    if not children:
        return Edit(collection.start + 1, collection.end - 1, key + rendering.flow(value, quoted=quoted))
    start, end = children[-1].start, children[-1].end
    indent = text[_line_start(text, start) : start]
    if indent.strip():
        return Edit(end, end, f", {key}{rendering.flow(value, quoted=quoted)}")
    newline = _line_end(text)
    lines = rendering.flow_lines(value, indent, _step(text, collection, indent), newline)
    return Edit(end, end, f",{newline}{indent}{key}{lines}")


@lru_cache(maxsize=4)
def _list_step(text: str) -> str:
    """What the manifest's first list is indented by."""
    return "" if _UNINDENTED.search(text) else "  "


def _is_json(text: str, collection: Mapping | Sequence) -> bool:
    """Whether its first key or item is quoted, or there is none."""
    return _JSON.match(text, collection.start) is not None


def _step(text: str, collection: Mapping | Sequence, indent: str) -> str:
    """By how much each level is indented."""
    line = text[_line_start(text, collection.start) : collection.start]
    return indent.removeprefix(line[: len(line) - len(line.lstrip(" \t"))]) or "  "


# --- Taking out --------------------------------------------------------------------------------------------


def delete(text: str, collection: Mapping | Sequence, gone: Collection[Entry | Node]) -> Iterator[Edit]:
    """Some of a collection's entries or items, but not all: a collection that is empty is its owner's to delete."""
    children = collection.entries if isinstance(collection, Mapping) else collection.items
    for number, child in enumerate(children):
        if child in gone:
            before = next((one for one in children[:number][::-1] if one not in gone), None)
            after = next((one for one in children[number + 1 :] if one not in gone), None)
            yield _deletion(text, collection, child, before, after)


def _deletion(
    text: str,
    collection: Mapping | Sequence,
    child: Entry | Node,
    before: Entry | Node | None,
    after: Entry | Node | None,
) -> Edit:
    start = child.start if collection.flow or isinstance(collection, Mapping) else text.rindex("-", 0, child.start)
    first = _line_start(text, start)
    if not collection.flow and not text[first:start].strip():
        return Edit(first, line_after(text, child.end), "")
    if before is not None:
        return Edit(before.end, child.end, "")
    return Edit(child.start, after.start if after is not None else child.end, "")


def indented(text: str, position: int, lines: str) -> str:
    """Lines at a position: all but the first one indented to its column."""
    return lines.replace("\n", "\n" + " " * _column(text, position))


def unindented(text: str, start: int, end: int) -> str:
    """The inverse: the text between two positions, without the indentation of the first one's column."""
    return text[start:end].replace("\n" + " " * _column(text, start), "\n")


# --- Lines -------------------------------------------------------------------------------------------------


def line_after(text: str, end: int) -> int:
    """Where the next line begins; right here when a block of text has ended with its own line."""
    if end and text[end - 1] == "\n":
        return end
    found = text.find("\n", end)
    return len(text) if found < 0 else found + 1


def _line_start(text: str, position: int) -> int:
    return text.rfind("\n", 0, position) + 1


def _column(text: str, position: int) -> int:
    return len(text[_line_start(text, position) : position].removeprefix("\ufeff"))


def _joined(text: str, column: int, lines: Iterable[str]) -> str:
    return _line_end(text).join(" " * column + line for line in lines)


def _line_end(text: str) -> str:
    found = _NEWLINE.search(text)
    return found[0] if found else "\n"
