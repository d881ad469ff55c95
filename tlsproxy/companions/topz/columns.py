"""The columns of the table of processes: what each is called, how it is ordered and how it is written; pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tlsproxy.companions.topz import words
from tlsproxy.companions.topz.snapshot import Process

Value = float | str | None


@dataclass(frozen=True, slots=True)
class Place:
    """What a cell has to know besides its process."""

    now: float
    """Seconds since the epoch."""
    containers: Mapping[str, str]
    """Names by key."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    title: str
    meaning: str
    value: Callable[[Process, Place], Value]
    """To order by; None stands last, in either order."""
    text: Callable[[Process, Place], str]
    ascending: bool = False
    """Whether it is ordered from the smallest when nothing else is asked for."""
    is_text: bool = False


def container_of(process: Process, place: Place) -> str | None:
    """The name of its container."""
    return place.containers.get(process.container) if process.container is not None else None


COLUMNS: Mapping[str, Column] = {
    "pid": Column("PID", "its number", lambda p, _: p.pid, lambda p, _: str(p.pid), ascending=True),
    "user": Column(
        "USER",
        "its effective user",
        lambda p, _: p.user,
        lambda p, _: p.user or words.DASH,
        ascending=True,
        is_text=True,
    ),
    "state": Column(
        "STATE", "what it does", lambda p, _: p.state, lambda p, _: p.state or words.DASH, ascending=True, is_text=True
    ),
    "threads": Column("THR", "its threads", lambda p, _: p.threads, lambda p, _: words.count(p.threads)),
    "cpu": Column("CPU%", "of one CPU, since the look before", lambda p, _: p.cpu, lambda p, _: words.percent(p.cpu)),
    "time": Column("TIME", "CPU since it began", lambda p, _: p.cpu_seconds, lambda p, _: words.seconds(p.cpu_seconds)),
    "memory": Column(
        "MEM%",
        "RSS, of its container's limit or the machine's memory",
        lambda p, _: p.memory,
        lambda p, _: words.percent(p.memory),
    ),
    "rss": Column("RSS", "in memory, shared pages included", lambda p, _: p.rss, lambda p, _: words.size(p.rss)),
    "pss": Column("PSS", "in memory, its part of shared pages", lambda p, _: p.pss, lambda p, _: words.size(p.pss)),
    "started": Column(
        "START", "when it began, UTC", lambda p, _: p.started, lambda p, place: words.since(p.started, place.now)
    ),
    "container": Column(
        "CONTAINER",
        "which it is in",
        container_of,
        lambda p, place: container_of(p, place) or words.DASH,
        ascending=True,
        is_text=True,
    ),
    "command": Column(
        "COMMAND",
        "with its arguments, secrets masked",
        lambda p, _: p.command or None,
        lambda p, _: p.command or words.DASH,
        ascending=True,
        is_text=True,
    ),
}
"""By the name that it is ordered by, as they stand from left to right."""
