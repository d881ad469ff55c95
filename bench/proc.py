"""What the kernel's books in /proc say: CPU time and memory of a process tree, and how busy each core was.

Reads and sums; knows nothing of fronts or loads.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True)
class Memory:
    """Memory of a process tree, in bytes, summed over its processes.

    Attributes:
        resident: VmRSS; pages shared within the tree count once for each process.
        proportional: Pss; a page shared by n processes counts 1/n for each. 0: it may not be read.
        peak: VmHWM, the highest resident size of each process so far.
    """

    resident: int
    proportional: int
    peak: int


@dataclass(frozen=True)
class CoreTimes:
    """Clock ticks of some cores since the machine started."""

    busy: int
    total: int

    def busy_since(self, earlier: "CoreTimes") -> float:
        """The share of the time since `earlier` in which the cores were not idle, 0 to 1."""
        return (self.busy - earlier.busy) / max(1, self.total - earlier.total)


def tree(pid: int) -> list[int]:
    """`pid` and its living descendants; empty when it has ended."""
    try:
        children = [
            int(child)
            for listing in (PROC / str(pid) / "task").glob("*/children")
            for child in listing.read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []
    if not (PROC / str(pid)).exists():
        return []
    return [pid, *(descendant for child in children for descendant in tree(child))]


def cpu_ticks(stat: str) -> int:
    """User and system time, ended children included, from /proc/PID/stat (proc(5), fields 14 to 17)."""
    after_name = stat.rpartition(")")[2].split()
    return sum(int(field) for field in after_name[11:15])


def cpu_seconds(pid: int) -> float:
    """CPU time that the tree of `pid` has used so far, ended children included."""
    ticks = 0
    for member in tree(pid):
        try:
            ticks += cpu_ticks((PROC / str(member) / "stat").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return ticks / TICKS_PER_SECOND


def cpu_seconds_exactly(pid: int) -> float:
    """CPU time of the living threads of `pid`, to the nanosecond, where `cpu_seconds` counts ticks of 10 ms."""
    nanoseconds = 0
    for task in (PROC / str(pid) / "task").glob("*/schedstat"):
        nanoseconds += int(_read(task).split()[0] or 0)
    return nanoseconds / 1e9


def kilobytes(text: str, field: str) -> int:
    """The value of a `Field:  123 kB` line in bytes; 0 without one."""
    for line in text.splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def memory(pid: int) -> Memory:
    """Memory of the tree of `pid` at this moment."""
    resident = proportional = peak = 0
    for member in tree(pid):
        status = _read(PROC / str(member) / "status")
        resident += kilobytes(status, "VmRSS")
        peak += kilobytes(status, "VmHWM")
        proportional += kilobytes(_read(PROC / str(member) / "smaps_rollup"), "Pss")
    return Memory(resident, proportional, peak)


def anonymous(pid: int) -> int:
    """Bytes of resident memory of the tree of `pid` that are in no file: what other processes can't share."""
    return sum(kilobytes(_read(PROC / str(member) / "status"), "RssAnon") for member in tree(pid))


def core_times(stat: str, cores: Iterable[int]) -> CoreTimes:
    """The sum for `cores`, from the text of /proc/stat (user nice system idle iowait irq softirq steal)."""
    wanted = {f"cpu{core}" for core in cores}
    busy = total = 0
    for line in stat.splitlines():
        name, *fields = line.split()
        if name in wanted:
            ticks = [int(field) for field in fields[:8]]
            total += sum(ticks)
            busy += sum(ticks) - ticks[3] - ticks[4]
    return CoreTimes(busy, total)


def core_times_of(cores: Iterable[int]) -> CoreTimes:
    """The sum for `cores` at this moment."""
    return core_times((PROC / "stat").read_text(), cores)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
