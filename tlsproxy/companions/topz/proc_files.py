"""The files of /proc that are read for every process at each look (proc(5)): from bytes to values; pure.

They are read here and not by psutil, which is asked for all that is looked at once: a look takes an eighth of the time.
"""

import os
from dataclasses import dataclass

TICKS = os.sysconf("SC_CLK_TCK")
"""In a second."""
PAGE = os.sysconf("SC_PAGE_SIZE")
"""Bytes."""
STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "disk sleep",
    "Z": "zombie",
    "T": "stopped",
    "t": "traced",
    "X": "dead",
    "x": "dead",
    "I": "idle",
    "W": "waking",
    "P": "parked",
    "K": "wakekill",
}
GONE = frozenset({"zombie", "dead"})
"""States in which there is nothing left but a status to be asked for."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What /proc/PID/stat tells."""

    name: str
    state: str
    ppid: int
    cpu_seconds: float
    threads: int
    began: int
    """Ticks since the machine began; with the pid it is a process's name for good."""
    rss: int
    """Bytes."""


def parse_stat(content: bytes) -> Stat | None:
    """None for what is no such file."""
    # The name may hold anything, a closing parenthesis too: it ends with the last one.
    opening, closing = content.find(b"("), content.rfind(b")")
    fields = content[closing + 2 :].split()
    if opening < 0 or len(fields) < 22:
        return None
    return Stat(
        name=text(content[opening + 1 : closing]),
        state=STATES.get(text(fields[0]), text(fields[0])),
        ppid=int(fields[1]),
        cpu_seconds=(int(fields[11]) + int(fields[12])) / TICKS,
        threads=int(fields[17]),
        began=int(fields[19]),
        rss=int(fields[21]) * PAGE,
    )


def parse_arguments(content: bytes) -> tuple[str, ...]:
    """The arguments of /proc/PID/cmdline; empty for a process that has none."""
    # What a process has written over its arguments is one text, with as many zero bytes behind it as there was room.
    stripped = content.rstrip(b"\0 ")
    return tuple(map(text, stripped.split(b"\0"))) if stripped else ()


def parse_effective_user(content: bytes) -> int | None:
    """The effective user's id from /proc/PID/status."""
    _, found, rest = content.partition(b"\nUid:\t")
    ids = rest[:64].split()
    return int(ids[1]) if found and len(ids) > 1 and ids[1].isdigit() else None


def parse_pss(content: bytes) -> int | None:
    """Bytes from /proc/PID/smaps_rollup."""
    _, found, rest = content.partition(b"\nPss:")
    amount = rest[:64].split()
    return int(amount[0]) * 1024 if found and amount and amount[0].isdigit() else None


def parse_memory(content: bytes) -> dict[str, int]:
    """Bytes by name from /proc/meminfo."""
    lines = (line.partition(b":") for line in content.splitlines())
    return {text(name): int(value.split()[0]) * 1024 for name, _, value in lines if value.split()[:1]}


def parse_boot_time(content: bytes) -> float | None:
    """Seconds since the epoch at which the machine began, from /proc/stat."""
    _, found, rest = content.partition(b"\nbtime ")
    return float(rest.split(maxsplit=1)[0]) if found else None


def parse_load(content: bytes) -> tuple[float, float, float] | None:
    """Of the last 1, 5 and 15 minutes, from /proc/loadavg."""
    try:
        one, five, fifteen = map(float, content.split()[:3])
    except ValueError:
        return None
    return one, five, fifteen


def text(content: bytes) -> str:
    r"""As text; bytes that are none are shown as `\xff`."""
    return content.decode(errors="backslashreplace")


def read(path: str, most: int = 4096) -> bytes:
    """The beginning of a file, in a single call, as these files are made anew at each; what is longer is cut off.

    Raises:
        OSError: it is not there, may not be read, or the process has ended meanwhile.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, most)
    finally:
        os.close(descriptor)
