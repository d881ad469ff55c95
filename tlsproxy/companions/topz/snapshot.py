"""What is known of a pod's processes and containers at one moment: plain values, which every way of showing them takes.

None stands for what could not be read or does not apply, and is shown as a dash.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Process:
    """One process; filled in by the look that sees it, and not changed any more."""

    pid: int
    ppid: int | None
    name: str
    """As the kernel has it, at most 15 characters; empty where it may not be read."""
    command: str
    """With its arguments, secrets masked; `[name]` for one that has none, as a zombie or a kernel thread."""
    state: str | None = None
    """A word, such as `sleeping` or `zombie`."""
    user: str | None = None
    """The name of its effective user where this machine has one, else the number."""
    threads: int | None = None
    started: float | None = None
    """Seconds since the epoch."""
    cpu_seconds: float | None = None
    """Used since it began, in user and kernel mode."""
    cpu: float | None = None
    """Per cent of one CPU, over the snapshot's interval."""
    rss: int | None = None
    """Bytes in memory, those shared with other processes included."""
    pss: int | None = None
    """Bytes in memory, of those that are shared this process's part."""
    memory: float | None = None
    """RSS in per cent of its container's limit, or of the machine's memory where there is none."""
    container: str | None = None
    """A container's key."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """How much of the time work stood still for want of one resource (PSI); per cent, or None."""

    some: float
    """Some of the tasks, over the last 10 s."""
    full: float | None
    """All of them at once, over the last 10 s; None where the kernel does not tell."""
    some_seconds: float
    """In all, since the machine or the cgroup began."""
    full_seconds: float | None


Pressures = Mapping[str, Pressure]
"""By resource: `cpu`, `memory`, `io`; those that are not told are left out."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a container's cgroup tells of it."""

    cpu_seconds: float | None = None
    cpu_limit: float | None = None
    """CPUs' worth of time; None: no limit, or not told."""
    periods: int | None = None
    """Of the limit, in which there was something to run."""
    throttled_periods: int | None = None
    throttled_seconds: float | None = None
    memory: int | None = None
    """Bytes, page cache included."""
    working_set: int | None = None
    """Bytes that can't be taken back at once: what Kubernetes holds against the limit when it evicts."""
    memory_limit: int | None = None
    """Bytes; None: no limit, or not told."""
    oom_kills: int | None = None
    pressure: Pressures = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Container:
    """A cgroup with its processes."""

    key: str
    """The cgroup's path."""
    name: str
    """Unlike that of any other in the snapshot."""
    id: str = ""
    """Its first 12 hexadecimal digits; empty where there is none to be seen."""
    infra: bool = False
    """Whether it only holds the pod's namespaces."""
    processes: int = 0
    threads: int = 0
    cpu: float | None = None
    """Per cent of one CPU over the snapshot's interval."""
    rss: int = 0
    """The sum of its processes'."""
    pss: int | None = None
    """The sum of its processes'; None where one of them could not be read."""
    cpu_seconds: float = 0.0
    """Of its cgroup, or where that can't be read what its processes were seen to use."""
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class Machine:
    """What the processes run on."""

    name: str
    """The host's; in a pod the pod's."""
    cpus: int
    memory: int | None
    """Bytes."""
    available: int | None
    """Bytes that could be had without swapping."""
    load: tuple[float, float, float] | None
    pressure: Pressures


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of them at one moment."""

    taken: float
    """Seconds since the epoch."""
    at: float
    """The same by the monotonic clock."""
    took: float
    """Seconds."""
    interval: float | None
    """Seconds that CPU is measured over; None: there was no other snapshot shortly before."""
    machine: Machine
    processes: tuple[Process, ...]
    containers: tuple[Container, ...]
