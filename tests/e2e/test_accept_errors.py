"""Where the kernel can't give another connection, the process rests, serves whom it has, and recovers."""

import resource
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.programs import program
from tests.e2e.scripted_app import ScriptedApp
from tests.e2e.sidecar_process import Sidecar, command
from tests.e2e.test_connection_limit import WITHOUT_UVLOOP, cpu_seconds

pytestmark = pytest.mark.soak

KNOCKING = 30
WATCHED = 1.0
BUSY = 0.3
"""Of a processor: what a process that tries again without end takes is all of it."""
FEW = 20
PROBE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
NO_TLS = b"GET / HTTP/1.1\r\n\r\n"
"""To which the port for clients has an answer."""


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> list[str]:
    """The command, with each of the loops."""
    return command() if request.param == "uvloop" else [sys.executable, "-c", WITHOUT_UVLOOP]


@pytest.fixture
def knocking() -> Iterator[ExitStack]:
    """Where connections are closed that a test has made."""
    with ExitStack() as stack:
        yield stack


def knock(port: int, stack: ExitStack) -> socket.socket:
    """Many that the kernel has said yes to; one of them."""
    for _ in range(KNOCKING):
        one = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
    return one


def busy(pid: int) -> float:
    """The share of a processor that a process takes while it is watched."""
    began, spent = time.monotonic(), cpu_seconds(pid)
    time.sleep(WATCHED)
    return (cpu_seconds(pid) - spent) / (time.monotonic() - began)


def test_no_descriptor_is_left(
    sidecar: Launch, app: ScriptedApp, run: list[str], knocking: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EMFILE takes no processor, costs nobody who is there or comes, whatever the port, and ends with its cause."""
    monkeypatch.setenv("TLSPROXY_TEST_COMMAND", shlex.join(run))
    process = sidecar()
    with process.connect() as client:
        assert client.get().status == 200
        before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (process.open_files(), before[1]))
        probe, stranger = knock(process.admin_port, knocking), knock(process.port, knocking)
        probe.sendall(PROBE)
        stranger.sendall(NO_TLS)
        assert busy(process.pid) < BUSY
        assert client.get().status == 200
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, before)
        assert probe.recv(12) == b"HTTP/1.1 200"
        assert stranger.recv(12) == b"HTTP/1.1 400"
    served_again(process)


@pytest.mark.parametrize("error", ["ENOBUFS", "ENFILE"])
def test_the_kernel_refuses(
    sidecar: Launch,
    app: ScriptedApp,
    run: list[str],
    knocking: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: str,
) -> None:
    """An error of accept(2) takes no processor, costs nobody who is there, and connections are taken again after it."""
    monkeypatch.setenv("TLSPROXY_TEST_COMMAND", shlex.join(run))
    process = sidecar()
    with process.connect() as client:
        assert client.get().status == 200
        with failing(process.pid, "accept,accept4", error, tmp_path / "trace"):
            probe = knock(process.admin_port, knocking)
            probe.sendall(PROBE)
            knock(process.port, knocking)
            wait_until(lambda: len(process.told("can't be accepted")) == 2, "it is told of both ports")
            # Each call that fails is a line of the trace; it is a matter of thousands where there is no rest.
            tried = lines(tmp_path / "trace")
            time.sleep(WATCHED / 2)
            assert lines(tmp_path / "trace") - tried < FEW
            assert client.get().status == 200
        assert probe.recv(12) == b"HTTP/1.1 200"
        knocking.close()
    served_again(process)


def lines(path: Path) -> int:
    return path.read_text().count("\n")


@contextmanager
def failing(pid: int, calls: str, error: str, trace: Path) -> Iterator[None]:
    """These system calls of a process fail with that error while the block lasts."""
    options = ["-qq", "-o", str(trace), "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}"]
    tracer = subprocess.Popen([program("strace", "strace"), *options, "-p", str(pid)], stderr=subprocess.PIPE)
    try:
        wait_until(lambda: _is_traced(pid, tracer), "the process is traced")
        yield
    finally:
        tracer.terminate()
        tracer.communicate()


def _is_traced(pid: int, tracer: "subprocess.Popen[bytes]") -> bool:
    if tracer.poll() is not None:
        pytest.skip("this user may not trace processes (ptrace)")
    return f"TracerPid:\t{tracer.pid}" in Path(f"/proc/{pid}/status").read_text()


def served_again(process: Sidecar) -> None:
    def served() -> bool:
        with suppress(OSError):
            return process.get().status == 200
        return False

    wait_until(served, "new connections are served again")
