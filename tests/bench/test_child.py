"""Children of the bench end with it."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.child import StartError, await_port, free_port, running

CORES = tuple(os.sched_getaffinity(0))
STUBBORN_PARENT = """
import signal, subprocess, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
print(subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]).pid, flush=True)
signal.pause()
"""


def is_running(pid: int) -> bool:
    """Whether the process exists and has not merely been left unreaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def await_that(condition: Callable[[], bool]) -> None:
    """Polls until the condition holds, at most ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_interrupt_ends_a_stubborn_child_and_its_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever ignores SIGINT is killed with all its group when the block is left by Ctrl-C."""
    monkeypatch.setattr("bench.child.STOP_DEADLINE", 0.2)
    output = tmp_path / "output.log"
    block = running([sys.executable, "-c", STUBBORN_PARENT], cores=CORES, output=output)
    child = block.__enter__()
    await_that(lambda: output.read_text().endswith("\n"))
    grandchild = int(output.read_text())
    assert not block.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert child.process.returncode is not None
    await_that(lambda: not is_running(grandchild))


def test_a_child_that_ends_at_once_is_quoted(tmp_path: Path) -> None:
    """Waiting for the port of a child that gave up says what it said."""
    with (
        running(
            [sys.executable, "-c", "import sys; sys.exit('no certificate')"],
            cores=CORES,
            output=tmp_path / "o",
        ) as child,
        pytest.raises(StartError, match="status 1\nno certificate"),
    ):
        await_port(child, free_port())


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    """A command that does not exist is an error with its name."""
    with (
        pytest.raises(StartError, match="/no/such/program: No such file"),
        running(["/no/such/program"], cores=CORES, output=tmp_path / "o"),
    ):
        pass
