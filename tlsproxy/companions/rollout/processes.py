"""The app's processes, found in a PID namespace that is shared with it, and what can be done to them.

What a process is sent, and why, is not known here. A process is held by a pidfd, so that what is sent never reaches
another one that has been given its number meanwhile.
"""

import asyncio
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import MappingProxyType

_PROC = Path("/proc")
_INTERPRETER = re.compile(r"(python|pypy|node|nodejs|ruby|perl|php|lua|java|bash|dash|ash|sh)[0-9.]*")
_GONE = (FileNotFoundError, ProcessLookupError)
"""What reading of /proc fails with when a process ends while it is looked at."""

SHARE = "set shareProcessNamespace: true in the pod (podman: --share pid)"


class ProcessError(Exception):
    """There is no such process, or nothing may be sent to it; the message is plain and says the way out."""


# --- Which ones --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Selector:
    """Which processes are meant."""

    kind: str
    """`name`, `pidfile` or `label`."""
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


def parse_selector(text: str) -> Selector:
    """From `name:nginx`, `pidfile:/run/app.pid`, `label:KEY=VALUE`.

    Raises:
        ValueError: it is none of them, with a plain reason.
    """
    kind, _, value = text.partition(":")
    if kind == "name" and value and "/" not in value:
        return Selector(kind, value)
    if kind == "pidfile" and value.startswith("/"):
        return Selector(kind, value)
    if kind == "label" and re.fullmatch(r"[^=\0]+=[^\0]+", value):
        return Selector(kind, value)
    raise ValueError("it names no process")


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one moment."""

    pid: int
    parent: int
    """0: there is none in this PID namespace."""
    started: int
    """Clock ticks from the system's start to its own: with the pid, what tells it from any other."""
    group: int
    """The pid of its process group's leader."""
    name: str
    """Its `comm`: the first 15 characters of what was executed, or what it calls itself."""

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name})"


