"""One process in detail: this one, another, and those that may not be looked into."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.companions.topz.snapshots import SNAPSHOT
from tests.e2e.polling import wait_until
from tlsproxy.companions.topz.detail import Detail, Details, parse_limits, told
from tlsproxy.companions.topz.look import Looks
from tlsproxy.companions.topz.masking import Masking

# What a sidecar of the family gives up when it begins.
UNDUMPABLE = "import ctypes, sys; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); print(flush=True); sys.stdin.read()"


def look(pid: int, *, environment: bool = True) -> Detail | None:
    snapshot = Looks("/proc", Masking(), pss=True).look()
    return Details("/proc", Masking(), environment=environment).look(pid, snapshot)


@contextmanager
def child(script: str, **variables: str) -> Iterator[int]:
    """The pid of a process that has said that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **variables}
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.stdin.close()


WAITING = """
import socket, sys
tcp = socket.create_server(("127.0.0.1", 0))
udp = socket.socket(type=socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 0))
unix = socket.socket(socket.AF_UNIX)
print(flush=True)
sys.stdin.read()
"""


def test_a_process() -> None:
    """What it has open, its sockets and limits, and its environment with secrets masked."""
    with child(WAITING, PLAIN="seen", THE_TOKEN="hidden") as pid:
        seen = look(pid)
    assert seen is not None
    assert seen.executable is not None
    assert Path(seen.executable).name.startswith("python")
    assert seen.directory == str(Path.cwd())
    assert seen.open_files is not None
    assert seen.open_files >= 6
    assert seen.socket_count == 3
    assert {(one.protocol, one.state) for one in seen.sockets} == {("tcp", "listen"), ("udp", ""), ("unix", "")}
    assert {one.local.partition(":")[0] for one in seen.sockets} == {"127.0.0.1", ""}
    assert "Max open files (files)" in {name for name, _, _ in seen.limits}
    assert (seen.environment["PLAIN"], seen.environment["THE_TOKEN"]) == ("seen", "***")
    assert seen.switches is not None
    assert seen.container is not None


HOSTILE = """
import os, socket, sys
os.chdir(sys.argv[1])
tcp = socket.create_server(("127.0.0.1", 0))
unix = socket.socket(socket.AF_UNIX)
unix.bind(chr(10) + "a b")
print(flush=True)
sys.stdin.read()
"""


def test_a_line_break_in_a_path_of_a_socket(tmp_path: Path) -> None:
    """What one process calls its socket hides the page and the ports of no process."""
    with child(f"import sys; sys.argv[1:] = [{str(tmp_path)!r}]{HOSTILE}") as pid:
        seen = look(pid)
    assert seen is not None
    assert [(one.protocol, one.state) for one in seen.sockets] == [("tcp", "listen")]


def test_the_environment_is_off_by_default() -> None:
    """Unless it is asked for it is not even read."""
    seen = look(os.getpid(), environment=False)
    assert seen is not None
    assert seen.environment == {}
    assert "TOPZ_ENVIRONMENT is off" in seen.environment_hint


def test_children() -> None:
    """A process is told with those that it has started."""
    with child(WAITING) as pid:
        seen = look(os.getpid())
    assert seen is not None
    assert pid in seen.children


def test_no_such_process() -> None:
    """One that is not in the snapshot is none; one that has ended since is told as far as it was seen."""
    assert look(2**22 + 1) is None
    process = subprocess.Popen(["true"])
    process.wait()
    ended = replace(SNAPSHOT.processes[1], pid=process.pid)
    snapshot = replace(SNAPSHOT, processes=(ended,))
    seen = Details("/proc", Masking(), environment=True).look(process.pid, snapshot)
    assert seen is not None
    assert (seen.process, seen.open_files, seen.sockets, seen.limits) == (ended, None, (), ())


def test_a_zombie() -> None:
    """Of a process of which only its status is left nothing more is told, and nothing breaks."""
    process = subprocess.Popen(["true"])
    try:
        wait_until(lambda: b") Z " in Path(f"/proc/{process.pid}/stat").read_bytes(), "it has ended")
        seen = look(process.pid)
    finally:
        process.wait()
    assert seen is not None
    assert seen.process.state == "zombie"
    assert seen.executable is None
    assert not seen.environment


@contextmanager
def as_another_user() -> Iterator[None]:
    """Without the rights of root, for the length of the block; for root alone."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_process_that_can_not_be_dumped() -> None:
    """A sidecar of the family lets nobody look into it: it is shown all the same, with gaps."""
    with child(UNDUMPABLE, SECRET="x") as pid, as_another_user():
        seen = look(pid)
    assert seen is not None
    assert seen.process.state == "sleeping"
    assert seen.process.command.endswith("sys.stdin.read()")
    assert (seen.process.pss, seen.open_files, seen.executable, seen.socket_count) == (None, None, None, None)
    assert (seen.environment, seen.environment_hint) == ({}, "may not be read")


def test_limits() -> None:
    """Names with their units, soft and hard."""
    content = (
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        "Max cpu time              unlimited            unlimited            seconds   \n"
        "Max nice priority         0                    0                    \n"
    )
    assert parse_limits(content) == (
        ("Max cpu time (seconds)", "unlimited", "unlimited"),
        ("Max nice priority", "0", "0"),
    )
    assert parse_limits("") == ()


def test_addresses_of_version_6() -> None:
    """An IPv6 address stands in brackets, a path as it is."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        seen = look(os.getpid())
        port = server.getsockname()[1]
    assert seen is not None
    assert ("tcp6", f"[::1]:{port}") in {(one.protocol, one.local) for one in seen.sockets}


def test_what_psutil_can_not_tell() -> None:
    """Whatever goes wrong in the asking is None."""
    assert told(lambda: int("x")) is None
    assert told(lambda: 7) == 7
