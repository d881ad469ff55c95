"""The sidecar as its users run it: a process with an environment, ports, signals, output and an exit status.

TLSPROXY_TEST_COMMAND names another command to test, for example an installed image's.
"""

import json
import os
import shlex
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import pytest
import trustme

from tests.e2e.messages import Response
from tests.e2e.metrics import Metrics
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port
from tests.e2e.raw_client import RawClient, TlsClient

PROJECT = Path(__file__).parents[2]
START_DEADLINE = 15.0
STOP_DEADLINE = 10.0

PASSED_ON = ("PATH", "LANG", "COVERAGE_PROCESS_START", "COVERAGE_FILE")
DEFAULTS = {
    "LISTEN_HOST": "127.0.0.1",
    "ADMIN_HOST": "127.0.0.1",
    "DRAIN_DELAY": "0",
    "DRAIN_TIMEOUT": "5s",
    "APP_CHECK": "off",
}
"""Loopback, quick to stop, and no connection to the app that no request asked for."""

Line = dict[str, object]


class Process(Protocol):
    """As much of `subprocess.Popen` as is used."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


Start = Callable[[Mapping[str, str], int, int], Process]
"""Starts a process with an environment, and descriptors for its standard output and standard error."""


def command() -> list[str]:
    """The command under test."""
    return shlex.split(os.environ.get("TLSPROXY_TEST_COMMAND", f"{sys.executable} -m tlsproxy run"))


def execute(environment: Mapping[str, str], output: int, errors: int) -> Process:
    """Start the command under test."""
    return subprocess.Popen(
        command(), env=environment, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
    )


@contextmanager
def looking_into() -> Iterator[None]:
    """Around what /proc tells of a sidecar to none but root, since it can't be dumped; others skip the test."""
    try:
        yield
    except PermissionError:
        pytest.skip("needs CAP_SYS_PTRACE: a sidecar lets nobody look into it")


