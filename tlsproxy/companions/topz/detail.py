"""One process in detail, as psutil sees it; blocks, and is for the thread that looks.

What may not be read is None: another user's open files, say, and everything of a process that can't be dumped, as
tlsproxy and this one.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import psutil

from tlsproxy.chassis.diagnostics import escape
from tlsproxy.companions.topz.masking import Masking
from tlsproxy.companions.topz.proc_files import read, text
from tlsproxy.companions.topz.snapshot import Container, Process, Snapshot

T = TypeVar("T")

MOST_SOCKETS = 200
"""Those that are listed; all are counted."""
_LIMIT = re.compile(r"^(?P<name>\S.*?) {2,}(?P<soft>\S+) +(?P<hard>\S+) *(?P<unit>\S*)", re.MULTILINE)
_OFF = "not shown (TOPZ_ENVIRONMENT is off)"
_CLOSED = "may not be read"


@dataclass(frozen=True, slots=True)
class Socket:
    """One of a process's sockets."""

    protocol: str
    """`tcp`, `tcp6`, `udp`, `udp6` or `unix`."""
    local: str
    """Address and port, or the path."""
    remote: str
    """Empty where there is none."""
    state: str
    """In small letters, such as `listen`; empty where it has none."""


@dataclass(frozen=True, slots=True)
class Detail:
    """What there is to be told of one process."""

    process: Process
    container: Container | None
    children: tuple[int, ...] = ()
    executable: str | None = None
    directory: str | None = None
    open_files: int | None = None
    nice: int | None = None
    switches: tuple[int, int] | None = None
    """Of context: those that it asked for, and those that it did not."""
    read: int | None = None
    """Bytes that storage was asked for."""
    written: int | None = None
    limits: tuple[tuple[str, str, str], ...] = ()
    """Name, soft and hard."""
    socket_count: int | None = None
    sockets: tuple[Socket, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    """Masked; empty where it is not shown."""
    environment_hint: str = _OFF
    """Why it is not shown, or how much there is of it."""


class Details:
    """Looks at one process.

    Args:
        proc: where /proc is.
        masking: for the environment.
        environment: whether it is shown.
    """

    def __init__(self, proc: str, masking: Masking, *, environment: bool) -> None:
        self._proc = proc
        self._masking = masking
        self._environment = environment
        # psutil knows no other way; nothing else of this process uses it.
        psutil.PROCFS_PATH = proc

    def __repr__(self) -> str:
        return f"<Details {self._proc}>"

    def look(self, pid: int, snapshot: Snapshot) -> Detail | None:
        """What is known of a process of that snapshot; None where it has none."""
        process = next((one for one in snapshot.processes if one.pid == pid), None)
        if process is None:
            return None
        container = next((one for one in snapshot.containers if one.key == process.container), None)
        children = tuple(one.pid for one in snapshot.processes if one.ppid == pid)
        seen = told(lambda: psutil.Process(pid))
        if seen is None:
            return Detail(process, container, children)
        sockets = told(lambda: seen.net_connections("all"))
        if sockets is None:
            # A line break in the path of any socket of the network, and psutil reads none that has a path.
            sockets = told(lambda: seen.net_connections("inet"))
        switches, transfer = told(seen.num_ctx_switches), told(seen.io_counters)
        environment, hint = self._environment_of(seen)
        return Detail(
            process=process,
            container=container,
            children=children,
            executable=escape(told(seen.exe) or "") or None,
            directory=escape(told(seen.cwd) or "") or None,
            open_files=told(seen.num_fds),
            nice=told(seen.nice),
            switches=(switches.voluntary, switches.involuntary) if switches is not None else None,
            read=transfer.read_bytes if transfer is not None else None,
            written=transfer.write_bytes if transfer is not None else None,
            limits=parse_limits(told(lambda: text(read(f"{self._proc}/{pid}/limits"))) or ""),
            socket_count=len(sockets) if sockets is not None else None,
            sockets=tuple(
                _socket(int(one.family), int(one.type), one.laddr, one.raddr, one.status)
                for one in (sockets or ())[:MOST_SOCKETS]
            ),
            environment=environment,
            environment_hint=hint,
        )

    def _environment_of(self, seen: psutil.Process) -> tuple[dict[str, str], str]:
        if not self._environment:
            return {}, _OFF
        known = told(seen.environ)
        if known is None:
            return {}, _CLOSED
        shown = {escape(name): escape(self._masking.variable(name, value)) for name, value in sorted(known.items())}
        return shown, f"{len(shown)} variables"


def told(ask: Callable[[], T]) -> T | None:
    """What psutil answers; None where the process has ended, is a zombie, or may not be asked."""
    try:
        return ask()
    except (psutil.Error, OSError, ValueError, RuntimeError):
        return None


def parse_limits(content: str) -> tuple[tuple[str, str, str], ...]:
    """From /proc/PID/limits, whose first line has titles."""
    found = _LIMIT.finditer(content.partition("\n")[2])
    return tuple(
        (f"{one['name']}{f' ({unit})' if (unit := one['unit']) else ''}", one["soft"], one["hard"]) for one in found
    )


_KINDS = {(2, 1): "tcp", (10, 1): "tcp6", (2, 2): "udp", (10, 2): "udp6"}


def _socket(family: int, kind: int, local: object, remote: object, state: str) -> Socket:
    return Socket(
        protocol=_KINDS.get((family, kind), "unix"),
        local=_address(local),
        remote=_address(remote),
        state="" if state == psutil.CONN_NONE else state.lower(),
    )


def _address(address: object) -> str:
    if isinstance(address, str):
        return escape(address)
    if isinstance(address, tuple) and len(address) == 2:
        host, port = address
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    return ""
