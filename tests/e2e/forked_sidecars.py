"""Sidecars that are forks of a process which has imported all they are made of, for tests that are not about the start.

Imports are nine tenths of the CPU that a start takes, and the tests start hundreds. Whatever comes after the imports is
that of `tlsproxy run`: such a process has an environment, descriptors, signals and an exit status of its own.

`python -m tests.e2e.forked_sidecars N PROGRAM` is the process that forks, asked over the socket N: a message is an
environment as JSON, with descriptors for standard output, standard error and the exit status; the answer is a PID.
"""

import gc
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path

PROJECT = Path(__file__).parents[2]
IMPORTED = {
    "tlsproxy": (
        "tlsproxy.cli",
        "tlsproxy.settings",
        "tlsproxy.sidecar",
        "tlsproxy.tls.first_look",
        "tlsproxy.chassis.admin.metrics",
        "uvloop",
    ),
    "configsync": (
        "tlsproxy.companions.configsync.cli",
        "tlsproxy.companions.configsync.settings",
        "tlsproxy.companions.configsync.program",
        "tlsproxy.chassis.admin.metrics",
    ),
}
"""By program, its command line first: by the process that forks alone; those who ask for forks have no need of them."""
SPARING_CLIENT = ("tlsproxy",)
LONGEST = 128 * 1024
"""Bytes of a message."""


class Forked:
    """A sidecar that was forked by another process than this one: as much of `subprocess.Popen` as tests use."""

    def __init__(self, pid: int, ended: int) -> None:
        self.pid = pid
        self._ended = ended
        self._status: int | None = None

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        return self._ask(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once it has ended; subprocess.TimeoutExpired when it has not by then."""
        status = self._ask(timeout)
        if status is None:
            raise subprocess.TimeoutExpired("tlsproxy run", timeout or 0)
        return status

    def send_signal(self, sig: int) -> None:
        """Send a signal to one that has not ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended since, and nobody has told yet
                os.kill(self.pid, sig)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(9)

    def _ask(self, timeout: float | None) -> int | None:
        if self._status is None and select.select([self._ended], [], [], timeout)[0]:
            told = os.read(self._ended, 16)
            os.close(self._ended)
            self._status = int(told)
        return self._status


class Forks:
    """The process that forks them, from its first use to `close`."""

    def __init__(self, program: str = "tlsproxy") -> None:
        self._asking, answering = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with answering:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.forked_sidecars", str(answering.fileno()), program],
                env={name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[answering.fileno()],
            )

    def start(self, environment: Mapping[str, str], output: int, errors: int) -> Forked:
        """The program's `run` with this environment and nothing else of one."""
        ended, end = os.pipe()
        try:
            socket.send_fds(self._asking, [json.dumps(dict(environment)).encode()], [output, errors, end])
        finally:
            os.close(end)
        return Forked(int(self._asking.recv(16)), ended)

    def close(self) -> None:
        """End the process that forks; the others are ended by those who asked for them."""
        self._asking.close()
        self._process.wait()


def main(descriptor: int, program: str) -> int:
    """Import, and fork at each message; the exit status, a fork's being its sidecar's."""
    if program in SPARING_CLIENT:
        import_module("tlsproxy.chassis.imports").spare_client("aiohttp")
    for name in IMPORTED[program]:
        import_module(name)
    gc.freeze()  # or each fork would copy what it looks at
    environment = fork_when_asked(socket.socket(fileno=descriptor))
    if environment is None:
        return 0
    os.environ.clear()
    os.environ.update(environment)
    status: int = import_module(IMPORTED[program][0]).main(["run"])
    return status


def fork_when_asked(asked: socket.socket) -> dict[str, str] | None:
    """Returns with its environment in each fork, and with None once there is nobody to ask."""
    children: dict[int, tuple[int, int]] = {}
    while True:
        readable, _, _ = select.select([asked.fileno(), *children], [], [])
        for ended in children.keys() & readable:
            child, end = children.pop(ended)
            os.write(end, b"%d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            os.close(end)
            os.close(ended)
        if asked.fileno() in readable:
            message, descriptors, _, _ = socket.recv_fds(asked, LONGEST, 3)
            if not message:
                return None
            child = os.fork()
            if child == 0:
                asked.detach()
                keep_streams(*descriptors[:2])
                environment: dict[str, str] = json.loads(message)
                return environment
            asked.send(b"%d" % child)
            *streams, end = descriptors
            for stream in streams:
                os.close(stream)
            children[os.pidfd_open(child)] = child, end


def keep_streams(output: int, errors: int) -> None:
    """Leave a fork its standard streams and no other descriptor."""
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.closerange(3, 256)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
