"""An app that is a process of its own is killed, started again and stopped under a load of checked requests."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port
from tests.reliability.checked_app import DAMAGED, written_down
from tests.reliability.checked_load import Load, Outcome, sent_twice
from tests.reliability.children import RECORD, checked_app
from tests.reliability.stand import standing

pytestmark = pytest.mark.soak

CLIENTS = 4
PACE = 0.002
KILLS = 3


@contextmanager
def loaded(port: int, directory: Path) -> Iterator[Callable[[str], int]]:
    """Checked requests to an app on that port while the block lasts; its end asserts that none went wrong.

    Gives what counts those that have come to something: `right`, the status of an error, or `cut`.
    """
    over: list[bool] = []
    with standing(port, RESPONSE_TIMEOUT="500ms", ACCESS_LOG="errors") as sidecar, ThreadPoolExecutor(1) as thread:
        load = Load(sidecar.port, sidecar.trust, 3, lambda _: not over, PACE)
        done = thread.submit(asyncio.run, load.run(CLIENTS))
        try:
            yield lambda word: load.outcome.counts[word]
        finally:
            over.append(True)
            done.result(20)
    check(load.outcome, written_down(directory / RECORD))


def check(outcome: Outcome, record: list[int]) -> None:
    assert outcome.wrong == []
    assert sent_twice(record, outcome) == []
    assert DAMAGED not in record


def test_killed_and_started_again(tmp_path: Path) -> None:
    """A kill costs the requests under way no more than a plain error, and those behind it wait for the next app."""
    port = free_port()
    with ExitStack() as apps, loaded(port, tmp_path) as counted:
        pid = apps.enter_context(checked_app(port, tmp_path))
        for _ in range(KILLS):
            more(counted)
            os.kill(pid, signal.SIGKILL)
            pid = apps.enter_context(checked_app(port, tmp_path))
        more(counted)
        assert counted("503") == 0


def more(counted: Callable[[str], int]) -> None:
    before = counted("right")
    wait_until(lambda: counted("right") > before + 50, "more answers")


def test_stopped(tmp_path: Path) -> None:
    """An app that is stopped (SIGSTOP) costs what is under way a 504 or a cut, and is used again when it goes on."""
    port = free_port()
    with checked_app(port, tmp_path) as pid, loaded(port, tmp_path) as counted:
        more(counted)
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: counted("504") >= CLIENTS, "the deadline of all")
        finally:
            os.kill(pid, signal.SIGCONT)
        began = time.monotonic()
        more(counted)
        assert time.monotonic() - began < 2
