"""Changes to one object, and their record in an annotation, by which they can be taken back; pure.

The record tells what was added, what was replaced with the text that stood there, and which empty collections were
filled. Taking back needs nothing else: it knows no sidecar.
"""

import json
from collections.abc import Callable, Iterator
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from typing import Final

from tlsproxy.inject import edits, paths
from tlsproxy.inject.documents import Entry, Mapping, Node, Scalar, Sequence, is_null, mapping_at, text_at
from tlsproxy.inject.edits import Edit
from tlsproxy.inject.paths import Child, Step
from tlsproxy.inject.refusals import Refusal
from tlsproxy.inject.rendering import Plain

ANNOTATION: Final = "tlsproxy/injected"
_ANNOTATION_PATH: Final = f"metadata.annotations.{ANNOTATION}"


@dataclass(frozen=True, slots=True)
class Reason:
    """One change and why it is made."""

    path: str
    why: str


@dataclass(slots=True)
class Rewriting:
    """The changes to an object so far: a pod template, a Pod or a Service."""

    text: str
    root: Mapping
    place: str
    """The object with its document and line, for messages."""
    edits: list[Edit] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    _added: list[str] = field(default_factory=list)
    _replaced: dict[str, str] = field(default_factory=dict)
    _empty: dict[str, str] = field(default_factory=dict)

    def add(self, path: str, value: Plain, why: str) -> None:
        """Put the value where nothing stands, or a null, with all that has to be there around it.

        Raises:
            Refusal: what it would go into stands there for other places too, or is of another kind.
        """
        standing = paths.node_at(self.root, path)
        if standing is not None and is_null(standing):
            self.replace(path, value, why)
            return
        self._insert(path, value)
        self._added.append(path)
        self.reasons.append(Reason(path, why))

    def replace(self, path: str, value: Plain, why: str, *, key: str = "") -> None:
        """Put the value in the place of an entry that is there, and `key` in the place of its key.

        Raises:
            Refusal: it stands there for other places too.
        """
        way = paths.way_to(self.root, path)
        mapping, entry = paths.node_of(way[-2]) if len(way) > 1 else self.root, way[-1]
        assert isinstance(entry, Entry)
        assert isinstance(mapping, Mapping)
        self._require_own(mapping, path)
        self._require_own(entry.value, path)
        parent = paths.steps(path)[:-1]
        path = paths.spelled((*parent, Step(key or entry.key, False)))
        self.edits.append(edits.replace_entry(self.text, mapping, entry, key or entry.key, value))
        self._replaced[path] = edits.unindented(self.text, entry.start, entry.end)
        self.reasons.append(Reason(path, why))

    def finish(self) -> None:
        """Write the record."""
        groups = {"added": self._added, "replaced": self._replaced, "empty": self._empty}
        # Where the record itself goes may be empty too; that has to be known before it is written.
        self._insert(_ANNOTATION_PATH, lambda: json.dumps({name: group for name, group in groups.items() if group}))

    def _insert(self, path: str, value: "Plain | Callable[[], str]") -> None:
        way, steps = paths.way_to(self.root, path), paths.steps(path)
        missing = steps[len(way) :]
        node = paths.node_of(way[-1]) if way else self.root
        self._require_own(node, path)
        if way and _is_empty(node):
            self._empty[paths.spelled(steps[: len(way)])] = edits.unindented(self.text, way[-1].start, way[-1].end)
        inner = value() if callable(value) else value
        self.edits.append(self._edit(node, way, missing, inner, path))

    def _edit(self, node: Node, way: list[Child], missing: tuple[Step, ...], value: Plain, path: str) -> Edit:
        if not missing:
            raise Refusal(self.place, f"{path} is something else already", "take it out of the manifest")
        step, below = missing[0], paths.wrapped(missing[1:], value)
        if is_null(node) and way and isinstance(way[-1], Entry):
            return edits.fill(way[-1], [below] if step.is_item else {step.name: below})
        if isinstance(node, Mapping) and not step.is_item:
            return edits.add_entry(self.text, node, step.name, below)
        if isinstance(node, Sequence) and step.is_item:
            return edits.add_item(self.text, node, below)
        raise Refusal(self.place, f"{path} can't be added to what stands there", "make it a mapping or a list first")

    def _require_own(self, node: Node, path: str) -> None:
        if node.shared:
            what = f"{path} is written by an anchor (&) that an alias (*) uses too (line {node.line})"
            raise Refusal(self.place, what, "write it out, because a change there would change the other place")


def _is_empty(node: Node) -> bool:
    return is_null(node) or (isinstance(node, Mapping | Sequence) and _size(node) == 0)


# --- Taking back -------------------------------------------------------------------------------------------


def is_rewritten(root: Mapping) -> bool:
    """Whether the object has a record."""
    return isinstance(paths.node_at(root, _ANNOTATION_PATH), Scalar)


def take_back(text: str, root: Mapping, place: str) -> Iterator[Edit]:
    """What gives the text from before back; what is no longer there is passed over.

    Raises:
        Refusal: the record is not one.
    """
    record = _record(root, place)
    for path, was in record.get("replaced", {}).items():
        way = paths.way_to(root, path)
        if len(way) == len(paths.steps(path)):
            yield Edit(way[-1].start, way[-1].end, edits.indented(text, way[-1].start, was))
    yield from _Deletion(text, root, record.get("empty", {})).of([*record.get("added", {}), _ANNOTATION_PATH])


def _record(root: Mapping, place: str) -> dict[str, dict[str, str]]:
    annotations = mapping_at(root, "metadata")
    annotations = mapping_at(annotations, "annotations") if annotations else None
    written = text_at(annotations, ANNOTATION) if annotations else ""
    try:
        groups = json.loads(written)
        return {
            name: {str(path): str(was) for path, was in group.items()}
            if isinstance(group, dict)
            else dict.fromkeys(group, "")
            for name, group in groups.items()
        }
    except (ValueError, TypeError, AttributeError):
        what = f"the annotation {ANNOTATION} is not what inject has written"
        raise Refusal(place, what, "take the sidecar out by hand, and the annotation with it") from None


@dataclass(slots=True)
class _Deletion:
    """Children to delete, and the collections that are empty then, up to where something else is left."""

    text: str
    root: Mapping
    empty: AnyMapping[str, str]
    """Collections that were there though empty, by their path, with their entry's text."""

    def of(self, gone: list[str]) -> Iterator[Edit]:
        by_owner: dict[str, list[Child]] = {}
        pending = list(gone)
        while pending:
            path = pending.pop(0)
            way, steps = paths.way_to(self.root, path), paths.steps(path)
            if len(way) < len(steps):
                continue
            owner_path = paths.spelled(steps[:-1])
            owner = paths.node_of(way[-2]) if len(way) > 1 else self.root
            children = by_owner.setdefault(owner_path, [])
            children.append(way[-1])
            if len(children) < _size(owner) or len(way) < 2:
                continue
            del by_owner[owner_path]
            if owner_path in self.empty:
                was = edits.indented(self.text, way[-2].start, self.empty[owner_path])
                yield Edit(way[-2].start, way[-2].end, was)
            else:
                pending.append(owner_path)
        for path, children in by_owner.items():
            owner_node = paths.node_at(self.root, path)
            assert isinstance(owner_node, Mapping | Sequence)
            yield from edits.delete(self.text, owner_node, children)


def _size(node: Node) -> int:
    return len(node.entries) if isinstance(node, Mapping) else len(node.items) if isinstance(node, Sequence) else 0
