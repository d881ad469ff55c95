"""The containers that processes are in, and what each uses: by its cgroup where that can be read, else their sums."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tlsproxy.companions.topz import containers, limits
from tlsproxy.companions.topz.containers import Called, Member
from tlsproxy.companions.topz.proc_files import read, text
from tlsproxy.companions.topz.processes import Seen
from tlsproxy.companions.topz.snapshot import Container, Process

_ASKED = 5
"""Processes of a container that are tried to be looked into for its cgroup: each may be of another user."""
_LASTING = 30.0
"""Seconds after which a container that could not be looked into is tried again."""
_MOUNTS = 64 * 1024
"""Bytes."""


@dataclass(slots=True)
class _Place:
    """What is kept of a container from one look to the next."""

    name: str
    """The kubelet's; empty where there is none."""
    directories: limits.Directories
    found_at: float
    used: float = 0.0
    """Seconds of CPU that its processes were seen to use."""
    told: tuple[float, float] | None = None
    """When its cgroup was looked at, and the seconds of CPU that it told."""


class Grouping:
    """The containers that are known.

    Args:
        proc: where /proc is.
    """

    def __init__(self, proc: str) -> None:
        self._proc = proc
        self._places: dict[str, _Place] = {}

    def __repr__(self) -> str:
        return f"<Grouping: {', '.join(self._places)}>"

    def group(self, seen: Iterable[Seen], interval: float | None) -> tuple[Container, ...]:
        """The containers of these processes, by name, those that only hold namespaces at the end.

        Args:
            seen: all processes of one look.
            interval: seconds since the look before; None: it was too long ago to measure CPU by.
        """
        members: dict[str, list[Seen]] = {}
        for one in seen:
            if one.process.container is not None:
                members.setdefault(one.process.container, []).append(one)
        self._places = {key: self._place(key, inside) for key, inside in members.items()}
        called = containers.names(
            {key: [_member(one.process) for one in inside] for key, inside in members.items()},
            {key: place.name for key, place in self._places.items()},
        )
        grouped = [self._container(key, inside, called[key], interval) for key, inside in members.items()]
        return tuple(sorted(grouped, key=lambda one: (one.infra, one.name)))

    def _place(self, key: str, inside: Sequence[Seen]) -> _Place:
        known, now = self._places.get(key), time.monotonic()
        if known is not None and (known.directories.found or now - known.found_at < _LASTING):
            return known
        name = known.name if known is not None else ""
        directories = limits.Directories()
        for one in inside[:_ASKED]:
            name = name or containers.kubernetes_name(self._mounts(one.process.pid))
            directories = limits.find(self._proc, one.process.pid, key)
            if directories.found:
                break
        if known is not None:
            known.directories, known.found_at = directories, now
        return known or _Place(name, directories, now)

    def _mounts(self, pid: int) -> str:
        try:
            return text(read(f"{self._proc}/{pid}/mountinfo", _MOUNTS))
        except OSError:
            return ""

    def _container(self, key: str, inside: Sequence[Seen], called: Called, interval: float | None) -> Container:
        place = self._places[key]
        usage = limits.usage(place.directories)
        place.used += sum(one.used for one in inside)
        cpu = _measured(place, usage.cpu_seconds)
        processes = [one.process for one in inside]
        if cpu is None:
            cpu = sum(process.cpu or 0.0 for process in processes)
        in_memory = [process.pss for process in processes if process.rss]
        return Container(
            key=key,
            name=called.name,
            id=containers.id_of(key),
            infra=called.infra,
            processes=len(processes),
            threads=sum(process.threads or 0 for process in processes),
            cpu=cpu if interval is not None else None,
            rss=sum(process.rss or 0 for process in processes),
            pss=sum(pss or 0 for pss in in_memory) if None not in in_memory else None,
            cpu_seconds=place.used if usage.cpu_seconds is None else usage.cpu_seconds,
            usage=usage,
        )


def _measured(place: _Place, cpu_seconds: float | None) -> float | None:
    """Per cent of one CPU by the container's cgroup since it was asked before; None where it does not tell."""
    if cpu_seconds is None:
        return None
    now, before = time.monotonic(), place.told
    place.told = now, cpu_seconds
    return max(cpu_seconds - before[1], 0.0) / (now - before[0]) * 100 if before is not None else None


def _member(process: Process) -> Member:
    return Member(process.pid, process.ppid, process.name)
