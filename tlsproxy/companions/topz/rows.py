"""Which processes are shown, in which order, and below which others; pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tlsproxy.companions.topz.columns import COLUMNS, Place
from tlsproxy.companions.topz.question import Question
from tlsproxy.companions.topz.snapshot import Process, Snapshot


@dataclass(frozen=True, slots=True)
class Row:
    """One process as it is shown."""

    process: Process
    branch: str = ""
    """What is drawn before its command, where it stands below its parent."""
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Rows:
    """What is shown of a snapshot."""

    shown: tuple[Row, ...]
    found: int
    """How many there would be without a limit."""
    place: Place


def choose(snapshot: Snapshot, question: Question, limit: int) -> Rows:
    """What is asked for.

    Args:
        snapshot: all there is.
        question: which of it.
        limit: rows at most where the question does not say; 0: all.
    """
    place = Place(snapshot.taken, {one.key: one.name for one in snapshot.containers})
    wanted = _in_container(snapshot, question.container)
    matching = [one for one in wanted if _matches(one, question.filter, place)]
    if question.tree:
        rows = list(_tree(_ordered(_with_parents(matching, wanted), question, place)))
    else:
        rows = [Row(one) for one in _ordered(matching, question, place)]
    most = limit if question.limit is None else question.limit
    return Rows(tuple(rows[:most] if most else rows), len(rows), place)


def _in_container(snapshot: Snapshot, asked: str) -> Sequence[Process]:
    if not asked:
        return snapshot.processes
    keys = {one.key for one in snapshot.containers if one.name == asked or (one.id and one.id == asked[: len(one.id)])}
    keys |= {one.key for one in snapshot.containers if len(asked) >= 4 and one.id.startswith(asked)}
    return [process for process in snapshot.processes if process.container in keys]


def _matches(process: Process, text: str, place: Place) -> bool:
    if not text:
        return True
    container = place.containers.get(process.container or "", "")
    seen = (process.command, process.name, process.user or "", process.state or "", container)
    return text == str(process.pid) or any(text.lower() in one.lower() for one in seen)


def _ordered(processes: Iterable[Process], question: Question, place: Place) -> list[Process]:
    """By the column, and by pid where that is alike; those without a value last."""
    value = COLUMNS[question.sort].value
    valued = [(value(process, place), process) for process in sorted(processes, key=lambda one: one.pid)]
    known = [(one.lower() if isinstance(one, str) else one, process) for one, process in valued if one is not None]
    known.sort(key=lambda pair: pair[0], reverse=not question.ascending)
    return [process for _, process in known] + [process for one, process in valued if one is None]


# --- Parents and children ----------------------------------------------------------------------------------


def _with_parents(matching: Sequence[Process], wanted: Sequence[Process]) -> list[Process]:
    """Those that match and all above them."""
    by_pid = {process.pid: process for process in wanted}
    kept: dict[int, Process] = {}
    for process in matching:
        above: Process | None = process
        while above is not None and above.pid not in kept:
            kept[above.pid] = above
            above = by_pid.get(above.ppid) if above.ppid is not None else None
    return list(kept.values())


def _tree(ordered: Sequence[Process]) -> Iterator[Row]:
    """Each with those below it, all in the order given."""
    there = {process.pid for process in ordered}
    below: dict[int | None, list[Process]] = {}
    for process in ordered:
        is_top = process.ppid not in there or process.ppid == process.pid
        below.setdefault(None if is_top else process.ppid, []).append(process)
    # Not by recursion: how deep it goes is for those to say that are looked at.
    waiting = [(process, "", "", 0) for process in reversed(below.get(None, []))]
    while waiting:
        process, branch, stem, depth = waiting.pop()
        yield Row(process, branch, depth)
        waiting.extend(reversed(list(_branches(process, below, stem, depth + 1))))


def _branches(
    process: Process, below: Mapping[int | None, Sequence[Process]], stem: str, depth: int
) -> Iterator[tuple[Process, str, str, int]]:
    children = below.get(process.pid, ())
    for number, child in enumerate(children, 1):
        is_last = number == len(children)
        yield child, stem + ("└─ " if is_last else "├─ "), stem + ("   " if is_last else "│  "), depth