def this_moment() -> int:
    """Clock ticks from the system's start to this moment, as in `Process.started`."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def find(selector: Selector) -> tuple[int, ...]:
    """The pids, oldest first; of a parent and its children that match, the parent alone.

    Processes of this container are found like those of others, but for this one, those that it descends from, and
    process 1, which is the pod's, not the app's, where the namespace is shared: that one and this one's parents are
    taken from a pid file alone.

    Raises:
        ProcessError: there is none.
    """
    return tuple(process.pid for process in _found(selector))


@contextmanager
def held(selector: Selector) -> Iterator[tuple["Handle", ...]]:
    """The same processes, held while the body runs.

    Raises:
        ProcessError: there is none.
    """
    handles = tuple(handle for process in _found(selector) if (handle := _hold(process)))
    try:
        if not handles:
            raise ProcessError(f"the process that {selector} found has ended")
        yield handles
    finally:
        for handle in handles:
            os.close(handle.pidfd)


def _found(selector: Selector) -> tuple[Process, ...]:
    visible = _visible()
    if selector.kind == "pidfile":
        return (_in_pid_file(Path(selector.value), visible),)
    matching = {pid for pid, process in visible.items() if _MATCHES[selector.kind](process, selector.value)}
    barred = {os.getpid(), 1, *_ancestors(os.getpid(), visible)}
    candidates = matching - barred
    if not candidates:
        raise ProcessError(f"no process matches {selector}: {_why_none(selector, visible, matching)}")
    tops = (visible[pid] for pid in candidates if not candidates & _ancestors(pid, visible))
    return tuple(sorted(tops, key=lambda process: (process.started, process.pid)))


def _in_pid_file(path: Path, visible: Mapping[int, Process]) -> Process:
    try:
        text = path.read_text(errors="replace").strip()
    except OSError as error:
        raise ProcessError(f"the pid file {path} can't be read: {os.strerror(error.errno or 0).lower()}") from None
    if not re.fullmatch("[1-9][0-9]{0,9}", text):
        raise ProcessError(f"the pid file {path} holds no process's number")
    pid = int(text)
    if pid == os.getpid():
        raise ProcessError(f"the pid file {path} holds {pid}, which is this very process: to see the app's, {SHARE}")
    if pid not in visible:
        raise ProcessError(f"the pid file {path} holds {pid}, and there is no such process: it is stale, or {SHARE}")
    return visible[pid]


def _why_none(selector: Selector, visible: Mapping[int, Process], matching: set[int]) -> str:
    """What keeps the app from being found, most likely."""
    if 1 in matching and os.getpid() != 1:
        return "but process 1, which is taken from a pid file alone (pidfile:/PATH, with 1 in it)"
    if 1 in _ancestors(os.getpid(), visible) or os.getpid() == 1:
        # A pod's process 1 is the parent of no container's.
        return f"to see those of the app's container, {SHARE}"
    if selector.kind == "label" and (unreadable := sum(not _is_readable(pid) for pid in visible)):
        return (
            f"{unreadable} of {len(visible)} processes don't show their environment to user {os.geteuid()}: "
            "have both containers run as the same user (runAsUser)"
        )
    return f"it is none of the {len(visible)} that are there"


def _ancestors(pid: int, visible: Mapping[int, Process]) -> set[int]:
    """Parent, grandparent and so on, without 0."""
    found: set[int] = set()
    while (process := visible.get(pid)) and process.parent and process.parent not in found:
        pid = process.parent
        found.add(pid)
    return found


# --- What /proc says ---------------------------------------------------------------------------------------


def _visible() -> dict[int, Process]:
    """All processes that run, by pid."""
    found = (_read(int(entry)) for entry in os.listdir(_PROC) if entry.isdecimal())  # noqa: PTH208  names alone
    return {process.pid: process for process in found if process}


def _read(pid: int) -> Process | None:
    """None: it is gone, or has ended and only waits to be asked after."""
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except _GONE:
        return None
    # Its name may hold anything, parentheses too (proc(5)).
    head, _, tail = stat.rpartition(b")")
    state, parent, group, *rest = tail.split()
    if state in (b"Z", b"X"):
        return None
    return Process(pid, int(parent), int(rest[16]), int(group), head.partition(b"(")[2].decode(errors="replace"))


def _is_named(process: Process, name: str) -> bool:
    """Whether it is called so, is executed from such a file, or is an interpreter that runs one."""
    if process.name == name:
        return True
    arguments = _strings(process.pid, "cmdline")
    if not arguments:
        return False
    program = PurePath(arguments[0]).name
    if _INTERPRETER.fullmatch(program):
        script = next((argument for argument in arguments[1:] if not argument.startswith("-")), "")
        return name in (program, PurePath(script).name)
    return program == name


def _has_label(pid: int, label: str) -> bool:
    return label in _strings(pid, "environ")


def _strings(pid: int, file: str) -> tuple[str, ...]:
    """What stands between the zero bytes of a process's file; nothing where it can't be read."""
    try:
        text = (_PROC / str(pid) / file).read_bytes()
    except (*_GONE, PermissionError):
        return ()
    return tuple(part.decode(errors="surrogateescape") for part in text.removesuffix(b"\0").split(b"\0"))


def _is_readable(pid: int) -> bool:
    try:
        (_PROC / str(pid) / "environ").open("rb").close()
    except OSError:
        return False
    return True


_MATCHES: Mapping[str, Callable[[Process, str], bool]] = MappingProxyType(
    {"name": _is_named, "label": lambda process, label: _has_label(process.pid, label)}
)


# --- What can be done --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Handle:
    """A process that is held."""

    process: Process
    pidfd: int

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; one that has ended meanwhile is sent nothing.

        Raises:
            ProcessError: it is another user's; or it is process 1 of this PID namespace and does not handle the
                signal, which the kernel then drops, SIGKILL even where it would be the last resort.
        """
        if self.process.pid == 1 and not self.heeds(number):
            raise ProcessError(
                f"{self.process} doesn't handle {number.name}, and nobody in its PID namespace ends process 1 of it: "
                f"start the app under an init (podman and docker: --init), or {SHARE}"
            )
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return
        except PermissionError:
            owner = _status(self.process.pid).get("Uid", "?").split()[0]
            raise ProcessError(
                f"{self.process} is user {owner}'s, and user {os.geteuid()} may not send it {number.name}: "
                f"have both containers run as the same user (runAsUser: {owner}), or this one as root with the "
                "capability KILL"
            ) from None

    def heeds(self, number: signal.Signals) -> bool:
        """Whether it handles that signal, ignores it or waits for it: it does not end of it as by default."""
        status = _status(self.process.pid)
        return any(int(status.get(kind, "0"), 16) >> (number - 1) & 1 for kind in ("SigCgt", "SigIgn", "SigBlk"))

    async def ended(self, within: float) -> bool:
        """Whether it ends within so many seconds; returns when it does."""
        return await ends(self.pidfd, within)


def any_in_group(group: int) -> bool:
    """Whether a process of that group runs, besides those that have ended and only wait to be asked after."""
    return any(process.group == group for process in _visible().values())


def any_labelled(variable: str, value: str) -> bool:
    """Whether a process runs that began with that variable in its environment, as far as that may be read."""
    return any(_has_label(pid, f"{variable}={value}") for pid in _visible())


def send_labelled(variable: str, value: str, number: signal.Signals) -> bool:
    """Send a signal to all that began with that variable in their environment; whether there were any.

    Those that may not be looked into or signalled are passed over.
    """
    matching = [process for pid, process in _visible().items() if _has_label(pid, f"{variable}={value}")]
    for handle in filter(None, map(_hold, matching)):
        with suppress(ProcessError):
            handle.send(number)
        os.close(handle.pidfd)
    return bool(matching)


async def ends(pidfd: int, within: float) -> bool:
    """Whether the process of a pidfd ends within so many seconds, whoever's child it is."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        loop.remove_reader(pidfd)
        ended.set_result(None)

    loop.add_reader(pidfd, tell)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await ended
    finally:
        loop.remove_reader(pidfd)
    return not ended.cancelled()


def _hold(process: Process) -> Handle | None:
    """None: it has ended."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    except OSError as error:
        raise ProcessError(f"processes can't be held (pidfd_open): {os.strerror(error.errno or 0).lower()}") from None
    # Its number may have become another one's before it was opened, and can't any more.
    if (present := _read(process.pid)) is None or present.started != process.started:
        os.close(pidfd)
        return None
    return Handle(process, pidfd)


def _status(pid: int) -> Mapping[str, str]:
    """The fields of /proc/PID/status; none when it is gone."""
    try:
        lines = (_PROC / str(pid) / "status").read_text(errors="replace").splitlines()
    except _GONE:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
