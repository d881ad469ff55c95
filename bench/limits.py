"""Latency under a limit of CPU time, as Kubernetes sets one: so much in each 100 ms, and then the kernel lets it wait.

The limit is a control group's, of either version of them; where none may be made, nothing is measured.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench import proc
from bench.rounds import Sample

GROUPS = Path("/sys/fs/cgroup")
NAME = f"tlsproxy-bench-{os.getpid()}"
# Microseconds, Kubernetes' too.
PERIOD = 100_000
# Thousandths of a CPU, as a pod's limits are written; 0: none.
LIMITS = (0, 200, 100, 50)
# Requests a second: what one quiet app is asked, and about a twentieth of a CPU.
RATE = 250.0
SECONDS = 2


@dataclass(frozen=True)
class Limited:
    """What became of requests under a limit.

    Attributes:
        millis: the limit, in thousandths of a CPU; 0: none.
        sample: at RATE.
        waited: the share of the time in which the limit was used up, and all stood still.
    """

    millis: int
    sample: Sample
    waited: float


class Group:
    """A control group that limits CPU time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, pid: int) -> None:
        """Let it hold for a process tree."""
        for member in proc.tree(pid):
            (self._directory / "cgroup.procs").write_text(str(member))

    def limit(self, millis: int) -> None:
        """Set the limit, in thousandths of a CPU; 0: none."""
        quota = PERIOD * millis // 1000
        if (self._directory / "cpu.max").exists():
            (self._directory / "cpu.max").write_text(f"{quota or 'max'} {PERIOD}")
        else:
            (self._directory / "cpu.cfs_quota_us").write_text(str(quota or -1))

    def waited(self) -> float:
        """Seconds, so far, in which the limit was used up."""
        fields = dict(line.split() for line in (self._directory / "cpu.stat").read_text().splitlines())
        if "throttled_usec" in fields:
            return int(fields["throttled_usec"]) / 1e6
        return int(fields["throttled_time"]) / 1e9


@contextmanager
def group() -> Iterator[Group | None]:
    """A new one for the length of the block; None: this user, or this machine, may have none."""
    above = GROUPS / "cpu" if (GROUPS / "cpu").is_dir() else GROUPS
    directory = above / NAME
    made = False
    with suppress(OSError):
        directory.mkdir()
        made = True
    try:
        limits_cpu = any((directory / name).exists() for name in ("cpu.max", "cpu.cfs_quota_us"))
        yield Group(directory) if limits_cpu else None
    finally:
        if made:
            # What is still in it has ended, or must not be held by it any longer.
            for pid in (directory / "cgroup.procs").read_text().split():
                with suppress(OSError):
                    (above / "cgroup.procs").write_text(pid)
            directory.rmdir()
