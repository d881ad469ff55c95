"""Waiting for something to become true, with a deadline: what tests use in place of sleeping."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Value = TypeVar("Value")

PAUSE = 0.005
LONGEST_PAUSE = 0.05
"""Who has waited for long looks less often: many a condition is a connection or a scrape."""


def wait_until(condition: Callable[[], Value | None], what: str, within: float = 5.0) -> Value:
    """The first true value of `condition`; AssertionError that names `what` after `within` seconds."""
    began = time.monotonic()
    while not (value := condition()):
        waited = time.monotonic() - began
        if waited > within:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(min(max(PAUSE, waited / 10), LONGEST_PAUSE))
    return value


def wait_until_still(count: Callable[[], int], what: str, for_: float = 0.3, within: float = 10.0) -> int:
    """The value of `count` once it has stood still for `for_` seconds."""
    deadline = time.monotonic() + within
    value, since = count(), time.monotonic()
    while time.monotonic() - since < for_:
        if time.monotonic() > deadline:
            raise AssertionError(f"still moving after {within} s: {what}")
        time.sleep(PAUSE)
        if (latest := count()) != value:
            value, since = latest, time.monotonic()
    return value


def wait_until_gone(pid: int) -> None:
    """Wait until a process has ended, whether or not somebody has asked after it yet."""
    wait_until(lambda: not _is_running(pid), f"process {pid} is gone")


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
