"""YAML as nodes that know where in the text they stand; pure, and the only module that knows the YAML library.

Nothing is made of the text but positions: whoever changes a manifest changes its text at these positions, and all else
stays as it is, comments, order, quotes and line ends included.
"""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.nodes import Node as _Composed

from tlsproxy.inject.refusals import Refused

_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_MERGE: Final = "<<"
# What may stand between a key or an item and the alias that follows it.
_TO_ALIAS: Final = re.compile(r"(?:[\s:,?-]|#[^\n]*\n)*")
_ALIAS: Final = re.compile(r"\*[^\s,\[\]{}]+")
_LONE_RETURN: Final = re.compile(r"\r(?!\n)")
# Anchor, tag and comments, which may stand before what a collection begins with.
_TO_CONTENT: Final = re.compile(r"(?:[&!]\S*|#[^\n]*|\s+)*")


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """A single value, as text."""

    start: int
    end: int
    line: int
    shared: bool
    text: str
    null: bool


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A key and its value; it ends where the value's last character does, comments and blank lines not included."""

    key: str
    start: int
    colon: int
    """Right behind the colon."""
    value: "Node"

    @property
    def end(self) -> int:
        """Behind the value, or behind the colon where there is none."""
        return self.value.end


@dataclass(frozen=True, slots=True, eq=False)
class Mapping:
    """Keys and values; `flow` for the form in braces, which JSON has."""

    start: int
    end: int
    line: int
    shared: bool
    flow: bool
    entries: tuple[Entry, ...]

    def entry(self, key: str) -> Entry | None:
        """The entry of that key, from what is merged in (`<<`) when there is none of its own."""
        own = next((entry for entry in self.entries if entry.key == key), None)
        return own or next((entry for merged in self._merged() if (entry := merged.entry(key))), None)

    def get(self, key: str) -> "Node | None":
        """The value of that key; None for a null as for a key that is not there."""
        entry = self.entry(key)
        return None if entry is None or is_null(entry.value) else entry.value

    def _merged(self) -> Iterator["Mapping"]:
        for entry in self.entries:
            if entry.key == _MERGE:
                merged = entry.value.items if isinstance(entry.value, Sequence) else (entry.value,)
                yield from (mapping for mapping in merged if isinstance(mapping, Mapping))


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """A list; `flow` for the form in brackets."""

    start: int
    """Of the form in dashes: the first dash."""
    end: int
    line: int
    shared: bool
    flow: bool
    items: tuple["Node", ...]


Node = Scalar | Mapping | Sequence
"""`shared`: reached in more than one way (anchors and aliases), so that a change to it would change another place."""


def is_null(node: Node) -> bool:
    """Whether it stands for nothing."""
    return isinstance(node, Scalar) and node.null


def text_at(mapping: Mapping, key: str, default: str = "") -> str:
    """The scalar at that key, as text."""
    value = mapping.get(key)
    return value.text if isinstance(value, Scalar) else default


def mapping_at(mapping: Mapping, key: str) -> Mapping | None:
    """The mapping at that key; None when there is none."""
    value = mapping.get(key)
    return value if isinstance(value, Mapping) else None


def mappings_at(mapping: Mapping, key: str) -> tuple[Mapping, ...]:
    """The mappings that the list at that key holds."""
    value = mapping.get(key)
    items = value.items if isinstance(value, Sequence) else ()
    return tuple(item for item in items if isinstance(item, Mapping))


# The second of two passes over a manifest that the first has not changed costs nothing.
@lru_cache(maxsize=1)
def parse(text: str) -> tuple[Node, ...]:
    """The documents of a stream, empty ones included.

    Raises:
        Refused: it is no YAML.
    """
    if _LONE_RETURN.search(text):
        raise Refused(["its lines end with carriage returns alone; convert them, as by tr '\\r' '\\n'"])
    try:
        with warnings.catch_warnings():
            # An anchor may be set anew: aliases mean the last one before them (YAML 1.2 section 3.2.2.2).
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            composed = [node for node in YAML(typ="safe", pure=True).compose_all(text) if node is not None]
        return tuple(_Reading(text).document(node) for node in composed)
    except MarkedYAMLError as error:
        raise Refused([_explained(text, error)]) from None
    except YAMLError as error:
        raise Refused([f"not YAML: {' '.join(str(error).split())}"]) from None
    except RecursionError:
        raise Refused(["not a manifest: it is nested too deeply, or an anchor holds itself"]) from None


