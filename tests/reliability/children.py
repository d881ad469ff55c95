"""The programs of a run, each a child process that ends with its block."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.machine import cores, pinned
from tests.e2e.polling import wait_until
from tests.e2e.programs import running
from tests.e2e.sidecar_process import PROJECT
from tests.reliability.attacks import BEGUN

RECORD = "record"
BEGUN_WITHIN = 120.0
"""Seconds until all connections of an attack are there: ten thousand handshakes take a while."""


@contextmanager
def checked_app(port: int, directory: Path) -> Iterator[int]:
    """The pid of a checked app on that port, which appends to RECORD there; may be started again in the same place."""
    command = [sys.executable, "-m", "tests.reliability.checked_app", str(port), str(directory / RECORD)]
    with pinned(cores().load), running(command, port, directory, PROJECT) as pid:
        yield pid


@contextmanager
def attacking(name: str, port: int, scale: int, output: Path) -> Iterator[None]:
    """One of `attacks`, begun, for the length of the block, which it must outlive; what it says goes to a file."""
    command = [sys.executable, "-m", "tests.reliability.attacks", name, str(port), str(scale)]
    with output.open("wb") as file, pinned(cores().load):
        process = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        wait_until(lambda: process.poll() is not None or BEGUN in output.read_text(), f"{name} has begun", BEGUN_WITHIN)
        yield
        assert process.poll() is None, f"{name} has ended: {output.read_text()}"
    finally:
        process.kill()
        process.wait()
