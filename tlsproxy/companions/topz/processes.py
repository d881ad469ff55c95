"""All processes, looked at one moment after another: what each is, and what it has used since the look before.

Blocks, and is for one thread. Whatever ends, is a zombie or may not be read meanwhile leaves a gap and nothing else.
"""

import os
import pwd
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tlsproxy.chassis.diagnostics import escape
from tlsproxy.companions.topz import containers
from tlsproxy.companions.topz.masking import Masking
from tlsproxy.companions.topz.proc_files import (
    GONE,
    TICKS,
    Stat,
    parse_arguments,
    parse_boot_time,
    parse_effective_user,
    parse_stat,
    read,
    text,
)
from tlsproxy.companions.topz.snapshot import Process

_YOUNG = 10.0
"""Seconds in which a process may still give up its user, or be moved into its cgroup."""
_LASTING = 60.0
"""Seconds for which these are good later on."""
_COMMAND = 4096
"""Bytes of a command line that are read."""


@dataclass(slots=True)
class Seen:
    """A process as one look has found it."""

    process: Process
    began: int = 0
    """Ticks; with the pid it is a process's name for good. 0 where it may not be read."""
    used: float = 0.0
    """Seconds of CPU since the look before; 0 at the first look, and for one that was not seen at it but was there."""


@dataclass(slots=True)
class _Known:
    """What is kept of a process from one look to the next."""

    began: int
    name: str = ""
    container: str | None = None
    user: str | None = None
    read_at: float = 0.0
    """When these were read."""
    written: bytes = b""
    """The command line as it was read."""
    command: str = ""
    """What is shown of it."""
    cpu_seconds: float | None = None
    at: float = 0.0
    """When this was so."""


class Processes:
    """All processes below one /proc.

    Args:
        proc: where /proc is.
        masking: for command lines.
    """

    def __init__(self, proc: str, masking: Masking) -> None:
        self._proc = proc
        self._masking = masking
        self._known: dict[int, _Known] = {}
        self._users: dict[int, str] = {}
        self._booted = parse_boot_time(self._read("stat", 1024 * 1024)) or 0.0
        self._last = 0.0

    def __repr__(self) -> str:
        return f"<Processes {self._proc}: {len(self._known)}>"

    def look(self, *, measured: bool) -> list[Seen]:
        """See what there is at this moment.

        Args:
            measured: whether CPU is told in per cent, over the time since the look before.

        Raises:
            OSError: /proc itself can't be read.
        """
        now = time.monotonic()
        seen = list(self._see(measured=measured))
        self._last = now
        return seen

    def _see(self, *, measured: bool) -> Iterator[Seen]:
        former, self._known = self._known, {}
        for pid in pids(self._proc):
            try:
                stat = parse_stat(read(f"{self._proc}/{pid}/stat"))
            except PermissionError:
                stat = None
            except OSError:
                continue
            if stat is None:
                yield Seen(Process(pid=pid, ppid=None, name="", command=""))
                continue
            known = former.get(pid)
            if known is None or known.began != stat.began:
                known = _Known(stat.began)
            yield self._seen(pid, stat, known, measured=measured)
            self._known[pid] = known

    def _seen(self, pid: int, stat: Stat, known: _Known, *, measured: bool) -> Seen:
        now = time.monotonic()
        used, elapsed = self._used(stat, known, now)
        known.cpu_seconds, known.at = stat.cpu_seconds, now
        self._read_what_lasts(pid, stat, known, now)
        self._read_command(pid, stat, known)
        process = Process(
            pid=pid,
            ppid=stat.ppid,
            name=known.name,
            command=known.command,
            state=stat.state,
            user=known.user,
            threads=stat.threads,
            started=self._booted + stat.began / TICKS if self._booted else None,
            cpu_seconds=stat.cpu_seconds,
            cpu=used / elapsed * 100 if measured and elapsed else None,
            rss=None if stat.state in GONE else stat.rss,
            container=known.container,
        )
        return Seen(process, stat.began, used)

    def _used(self, stat: Stat, known: _Known, now: float) -> tuple[float, float]:
        """Seconds of CPU since the look before, and how long ago that was; 0 where there was none."""
        if known.cpu_seconds is not None:
            return max(stat.cpu_seconds - known.cpu_seconds, 0.0), now - known.at
        if not self._last:
            return 0.0, 0.0
        return stat.cpu_seconds if self._age(stat) <= now - self._last else 0.0, now - self._last

    def _age(self, stat: Stat) -> float:
        """Seconds since it began; both count from the machine's start, its times of sleep included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - stat.began / TICKS

    # ------------------------------------------------------------------ what is read of one process

    def _read(self, name: str, most: int = 4096) -> bytes:
        """A file of /proc; empty where it can't be read."""
        try:
            return read(f"{self._proc}/{name}", most)
        except OSError:
            return b""

    def _read_what_lasts(self, pid: int, stat: Stat, known: _Known, now: float) -> None:
        """Read what seldom changes: when another program runs in it, while it is young, and now and then."""
        name = escape(stat.name)
        if name == known.name and now - known.read_at < _LASTING and self._age(stat) > _YOUNG:
            return
        known.name, known.read_at = name, now
        cgroups = self._read(f"{pid}/cgroup")
        known.container = containers.key_of(containers.cgroup_of(text(cgroups))) if cgroups else None
        known.user = self._user(parse_effective_user(self._read(f"{pid}/status")))

    def _read_command(self, pid: int, stat: Stat, known: _Known) -> None:
        written = b"" if stat.state in GONE else self._read(f"{pid}/cmdline", _COMMAND)
        if not known.command or written != known.written or not written:
            arguments = self._masking.arguments(parse_arguments(written))
            known.written, known.command = written, escape(" ".join(arguments)) or f"[{known.name}]"

    def _user(self, uid: int | None) -> str | None:
        if uid is None:
            return None
        if uid not in self._users:
            self._users[uid] = _user_name(uid)
        return self._users[uid]


class UnseenError(OSError):
    """There are no processes to be looked at; the text says where, and why."""


def pids(proc: str) -> list[int]:
    """All there are, in order.

    Raises:
        UnseenError: /proc can't be read, or is none: whoever looks is there at least.
    """
    try:
        numbers = sorted(int(name) for name in os.listdir(proc) if name.isdigit())  # noqa: PTH208 - hundreds of names
    except OSError as error:
        raise UnseenError(f"{proc}: {(error.strerror or str(error)).lower()}") from error
    if not numbers:
        raise UnseenError(f"{proc} has no processes: is a /proc mounted there?")
    return numbers


def _user_name(uid: int) -> str:
    """As this machine knows it, else the number: another container's users are not known here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
