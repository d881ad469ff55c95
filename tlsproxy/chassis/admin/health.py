"""Conditions and the answer that a probe gets for them.

Pure: knows neither sockets nor HTTP, nor what any condition is about.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must hold, and whether it does."""

    name: str
    """One word, such as `certificate`."""
    ok: bool
    detail: str = ""
    """The reason in a few plain words, such as `connection refused`; empty when there is nothing to add."""

    def __str__(self) -> str:
        mark = "[+]" if self.ok else "[-]"
        # A line break in a detail could pass for a condition of its own.
        detail = " ".join(self.detail.split())
        return f"{mark}{self.name}: {detail}" if detail else f"{mark}{self.name}"


def report(conditions: Iterable[Condition]) -> tuple[int, str]:
    """The HTTP status and the plain text for a probe, laid out as Kubernetes' own verbose healthz.

    Returns:
        200 when every condition holds or there is none, else 503; and a line for each condition in the order
        given, each ended by a newline; `ok` where there is none.
    """
    known = tuple(conditions)
    status = 200 if all(condition.ok for condition in known) else 503
    return status, "".join(f"{condition}\n" for condition in known) or "ok\n"
