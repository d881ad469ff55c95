"""Snapshots and processes as aligned text, for a terminal and curl; pure."""

from collections.abc import Iterable, Iterator, Sequence

from tlsproxy.companions.topz import words
from tlsproxy.companions.topz.columns import COLUMNS
from tlsproxy.companions.topz.detail import Detail
from tlsproxy.companions.topz.facts import container_cells, facts, headline
from tlsproxy.companions.topz.rows import Rows
from tlsproxy.companions.topz.snapshot import Snapshot

_GAP = "  "


def render(snapshot: Snapshot, rows: Rows) -> str:
    """The machine, the containers, and the processes that are asked for."""
    parts = ["\n".join(headline(snapshot))]
    if snapshot.containers:
        parts.append(_table(*container_cells(snapshot)))
    titles = [column.title for column in COLUMNS.values()]
    cells = [[column.text(row.process, rows.place) for column in COLUMNS.values()] for row in rows.shown]
    for row, line in zip(rows.shown, cells, strict=True):
        line[-1] = row.branch + line[-1]
    parts.append(_table(titles, cells, [column.is_text for column in COLUMNS.values()]))
    if len(rows.shown) < rows.found:
        parts.append(f"{len(rows.shown)} of {rows.found}; limit=0 shows all")
    return "\n\n".join(parts) + "\n"


def render_detail(detail: Detail) -> str:
    """One process."""
    parts = [_pairs(facts(detail))]
    if detail.limits:
        parts.append(_table(["LIMIT", "SOFT", "HARD"], [list(limit) for limit in detail.limits], [True, False, False]))
    if detail.sockets:
        cells = [[one.protocol, one.local, one.remote or words.DASH, one.state] for one in detail.sockets]
        parts.append(_table(["SOCKET", "LOCAL", "REMOTE", "STATE"], cells, [True] * 4))
    if detail.environment:
        parts.append("\n".join(f"{name}={value}" for name, value in detail.environment.items()))
    return "\n\n".join(parts) + "\n"


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    known = list(pairs)
    width = max(len(name) for name, _ in known)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in known)


def _table(titles: Sequence[str], lines: Sequence[Sequence[str]], are_text: Sequence[bool]) -> str:
    """Text to the left, numbers to the right, and the last column as long as it likes."""
    widths = [max(map(len, column)) for column in zip(titles, *lines, strict=True)]
    return "\n".join(_aligned([titles, *lines], widths, are_text))


def _aligned(lines: Iterable[Sequence[str]], widths: Sequence[int], are_text: Sequence[bool]) -> Iterator[str]:
    for line in lines:
        cells = zip(line, widths, are_text, strict=True)
        yield _GAP.join(
            f"{cell:<{width}}" if is_text else f"{cell:>{width}}" for cell, width, is_text in cells
        ).rstrip()
