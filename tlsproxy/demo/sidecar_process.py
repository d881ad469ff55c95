"""The sidecar as a child process: started as its users start it, asked through its ports, ended by its pid."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

READY_WITHIN = 15.0  # seconds; it takes half a one
STOPPED_WITHIN = 3.0
PAUSE = 0.02  # seconds between two looks
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end a program on a terminal."""


class StartError(Exception):
    """The sidecar did not become ready."""


class SidecarProcess:
    """A running sidecar."""

    def __init__(self, process: subprocess.Popen[bytes], admin_port: int, diagnostics: Path) -> None:
        self._process = process
        self._admin_port = admin_port
        self._diagnostics = diagnostics
        self._told = 0

    def __repr__(self) -> str:
        return f"<SidecarProcess {self._process.pid} status={self.status}>"

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal's number; None while it runs."""
        return self._process.poll()

    def await_ready(self) -> None:
        """Returns once /readyz says yes.

        Raises:
            StartError: the process has ended, or READY_WITHIN has passed.
        """
        deadline = time.monotonic() + READY_WITHIN
        while not self._is_ready():
            if self.status is not None:
                raise StartError(f"the sidecar ended with status {self.status} before it was ready")
            if time.monotonic() > deadline:
                raise StartError(f"the sidecar was not ready within {READY_WITHIN:g} s")
            time.sleep(PAUSE)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._admin_port, timeout=1)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def diagnostics(self) -> list[str]:
        """The lines on its standard error that no call has returned yet."""
        with self._diagnostics.open("rb") as file:
            file.seek(self._told)
            whole = file.read().rpartition(b"\n")[0]
        self._told += len(whole) + 1 if whole else 0
        return whole.decode(errors="replace").splitlines()

    def stop(self) -> None:
        """End it and wait until it has ended. May be called twice."""
        try:
            # SIGTERM would wait for load balancers (DRAIN_DELAY).
            self._process.send_signal(signal.SIGINT)
            self._process.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._process.kill()
            self._process.wait()


@contextmanager
def sidecar_process(
    settings: Mapping[str, object], admin_port: int, diagnostics: Path, program: str = "tlsproxy"
) -> Iterator[SidecarProcess]:
    """A sidecar for the length of the block; it may not be ready yet.

    Args:
        settings: the contract's variables without their prefix. This process's own have no effect.
        admin_port: where it is asked.
        diagnostics: the file that its standard error goes to; request lines go nowhere.
        program: the module that is run; its last name is the prefix of its variables.
    """
    prefix = f"{program.rpartition('.')[2].upper()}_"
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith(prefix)}
    environment |= {f"{prefix}{name}": str(value) for name, value in settings.items()}
    with ExitStack() as stack:
        with diagnostics.open("wb") as stderr, _signals_held():
            process = subprocess.Popen(  # noqa: S603 - a module of ours
                [sys.executable, "-m", program, "run"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
            sidecar = SidecarProcess(process, admin_port, diagnostics)
            stack.callback(sidecar.stop)
        yield sidecar


@contextmanager
def _signals_held() -> Iterator[None]:
    """A signal that would end us waits for the block's end: in the midst of Popen it would leave an orphan."""
    came: list[int] = []
    handlers = {number: signal.signal(number, lambda number, _: came.append(number)) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for first in came[:1]:
            signal.raise_signal(first)


@contextmanager
def reserved_ports(count: int) -> Iterator[list[int]]:
    """Free loopback ports that for the length of the block only those who ask for them by number are given.

    They are bound and not listened on: the kernel then gives them to nobody, and lets a listener with
    SO_REUSEADDR have them (socket(7)).
    """
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", 0))
        yield [sock.getsockname()[1] for sock in sockets]
