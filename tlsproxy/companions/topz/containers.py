"""Which container a process is in, by its cgroup, and what the container is called; pure.

Container engines name a container's cgroup by its id, in versions 1 and 2 alike. What people call it is in no cgroup:
a kubelet's bind mounts tell, else it is called as the process that it was made for.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

SHORT = 12
"""Digits of an id, as engines show it."""
INFRA = frozenset({"pause", "catatonit", "podman-pause"})
"""Processes that hold a pod's namespaces and do nothing else."""
OUTSIDE = "outside of containers"

_ID = re.compile(
    # cri-containerd-ID.scope, docker-ID.scope, crio-ID.scope, libpod-ID.scope, pod:cri-containerd:ID, or the id alone;
    # Fargate has the task's id and a number.
    r"(?:^|[-:])(?P<id>[0-9a-f]{64}|[0-9a-f]{32}-[0-9]{6,})(?:\.scope)?$"
)
_UNIT = re.compile(r"(?P<name>.+)\.(service|scope|slice)")
# The kubelet mounts a file of the container's own directory, POD/containers/NAME/ID, as its termination log.
_KUBELET = re.compile(r" \S*/pods/(?P<pod>[^/ ]+)/containers/(?P<name>[^/ ]+)/[^/ ]+ \S+ ")


def cgroup_of(content: str) -> str:
    """A process's cgroup as the one path that says most, from /proc/PID/cgroup; `/` where nothing does.

    Of version 2 there is one path, of version 1 one for each controller, and of both at once mostly that of version 1
    says more.
    """
    paths = [line.split(":", 2) for line in content.splitlines() if line.count(":") >= 2]
    order = sorted(paths, key=lambda line: (not _has_id(line[2]), line[2] == "/", "memory" not in line[1]))
    return order[0][2].removesuffix(" (deleted)") if order else "/"


def controllers_of(content: str) -> Mapping[str, str]:
    """Its cgroup by controller; that of version 2 by the empty name."""
    paths = (line.split(":", 2) for line in content.splitlines() if line.count(":") >= 2)
    return {name: path.removesuffix(" (deleted)") for _, names, path in paths for name in names.split(",")}


def key_of(cgroup: str) -> str:
    """The container's own cgroup, of which the process's may be a part: as far as the last id in the path."""
    steps = cgroup.split("/")
    last = next((number for number in range(len(steps) - 1, -1, -1) if _ID.search(steps[number])), None)
    return cgroup if last is None else "/".join(steps[: last + 1])


def id_of(key: str) -> str:
    """The container's id, short; empty where the cgroup has none."""
    found = _ID.search(key.rpartition("/")[2])
    return found["id"][:SHORT] if found else ""


def _has_id(path: str) -> bool:
    return any(_ID.search(step) for step in path.split("/"))


def kubernetes_name(mounts: str) -> str:
    """The container's name in its pod, from /proc/PID/mountinfo; empty where no kubelet has made it."""
    found = _KUBELET.search(mounts)
    return found["name"] if found else ""


# --- Names ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Member:
    """What is known of a process to name its container by."""

    pid: int
    ppid: int | None
    name: str


@dataclass(frozen=True, slots=True)
class Called:
    """What a container is called."""

    name: str
    infra: bool


def names(members: Mapping[str, Sequence[Member]], given: Mapping[str, str]) -> dict[str, Called]:
    """What each container is called, by key, no two alike.

    Args:
        members: its processes, by key.
        given: names that are known, by key; empty or left out where none is.
    """
    called = {key: _name(key, processes, given.get(key, "")) for key, processes in members.items()}
    times = Counter(one.name for one in called.values())
    alike = {key for key, one in called.items() if times[one.name] > 1}
    return {
        key: Called(f"{one.name}-{id_of(key) or number}", one.infra) if key in alike else one
        for number, (key, one) in enumerate(sorted(called.items()), 1)
    }


def _name(key: str, processes: Sequence[Member], given: str) -> Called:
    main = main_of(processes)
    last = key.rpartition("/")[2]
    unit = _UNIT.fullmatch(last)
    if given:
        return Called(given, infra=False)
    if main is not None and main.name in INFRA:
        return Called("pause", infra=True)
    if unit and not id_of(key):
        return Called(unit["name"], infra=False)
    return Called(main.name if main is not None and main.name else last or OUTSIDE, infra=False)


def main_of(processes: Iterable[Member]) -> Member | None:
    """The process that a container was made for: the first of those whose parent is outside of it."""
    inside = {process.pid: process for process in processes}
    tops = [process for process in inside.values() if process.ppid not in inside]
    return min(tops, key=lambda process: process.pid, default=None)
