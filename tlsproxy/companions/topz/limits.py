"""What a container may have of CPU and memory, what it has, and how much it was throttled: its cgroup's files.

A cgroup's files are found by the mounts of cgroup file systems: by this process's own, or, since a container mostly
sees its own cgroup alone, by those of a process of that container, where it may be looked into.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tlsproxy.companions.topz.containers import controllers_of, key_of
from tlsproxy.companions.topz.pressure import cgroup_pressure
from tlsproxy.companions.topz.proc_files import read, text
from tlsproxy.companions.topz.snapshot import Usage

_MOUNTS = 256 * 1024
"""Bytes of a list of mounts that are read."""
_NO_LIMIT = 2**60
"""Version 1 tells of no limit as the largest number of pages."""
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Directories:
    """Where a container's cgroup is; empty: it can't be seen."""

    unified: str = ""
    """Of version 2."""
    controllers: Mapping[str, str] = field(default_factory=dict)
    """Of version 1, by controller."""

    @property
    def found(self) -> bool:
        """Whether there is anything to be read."""
        return bool(self.unified or self.controllers)


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount of a cgroup file system."""

    root: str
    """Which cgroup is mounted."""
    place: str
    controllers: frozenset[str]
    """Those of version 1; `""` for version 2."""


def find(proc: str, pid: int, key: str) -> Directories:
    """Where the files of a container's cgroup are.

    Args:
        proc: where /proc is.
        pid: of one of its processes.
        key: the container's. A controller that the process is under elsewhere tells of more than this container.
    """
    try:
        paths = controllers_of(text(read(f"{proc}/{pid}/cgroup")))
    except OSError:
        return Directories()
    cgroups = {controller: key for controller, path in paths.items() if key_of(path) == key}
    found: dict[str, str] = {}
    for mounts, root in ((f"{proc}/self/mountinfo", ""), (f"{proc}/{pid}/mountinfo", f"{proc}/{pid}/root")):
        for name, directory in _directories(cgroups, _mounts(mounts), root):
            found.setdefault(name, directory)
    return Directories(found.pop("", ""), found)


def _directories(cgroups: Mapping[str, str], mounts: list[Mount], root: str) -> Iterator[tuple[str, str]]:
    """By controller where its files are, as far as they can be read."""
    for controller, cgroup in cgroups.items():
        for mount in mounts:
            inner = below(mount.root, cgroup)
            if controller in mount.controllers and inner is not None:
                directory = f"{root}{mount.place}{inner}"
                if _readable(f"{directory}/cgroup.procs"):
                    yield controller, directory


def below(root: str, cgroup: str) -> str | None:
    """The rest of a cgroup's path below another; None where it is not below it."""
    root = root.rstrip("/")
    rest = cgroup.rstrip("/").removeprefix(root)
    is_below = cgroup.startswith(root) and (not rest or rest.startswith("/")) and ".." not in rest.split("/")
    return rest if is_below else None


def parse_mounts(content: str) -> list[Mount]:
    """The cgroup file systems of a mountinfo (proc(5))."""
    found = []
    for line in content.splitlines():
        head, _, tail = line.partition(" - ")
        fields, (kind, _, options) = head.split(" "), tail.partition(" ")
        if kind in {"cgroup", "cgroup2"} and len(fields) > 4:
            controllers = frozenset({""} if kind == "cgroup2" else options.rpartition(" ")[2].split(","))
            found.append(Mount(_unescaped(fields[3]), _unescaped(fields[4]), controllers))
    return found


def _mounts(path: str) -> list[Mount]:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - read in pieces as the kernel gives it
            return parse_mounts(text(file.read(_MOUNTS)))
    except OSError:
        return []


def _unescaped(path: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), path)


def _readable(path: str) -> bool:
    try:
        read(path, 1)
    except OSError:
        return False
    return True


# --- What they say ----------------------------------------------------------------------------------------


def usage(directories: Directories) -> Usage:
    """What the files say at this moment; of those that can't be read nothing."""
    return _unified(directories.unified) if _has(directories.unified, "memory.current") else _legacy(directories)


def _has(directory: str, name: str) -> bool:
    return bool(directory) and _readable(f"{directory}/{name}")


def _unified(directory: str) -> Usage:
    cpu, memory, events = (_table(f"{directory}/{name}") for name in ("cpu.stat", "memory.stat", "memory.events"))
    current = _number(f"{directory}/memory.current")
    return Usage(
        cpu_seconds=_scaled(cpu.get("usage_usec"), 1e6),
        cpu_limit=_quota(*(_words(f"{directory}/cpu.max") or [""])),
        periods=cpu.get("nr_periods"),
        throttled_periods=cpu.get("nr_throttled"),
        throttled_seconds=_scaled(cpu.get("throttled_usec"), 1e6),
        memory=current,
        working_set=_without(current, memory.get("inactive_file")),
        memory_limit=_number(f"{directory}/memory.max"),
        oom_kills=events.get("oom_kill"),
        pressure=cgroup_pressure(directory),
    )


def _legacy(directories: Directories) -> Usage:
    places = {name: directories.controllers.get(name, "/nonexistent") for name in ("cpu", "cpuacct", "memory")}
    cpu, memory = _table(f"{places['cpu']}/cpu.stat"), _table(f"{places['memory']}/memory.stat")
    control = _table(f"{places['memory']}/memory.oom_control")
    current, limit = (_number(f"{places['memory']}/memory.{name}_in_bytes") for name in ("usage", "limit"))
    quota, period = (_words(f"{places['cpu']}/cpu.cfs_{name}_us") for name in ("quota", "period"))
    return Usage(
        cpu_seconds=_scaled(_number(f"{places['cpuacct']}/cpuacct.usage"), 1e9),
        cpu_limit=_quota(*quota, *period),
        periods=cpu.get("nr_periods"),
        throttled_periods=cpu.get("nr_throttled"),
        throttled_seconds=_scaled(cpu.get("throttled_time"), 1e9),
        memory=current,
        working_set=_without(current, memory.get("total_inactive_file")),
        memory_limit=limit if limit is not None and limit < _NO_LIMIT else None,
        oom_kills=control.get("oom_kill"),
    )


def _quota(quota: str = "", period: str = "") -> float | None:
    """CPUs' worth of time; `max` and -1 are none."""
    try:
        granted, of = int(quota), int(period)
    except ValueError:
        return None
    return granted / of if granted > 0 and of > 0 else None


def _without(whole: int | None, part: int | None) -> int | None:
    return max(whole - part, 0) if whole is not None and part is not None else whole


def _scaled(number: int | None, divisor: float) -> float | None:
    return number / divisor if number is not None else None


def _number(path: str) -> int | None:
    words = _words(path)
    return int(words[0]) if words and words[0].isdigit() else None


def _table(path: str) -> dict[str, int]:
    """`NAME NUMBER` in each line."""
    words = _words(path)
    return {name: int(value) for name, value in zip(words[::2], words[1::2], strict=False) if value.isdigit()}


def _words(path: str) -> list[str]:
    try:
        return text(read(path, 16 * 1024)).split()
    except OSError:
        return []
