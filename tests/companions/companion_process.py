"""A companion as its users run it: a process with an environment, an admin port, signals, output and an exit status."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.messages import Response
from tests.e2e.metrics import Metrics
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port
from tests.e2e.raw_client import RawClient
from tests.e2e.sidecar_process import PASSED_ON, PROJECT, START_DEADLINE, STOP_DEADLINE, Line, Process, Start

WITHIN = 20.0  # seconds, for a verb


def module(program: str) -> str:
    return f"tlsproxy.companions.{program}"


def executing(program: str) -> Start:
    """Starts it from nothing."""

    def start(environment: Mapping[str, str], output: int, errors: int) -> Process:
        return subprocess.Popen(
            [sys.executable, "-m", module(program)],
            env=environment, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
        )  # fmt: skip

    return start


def environment(program: str, settings: Mapping[str, object]) -> dict[str, str]:
    """The variables of a process with these settings, which have no prefix, and no others."""
    inherited = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return inherited | {f"{program.upper()}_{name}": str(value) for name, value in settings.items()}


def run(program: str, *arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """A verb, run to its end; it must not end with a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", module(program), *arguments],
        env=environment(program, settings), cwd=PROJECT, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=WITHIN, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done


class Companion:
    """A running companion; as a context manager it is stopped at the end, and must not have shown a traceback.

    Args:
        program: its name, which is its variables' prefix, too.
        directory: for what it writes to its standard streams.
        settings: its variables without their prefix; the admin port is a free one.
        start: makes the process, which then either answers at its admin port or has ended.
    """

    def __init__(self, program: str, directory: Path, settings: Mapping[str, object], start: Start) -> None:
        self.admin_port = free_port()
        self.settings = {"ADMIN_HOST": "127.0.0.1", "ADMIN_PORT": self.admin_port, **settings}
        self._out, self._err = directory / "stdout", directory / "stderr"
        with self._out.open("wb") as out, self._err.open("ab") as err:
            self.process = start(environment(program, self.settings), out.fileno(), err.fileno())
        try:
            wait_until(lambda: self.process.poll() is not None or self._answers(), "it answers", START_DEADLINE)
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

    # ------------------------------------------------------------------ the admin port

    def ask_admin(self, path: str) -> Response:
        """One request to the admin port, over a connection of its own."""
        with RawClient(self.admin_port) as client:
            return client.ask(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def is_ready(self) -> bool:
        """Whether /readyz says so; AssertionError when the process has ended."""
        status = self.process.poll()
        assert status is None, f"ended with status {status}: {self.stderr()}"
        return self.ask_admin("/readyz").status == 200

    def _answers(self) -> bool:
        try:
            return self.ask_admin("/livez").status == 200
        except OSError:
            return False

    def wait_until_ready(self) -> Self:
        wait_until(self.is_ready, f"it is ready: {self.stderr()}", START_DEADLINE)
        return self

    def readiness(self) -> str:
        """What /readyz tells, be it yes or no."""
        return self.ask_admin("/readyz").body.decode()

    def metrics(self) -> Metrics:
        """A scrape."""
        return Metrics(self.ask_admin("/metrics").body.decode())

    def status(self) -> Line:
        """What /status tells."""
        status: Line = json.loads(self.ask_admin("/status").body)
        return status

    # ------------------------------------------------------------------ what it writes

    def stderr(self) -> str:
        return self._err.read_text()

    def told(self, text: str) -> list[Line]:
        """The lines of its log whose message holds the text."""
        lines = [json.loads(line) for line in self.stderr().splitlines() if line.startswith("{")]
        return [line for line in lines if text in line["message"]]

    def wait_for_log(self, text: str, times: int = 1) -> None:
        """Wait until so many lines of the log hold the text."""
        wait_until(lambda: len(self.told(text)) >= times, f"{times} times {text!r} in {self.stderr()}")

    # ------------------------------------------------------------------ its life

    def resident(self) -> int:
        """Bytes of resident memory."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:")) * 1024

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
