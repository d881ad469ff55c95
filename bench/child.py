"""Child processes: started on given cores, heard when they complain, always ended, their children too."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.machine import pinned

START_DEADLINE = 20.0
STOP_DEADLINE = 3.0


class StartError(Exception):
    """A child that did not come up; the message says what it said."""


@dataclass(frozen=True)
class Child:
    """A running child and the file that its standard error goes to."""

    process: subprocess.Popen[bytes]
    complaints: Path

    @property
    def pid(self) -> int:
        """Root of the process tree."""
        return self.process.pid

    def last_words(self) -> str:
        """The end of its standard error, for a message."""
        return "\n".join(self.complaints.read_text(errors="replace").strip().splitlines()[-5:])


@contextmanager
def running(
    command: Sequence[str],
    *,
    cores: tuple[int, ...],
    output: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Child]:
    """A child for the length of the block.

    Args:
        command: program and arguments.
        cores: where it and its children may run.
        output: its standard output is appended here; standard error goes to a file beside it, `.err`.
        environment: the whole environment; None: this process's.

    Raises:
        StartError: there is no such program.
    """
    complaints = output.with_suffix(".err")
    with output.open("ab") as out, complaints.open("wb") as err:
        try:
            with pinned(cores):
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env=environment,
                    process_group=0,
                )
        except OSError as error:
            raise StartError(f"{command[0]}: {error.strerror}") from error
    try:
        yield Child(process, complaints)
    finally:
        _end(process)


def await_port(child: Child, port: int) -> None:
    """Returns once the port accepts connections.

    Raises:
        StartError: the child ended, or START_DEADLINE passed.
    """
    for _ in attempts(child):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
    raise StartError(f"port {port} did not open within {START_DEADLINE:.0f} s\n{child.last_words()}")


def attempts(child: Child) -> Iterator[None]:
    """A turn every few milliseconds while the child comes up, until START_DEADLINE.

    Raises:
        StartError: the child ended.
    """
    deadline = time.monotonic() + START_DEADLINE
    while time.monotonic() < deadline:
        if child.process.poll() is not None:
            raise StartError(f"ended with status {child.process.returncode}\n{child.last_words()}")
        yield
        time.sleep(0.002)


def free_port() -> int:
    """A loopback port that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGINT, which skips the drain delay where there is one; then SIGKILL for what is left of the group."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_DEADLINE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
