"""Plain values as YAML text, in the block form or in the flow form that JSON has; pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

Plain = str | int | bool | Sequence["Plain"] | Mapping[str, "Plain"]
"""What a manifest is made of, besides null."""

# Text that every YAML reads as itself; what looks like a number, a boolean or a null is not in it.
_BARE: Final = re.compile(r"[A-Za-z/][A-Za-z0-9_/.-]*(?::[A-Za-z0-9_/.-]+)*|[0-9]+(?:m|Ki|Mi|Gi)")
_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})


def flow(value: Plain, *, quoted: bool = True) -> str:
    """On one line; `quoted` for JSON, which YAML is too, else without the quotes that YAML can do without."""
    if quoted:
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{%s}" % ", ".join(f"{scalar(key)}: {flow(inner, quoted=False)}" for key, inner in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[%s]" % ", ".join(flow(inner, quoted=False) for inner in value)
    return scalar(value)


def flow_lines(value: Plain, indent: str, step: str, newline: str) -> str:
    """JSON on lines of its own; the first one is not indented."""
    return json.dumps(value, ensure_ascii=False, indent=step).replace("\n", newline + indent)


def block_entry(key: str, value: Plain, step: str) -> list[str]:
    """The lines of a key and its value, without line ends; `step` is what lists are indented by below their key."""
    if isinstance(value, Mapping):
        return [f"{scalar(key)}:", *(f"  {line}" for line in _entries(value, step))]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [f"{scalar(key)}:", *(f"{step}{line}" for item in value for line in block_item(item, step))]
    return [f"{scalar(key)}: {scalar(value)}"]


def block_item(value: Plain, step: str) -> list[str]:
    """The lines of an item of a list, from its dash on."""
    if isinstance(value, Mapping):
        first, *others = _entries(value, step)
        return [f"- {first}", *(f"  {line}" for line in others)]
    return [f"- {flow(value, quoted=False)}"]


def _entries(value: Mapping[str, Plain], step: str) -> Iterator[str]:
    for key, inner in value.items():
        yield from block_entry(key, inner, step)


def scalar(value: str | int | bool) -> str:
    """A single value, with quotes where it needs some."""
    if not isinstance(value, str):
        return json.dumps(value)
    if _BARE.fullmatch(value) and value.lower() not in _WORDS:
        return value
    if '"' in value and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return json.dumps(value, ensure_ascii=False)
