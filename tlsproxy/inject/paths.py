"""Places in an object, as text: `spec.containers[web].lifecycle.preStop`; pure.

A list's item is called by its name, or by its number where it has none: `spec.ports[0]`.
"""

import re
from dataclasses import dataclass

from tlsproxy.inject.documents import Entry, Mapping, Node, Sequence, text_at
from tlsproxy.inject.rendering import Plain


@dataclass(frozen=True, slots=True)
class Step:
    """One step down: to a key, or to an item of a list."""

    name: str
    is_item: bool


Child = Entry | Node
"""What a collection holds: a mapping entries, a list nodes."""


def steps(path: str) -> tuple[Step, ...]:
    """The steps of a path; of an empty one none."""
    found = re.finditer(r"\[([^\]]*)\]|([^.\[\]]+)", path)
    return tuple(Step(part[2] or part[1] or "", part[2] is None) for part in found)


def spelled(way: tuple[Step, ...]) -> str:
    """The inverse of `steps`."""
    return "".join(f"[{step.name}]" if step.is_item else f".{step.name}" for step in way).removeprefix(".")


def child_at(node: Node, step: Step) -> Child | None:
    """The entry or item of that step."""
    if isinstance(node, Mapping) and not step.is_item:
        return node.entry(step.name)
    if isinstance(node, Sequence) and step.is_item:
        named = (item for item in node.items if isinstance(item, Mapping) and text_at(item, "name") == step.name)
        return next(named, None) or _numbered(node, step.name)
    return None


def _numbered(sequence: Sequence, number: str) -> Node | None:
    known = number.isdecimal() and len(number) <= len(str(len(sequence.items))) and int(number) < len(sequence.items)
    return sequence.items[int(number)] if known else None


def way_to(root: Node, path: str) -> list[Child]:
    """Each entry and item on the way, as far as there are any."""
    node, way = root, list[Child]()
    for step in steps(path):
        child = child_at(node, step)
        if child is None:
            break
        way.append(child)
        node = node_of(child)
    return way


def node_of(child: Child) -> Node:
    """An entry's value; an item is a node itself."""
    return child.value if isinstance(child, Entry) else child


def node_at(root: Node, path: str) -> Node | None:
    """What stands there; None when there is nothing."""
    way = way_to(root, path)
    if len(way) < len(steps(path)):
        return None
    return node_of(way[-1]) if way else root


def wrapped(missing: tuple[Step, ...], value: Plain) -> Plain:
    """The value in what has to be made around it."""
    for step in reversed(missing):
        value = [value] if step.is_item else {step.name: value}
    return value
