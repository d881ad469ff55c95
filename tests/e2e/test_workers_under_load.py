"""Workers that are killed and replaced while a load generator asks as fast as it can."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.programs import nginx, program
from tests.e2e.sidecar_process import Sidecar
from tests.e2e.test_workers import pids

pytestmark = [pytest.mark.soak, pytest.mark.timeout(120)]

CONNECTIONS = 20
KILLS = 6
ROUNDS = 8
"""Of two workers each."""


@dataclass(frozen=True)
class Figures:
    """What came of a load."""

    requests: int
    refused: int
    """Connections that could not be made."""
    lost: int
    """Connections that ended without an answer, at most one request on each."""
    late: int
    other: int
    """Answers that are not the app's."""


class Load:
    """wrk against a sidecar, until it is stopped."""

    def __init__(self, process: Sidecar) -> None:
        command = [program("wrk", "wrk"), f"-c{CONNECTIONS}", "-t1", "-d100s", "--timeout=8s"]
        self._before = requests(process)
        self._wrk = subprocess.Popen(
            [*command, f"https://localhost:{process.port}/"], stdout=subprocess.PIPE, text=True
        )
        wait_until(lambda: requests(process) > self._before + 100, "load", 10)

    def stop(self) -> Figures:
        """End it; what came of it."""
        self._wrk.send_signal(signal.SIGINT)
        text, _ = self._wrk.communicate(timeout=20)
        done = re.search(r"(\d+) requests in", text)
        assert done is not None, text
        errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
        refused, read, write, late = map(int, errors.groups()) if errors else (0, 0, 0, 0)
        other = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        return Figures(int(done[1]), refused, read + write, late, int(other[1]) if other else 0)


def requests(process: Sidecar) -> float:
    return process.metrics().value("tlsproxy_requests_total")


@pytest.fixture
def process(launch: Launch, tmp_path: Path) -> Iterator[Sidecar]:
    """Two workers before nginx."""
    with nginx("location / { return 200 'plain'; }", tmp_path) as port, launch(APP_PORT=port, WORKERS=2) as process:
        wait_until(lambda: len(pids(process)) == 2, "two workers")
        yield process


@pytest.fixture
def loaded(process: Sidecar) -> Iterator[Load]:
    """A load on it, which a test stops."""
    load = Load(process)
    yield load
    if load._wrk.poll() is None:
        load.stop()


def test_kills(process: Sidecar, loaded: Load) -> None:
    """Each kill costs no more than the requests under way on that worker, and a successor serves within a second."""
    for _ in range(KILLS):
        victim = pids(process)[0]
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(found := pids(process)) == 2 and victim not in found, "a successor", 5)  # noqa: B023
        assert time.monotonic() - began < 1
        before = requests(process)
        wait_until(lambda: requests(process) > before + 100, "requests")  # noqa: B023  -- called in this round only
    figures = loaded.stop()
    assert (figures.refused, figures.late, figures.other) == (0, 0, 0), figures
    assert figures.lost <= KILLS * CONNECTIONS, figures


def test_replacements(process: Sidecar, loaded: Load) -> None:
    """However often the workers are replaced, no request is lost."""
    for number in range(ROUNDS):
        process.signal(signal.SIGUSR2)
        wait_until(lambda: len(process.told("have been replaced")) > number, "other workers", 20)  # noqa: B023
    figures = loaded.stop()
    assert (figures.refused, figures.lost, figures.late, figures.other) == (0, 0, 0, 0), figures
