"""One look at everything: processes, their containers and the machine, put together as a snapshot; blocks."""

import os
import time
from collections.abc import Sequence

from tlsproxy.companions.topz.grouping import Grouping
from tlsproxy.companions.topz.masking import Masking
from tlsproxy.companions.topz.pressure import machine_pressure
from tlsproxy.companions.topz.proc_files import parse_load, parse_memory, read
from tlsproxy.companions.topz.processes import Processes, Seen
from tlsproxy.companions.topz.shared_memory import SharedMemory
from tlsproxy.companions.topz.snapshot import Container, Machine, Snapshot

BASELINE = 15.0
"""Seconds after which CPU is not measured from the look before any more: an average of so long says little."""


class Looks:
    """One look after another, by one thread.

    Args:
        proc: where /proc is.
        masking: for command lines.
        pss: whether the parts of memory that are shared are told apart, which costs the processes a little.
    """

    def __init__(self, proc: str, masking: Masking, *, pss: bool) -> None:
        self._proc = proc
        self._processes = Processes(proc, masking)
        self._grouping = Grouping(proc)
        self._shared = SharedMemory(proc) if pss else None
        self._last: float | None = None

    def __repr__(self) -> str:
        return f"<Looks {self._processes!r} {self._grouping!r}>"

    def look(self) -> Snapshot:
        """What there is at this moment.

        Raises:
            OSError: /proc itself can't be read.
        """
        taken, at = time.time(), time.monotonic()
        interval = at - self._last if self._last is not None and at - self._last <= BASELINE else None
        machine = _machine(self._proc)
        seen = self._processes.look(measured=interval is not None)
        self._last = at
        self._add_pss(seen)
        grouped = self._grouping.group(seen, interval)
        _add_shares(seen, grouped, machine.memory)
        return Snapshot(
            taken=taken,
            at=at,
            took=time.monotonic() - at,
            interval=interval,
            machine=machine,
            processes=tuple(one.process for one in seen),
            containers=grouped,
        )

    def _add_pss(self, seen: Sequence[Seen]) -> None:
        if self._shared is None:
            return
        figures = self._shared.look((one.process.pid, one.began) for one in seen if one.process.rss)
        for one in seen:
            one.process.pss = figures.get((one.process.pid, one.began))


def _add_shares(seen: Sequence[Seen], grouped: Sequence[Container], machine: int | None) -> None:
    """Each process's memory in per cent of what there is for it."""
    limits = {one.key: one.usage.memory_limit or machine for one in grouped}
    for process in (one.process for one in seen):
        whole = limits.get(process.container or "", machine)
        if process.rss is not None and whole:
            process.memory = process.rss / whole * 100


def _machine(proc: str) -> Machine:
    memory = parse_memory(_read(f"{proc}/meminfo"))
    return Machine(
        name=_read(f"{proc}/sys/kernel/hostname").decode(errors="replace").strip() or os.uname().nodename,
        cpus=os.cpu_count() or 1,
        memory=memory.get("MemTotal"),
        available=memory.get("MemAvailable"),
        load=parse_load(_read(f"{proc}/loadavg")),
        pressure=machine_pressure(proc),
    )


def _read(path: str) -> bytes:
    try:
        return read(path, 8192)
    except OSError:
        return b""
