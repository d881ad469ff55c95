"""Connections that do nothing: the memory of a front with none, 1,000 and 10,000 of them, and after they are closed."""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench import proc
from bench.fronts import Running
from bench.machine import pinned
from bench.proc import Memory

# So many are open when counting begins: what is made for the first one only is no cost of each.
FIRST = 16
# What a front gives back, it has given back after so many seconds.
SETTLE = 2.0
# Files that are no connections.
SPARE_FILES = 400


class IdleError(Exception):
    """The connections could not all be opened; the message says why."""


@dataclass(frozen=True)
class Idle:
    """A front's memory as its connections grow; each has had one answer of one byte.

    Attributes:
        front: the front's label.
        start: just started.
        first: with FIRST connections.
        opened: with so many connections.
        closed: after all are closed again.
    """

    front: str
    start: Memory
    first: Memory
    opened: dict[int, Memory]
    closed: Memory

    def each(self, count: int) -> float:
        """Bytes of resident memory for one of so many connections. What the kernel keeps for it is not in it."""
        return (self.opened[count].resident - self.first.resident) / (count - FIRST)


def run(running: Running, counts: Sequence[int], cores: tuple[int, ...]) -> Idle:
    """Opens so many connections in turn and closes them all.

    Raises:
        IdleError: they could not all be opened.
    """
    start = proc.memory(running.pid)
    command = [sys.executable, "-m", "bench.generator.idle", str(running.port)]
    with pinned(cores):
        pipe = subprocess.PIPE
        clients = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    with clients:
        try:
            first = _memory_with(FIRST, clients, running)
            opened = {count: _memory_with(count, clients, running) for count in counts}
            _tell(clients, 0)
            time.sleep(SETTLE)
            return Idle(running.front.label, start, first, opened, proc.memory(running.pid))
        finally:
            clients.kill()


def _memory_with(count: int, clients: subprocess.Popen[str], running: Running) -> Memory:
    _tell(clients, count)
    return proc.memory(running.pid)


def _tell(clients: subprocess.Popen[str], count: int) -> None:
    """Returns when there are so many."""
    assert clients.stdin is not None
    assert clients.stdout is not None
    assert clients.stderr is not None
    clients.stdin.write(f"{count}\n")
    clients.stdin.flush()
    if not clients.stdout.readline():
        raise IdleError(f"{count} connections: {clients.stderr.read().strip().splitlines()[-1:]}")
