"""PSS, the part of memory that is a process's own: what it takes to know is bounded, for us and for those looked at.

The kernel walks a process's page tables for it, and holds what the process needs for growing meanwhile. So each is
asked only every so often, and in one look only as many as there is time for: those that were not asked for the longest
come first.
"""

from collections.abc import Iterable, Mapping
from time import monotonic

from tlsproxy.companions.topz.proc_files import parse_pss, read

LASTING = 30.0
"""Seconds for which a figure is good."""
FIRST_LOOK = 0.1
"""Seconds for all that have none yet."""
LATER_LOOK = 0.01

Key = tuple[int, int]
"""A process: its pid and when it began."""


class SharedMemory:
    """The figures that are known.

    Args:
        proc: where /proc is.
    """

    def __init__(self, proc: str) -> None:
        self._proc = proc
        self._known: dict[Key, tuple[float, int | None]] = {}
        """When each was asked, and what it said."""

    def __repr__(self) -> str:
        return f"<SharedMemory of {len(self._known)} processes>"

    def look(self, processes: Iterable[Key]) -> Mapping[Key, int | None]:
        """Bytes of these processes, as far as they are known; None for those that may not be read."""
        known, now = self._known, monotonic()
        self._known = {key: known.get(key, (0.0, None)) for key in processes}
        until = now + (LATER_LOOK if known else FIRST_LOOK)
        for key in sorted(self._known, key=lambda key: self._known[key][0]):
            asked, _ = self._known[key]
            if (asked and now - asked < LASTING) or monotonic() > until:
                break
            self._known[key] = monotonic(), self._read(key[0])
        return {key: figure for key, (_, figure) in self._known.items()}

    def _read(self, pid: int) -> int | None:
        try:
            return parse_pss(read(f"{self._proc}/{pid}/smaps_rollup"))
        except OSError:
            return None
