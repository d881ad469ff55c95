"""How many CPUs this process is granted: by its affinity mask, and by the CPU quotas of its cgroup and those above."""

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def granted_cpus(root: Path = _ROOT, own: Path = _OWN) -> int:
    """CPUs' worth of time that this process is granted, at least 1."""
    return whole_cpus(len(os.sched_getaffinity(0)), quotas(root, own))


def whole_cpus(allowed: int, granted: Iterable[float]) -> int:
    """How many processes can be busy at once: the smallest of all bounds, rounded up.

    Rounded up as the container-aware runtimes do (the JVM, Go 1.25): with a quota of 1.5 one process would leave a
    third of it unused, and two that are busy are throttled a little.

    Args:
        allowed: CPUs that the process may run on.
        granted: CPUs' worth of time, for each cgroup that has a quota.
    """
    return max(1, math.ceil(min((float(allowed), *granted))))


def quotas(root: Path, own: Path) -> Iterator[float]:
    """The quotas of this process's cgroup and of those above it, where they have one (cgroups(7)).

    Args:
        root: where the cgroup file systems are mounted; in a container that is mostly its own cgroup.
        own: names the process's cgroups, as /proc/self/cgroup.
    """
    for line in _read(own).splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            yield from filter(None, map(_unified, _upwards(root, path)))
        elif "cpu" in controllers.split(","):
            yield from filter(None, map(_legacy, _upwards(root / "cpu", path)))


def _upwards(mounted: Path, path: str) -> Iterator[Path]:
    """The directory of a cgroup and of each above it; the mount alone where the path is outside of what is mounted."""
    steps = PurePosixPath(path.strip()).relative_to("/") if path.startswith("/") else PurePosixPath()
    for step in (steps, *steps.parents):
        if ".." not in step.parts:
            yield mounted / step


def _unified(cgroup: Path) -> float | None:
    """`cpu.max` of cgroup v2: the quota and the period in microseconds; `max` is none."""
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    return _ratio(quota, period)


def _legacy(cgroup: Path) -> float | None:
    """The two files of cgroup v1; -1 is none."""
    return _ratio(_read(cgroup / "cpu.cfs_quota_us"), _read(cgroup / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    try:
        granted, of = int(quota), int(period)
    except ValueError:
        return None
    return granted / of if granted > 0 and of > 0 else None


def _read(path: Path) -> str:
    """A file's text; empty where it can't be read."""
    try:
        return path.read_text()
    except OSError:
        return ""