class Sidecar:
    """A running sidecar; as a context manager it is stopped at the end, and must not have shown a traceback.

    `settings` are the contract's variables without their prefix; those left out have the defaults of DEFAULTS
    or of the contract, and the ports are free ones. With `wait` False nobody waits until it listens. `output` is
    a descriptor for its standard output, in place of the file that `stdout` and `lines` read, and `errors` one for
    its standard error, which `stderr` and `told` read. `start` makes the process.
    """

    def __init__(
        self,
        directory: Path,
        authority: trustme.CA,
        settings: dict[str, str],
        wait: bool = True,
        output: int | None = None,
        errors: int | None = None,
        start: Start = execute,
    ) -> None:
        self.port = free_port()
        self.admin_port = free_port()
        self.settings = {
            "LISTEN_PORT": str(self.port),
            "ADMIN_PORT": str(self.admin_port),
            **DEFAULTS,
            **settings,
        }
        self.port, self.admin_port = int(self.settings["LISTEN_PORT"]), int(self.settings["ADMIN_PORT"])
        self.host = self.settings["LISTEN_HOST"] or "127.0.0.1"
        self.authority = authority
        self.trust = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
        """A client's context that trusts the test's authority."""
        self._out, self._err = directory / "stdout", directory / "stderr"
        self._seen = 0
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = start(
                self._environment(),
                out.fileno() if output is None else output,
                err.fileno() if errors is None else errors,
            )
        if wait:
            try:
                self.wait_until_listening()
            except BaseException:
                self.process.kill()
                self.process.wait()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        assert "Traceback" not in self.stderr(), self.stderr()

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_until_listening(self) -> None:
        """Wait until the port accepts; AssertionError with standard error when the process ends before."""
        wait_until(self._listens, f"port {self.port} accepts; {self.stderr()}", START_DEADLINE)

    def wait_until_closed(self) -> None:
        """Wait until the port accepts no more."""
        wait_until(lambda: not self._listens(), f"port {self.port} is closed", STOP_DEADLINE)

    def connect(
        self,
        context: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
        handshake: bool = True,
        receive_buffer: int | None = None,
        source: str | None = None,
    ) -> TlsClient:
        """A TLS client that trusts the test's authority, unless it is given a context of its own."""
        return TlsClient(
            self.port,
            context or self.trust,
            session=session,
            handshake=handshake,
            host=self.host,
            receive_buffer=receive_buffer,
            source=source,
        )

    def connect_plain(self) -> RawClient:
        """A client that speaks no TLS."""
        return RawClient(self.port, self.host)

    def get(self, target: str = "/", *fields: str) -> Response:
        """GET over a connection of its own."""
        with self.connect() as client:
            return client.get(target, *fields)

    def lines(self) -> list[Line]:
        """The request lines written since `forget_lines`, as parsed JSON."""
        text = self._out.read_text()[self._seen :]
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def forget_lines(self) -> None:
        """Leave what is on standard output out of `lines`."""
        self._seen = len(self._out.read_text())

    def wait_for_line(self, **wanted: object) -> Line:
        """The first request line whose fields have these values."""

        def first() -> Line | None:
            return next((line for line in self.lines() if wanted.items() <= line.items()), None)

        return wait_until(first, f"a request line with {wanted}")

    def ask_admin(self, path: str, method: str = "GET") -> Response:
        """One request to the admin port, over a connection of its own."""
        with RawClient(self.admin_port) as client:
            return client.ask(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), method)

    def metrics(self) -> Metrics:
        """A scrape."""
        return Metrics(self.ask_admin("/metrics").body.decode())

    def status(self) -> Line:
        """What /status tells."""
        status: Line = json.loads(self.ask_admin("/status").body)
        return status

    def certificate(self) -> Line:
        """What /status tells of the certificate that is served."""
        certificates = self.status()["certificates"]
        assert isinstance(certificates, list)
        (certificate,) = certificates
        assert isinstance(certificate, dict)
        return certificate

    def told(self, text: str) -> list[Line]:
        """The diagnostics on standard error whose message holds `text`, as parsed JSON."""
        lines = [json.loads(line) for line in self.stderr().splitlines() if line.startswith("{")]
        return [line for line in lines if text in line["message"]]

    def stdout(self) -> str:
        return self._out.read_text()

    def stderr(self) -> str:
        return self._err.read_text()

    def wait_for_stderr(self, text: str) -> str:
        """Standard error, once it holds `text`."""
        wait_until(lambda: text in self.stderr(), f"{text!r} on standard error: {self.stderr()}")
        return self.stderr()

    def peak_memory(self) -> int:
        """The most resident memory in bytes since the start or `forget_peak_memory` (VmHWM of proc(5))."""
        return self._status("VmHWM") * 1024

    def forget_peak_memory(self) -> None:
        """Let the peak begin at what is resident."""
        with looking_into():
            Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def open_files(self) -> int:
        """How many descriptors it holds."""
        with looking_into():
            return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, within: float = STOP_DEADLINE) -> int:
        """The exit status, once it has ended."""
        return self.process.wait(within)

    def stop(self) -> int:
        """SIGTERM, and SIGKILL when it does not end in time; the exit status. May be called twice."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"not ended {STOP_DEADLINE} s after SIGTERM; {self.stderr()}") from None

    def _environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return inherited | {f"TLSPROXY_{name}": value for name, value in self.settings.items()}

    def _listens(self) -> bool:
        status = self.process.poll()
        assert status is None, f"ended with status {status} before it listened: {self.stderr()}"
        redirect_port = self.settings.get("REDIRECT_PORT")
        try:
            for port in (self.port, *([int(redirect_port)] if redirect_port else [])):
                socket.create_connection((self.host, port), timeout=1.0).close()
        except OSError:
            return False
        return True

    def _status(self, name: str) -> int:
        text = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name}:"))