def _explained(text: str, error: MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    way_out = " (a template? Render it first: helm template ... | tlsproxy inject ...)" if "{{" in text else ""
    return f"not YAML: {place}{' '.join(str(error.problem or error.context).split())}{way_out}"


class _Reading:
    """From the library's nodes to ours, for one document."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._references: dict[int, int] = {}
        self._made: dict[int, Node] = {}

    def document(self, root: _Composed) -> Node:
        self._count(root)
        return self._node(root, root.start_mark.index, shared=False)

    def _count(self, node: _Composed) -> None:
        self._references[id(node)] = self._references.get(id(node), 0) + 1
        if self._references[id(node)] > 1:
            return
        if isinstance(node, SequenceNode):
            for item in node.value:
                self._count(item)
        elif isinstance(node, MappingNode):
            for key, value in node.value:
                self._count(key)
                self._count(value)

    def _node(self, node: _Composed, cursor: int, *, shared: bool) -> Node:
        """The node that follows the cursor; one that was made before stands here as an alias."""
        if (made := self._made.get(id(node))) is not None:
            start = _skip(_TO_ALIAS, self._text, cursor)
            return replace(made, start=start, end=_skip(_ALIAS, self._text, start))
        shared = shared or self._references[id(node)] > 1
        made = self._made[id(node)] = self._new(node, cursor, shared=shared)
        return made

    def _new(self, node: _Composed, cursor: int, *, shared: bool) -> Node:
        start, end, line = node.start_mark.index, node.end_mark.index, node.start_mark.line + 1
        if isinstance(node, SequenceNode):
            items, flow = tuple(self._items(node, shared=shared)), bool(node.flow_style)
            first = _skip(_TO_CONTENT, self._text, start)
            return Sequence(first, end if flow else items[-1].end, line, shared, flow, items)
        if isinstance(node, MappingNode):
            entries, flow = tuple(self._entries(node, shared=shared)), bool(node.flow_style)
            first = _skip(_TO_CONTENT, self._text, start) if flow else entries[0].start
            if flow and self._text[first] != "{":
                raise _unwritable(line, "a pair without braces", "{key: value}")
            return Mapping(first, end if flow else entries[-1].end, line, shared, flow, entries)
        assert isinstance(node, ScalarNode)
        null = node.style is None and node.value in _NULLS
        if null and not node.value:
            # Not written, it has the place of the next token.
            start = end = cursor
        return Scalar(start, end, line, shared, node.value, null)

    def _items(self, node: SequenceNode, *, shared: bool) -> Iterator[Node]:
        cursor = node.start_mark.index
        for item in node.value:
            made = self._node(item, cursor, shared=shared)
            cursor = made.end
            yield made

    def _entries(self, node: MappingNode, *, shared: bool) -> Iterator[Entry]:
        seen = set[str]()
        for key, value in node.value:
            start = key.end_mark.index
            # The value that an alias stands for is further up.
            end = value.start_mark.index + 1 if value.start_mark.index >= start else len(self._text)
            colon = self._text.find(":", start, end) + 1
            if not colon:
                raise _unwritable(key.start_mark.line + 1, "a key without a colon", "key: value")
            name = key.value if isinstance(key, ScalarNode) else ""
            if name in seen and name != _MERGE:
                raise Refused(
                    [f"not a manifest: line {key.start_mark.line + 1}: duplicate key {name}; leave one of them"]
                )
            seen.add(name)
            yield Entry(name, key.start_mark.index, colon, self._node(value, colon, shared=shared))


def _unwritable(line: int, what: str, instead: str) -> Refused:
    return Refused([f"not a manifest: line {line}: {what}, which no manifest has; write it as {instead}"])


def _skip(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position
