"""One look at everything: processes, their containers and the machine, put together as a snapshot; blocks."""

import os
import time
from dataclasses import replace

from tlsproxy.companions.topz.grouping import Grouping
from tlsproxy.companions.topz.masking import Masking
from tlsproxy.companions.topz.pressure import machine_pressure
from tlsproxy.companions.topz.proc_files import parse_load, parse_memory, read
from tlsproxy.companions.topz.processes import Processes, Seen
from tlsproxy.companions.topz.shared_memory import SharedMemory
from tlsproxy.companions.topz.snapshot import Container, Machine, Snapshot

BASELINE = 30.0
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
        seen = self._with_pss(self._processes.look(measured=interval is not None))
        self._last = at
        grouped = self._grouping.group(seen, interval)
        return Snapshot(
            taken=taken,
            at=at,
            took=time.monotonic() - at,
            interval=interval,
            machine=machine,
            processes=tuple(one.process for one in _with_shares(seen, grouped, machine.memory)),
            containers=grouped,
        )

    def _with_pss(self, seen: list[Seen]) -> list[Seen]:
        if self._shared is None:
            return seen
        figures = self._shared.look((one.process.pid, one.began) for one in seen if one.process.rss)
        return [
            replace(one, process=replace(one.process, pss=pss))
            if (pss := figures.get((one.process.pid, one.began))) is not None
            else one
            for one in seen
        ]


def _with_shares(seen: list[Seen], grouped: tuple[Container, ...], machine: int | None) -> list[Seen]:
    """With each process's memory in per cent of what there is for it."""
    limits = {one.key: one.usage.memory_limit or machine for one in grouped}
    return [
        replace(one, process=replace(one.process, memory=one.process.rss / whole * 100))
        if one.process.rss is not None and (whole := limits.get(one.process.container or "", machine))
        else one
        for one in seen
    ]


def _machine(proc: str) -> Machine:
    memory = parse_memory(_read(f"{proc}/meminfo"))
    return Machine(
        name=os.uname().nodename,
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
