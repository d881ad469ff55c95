"""Turns among real processes."""

import os
import signal

import pytest

from tlsproxy.chassis.turns import Turns

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def taken_elsewhere(turns: Turns) -> bool:
    """Whether another process, forked from this one, can take the turn."""
    child = os.fork()
    if child == 0:
        os._exit(turns.take())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_one_at_a_time() -> None:
    """Nobody has it while another does, and it may be taken and ended again."""
    turns = Turns()
    assert turns.take()
    assert turns.take()
    assert not taken_elsewhere(turns)
    turns.end()
    turns.end()
    assert taken_elsewhere(turns)
    assert turns.take()


def test_who_is_killed_ends_its_turn() -> None:
    """Nobody waits for the dead."""
    turns = Turns()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, bytes([turns.take()]))
        signal.pause()
    assert os.read(reading, 1) == b"\x01"
    assert not turns.take()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert turns.take()
    os.close(reading)
    os.close(writing)
