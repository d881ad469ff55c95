"""The nursery: forks in a process of its own, watched, and gone when nobody needs it."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.e2e.polling import wait_until_gone
from tlsproxy.workers.nursery import Born, Died, Nursery, NurseryLostError

# The tests' own process may have threads; the supervisor has none when it forks.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

PROJECT = Path(__file__).parents[2]


class Echo:
    """Says on its socket what it was born with, then does as it is told there: `raise`, `status N`."""

    def __init__(self) -> None:
        self._supplied = b"nothing"

    def supply(self, data: bytes) -> None:
        self._supplied = data

    def live(self, task: object, sockets: Sequence[socket.socket]) -> int:
        connection, *more = sockets
        connection.sendall(f"{task} {len(more)} {len(self._supplied)} {os.getppid()}".encode())
        order = connection.recv(100).decode()
        if order == "raise":
            raise LookupError("as it was told")
        return int(order or "0")


def reports(nursery: Nursery) -> Born | Died:
    assert select.select([nursery], [], [], 5)[0], "a report within 5 s"
    return nursery.report()


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    nursery = Nursery(Echo())
    yield nursery
    nursery.close()


def bear(nursery: Nursery, number: int, more: Sequence[socket.socket] = ()) -> tuple[socket.socket, int]:
    """A worker's socket and its pid."""
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    nursery.bear(number, f"task-{number}", [theirs, *more])
    theirs.close()
    born = reports(nursery)
    assert isinstance(born, Born)
    assert born.number == number
    return ours, born.pid


def test_a_worker_is_born_with_what_was_supplied(nursery: Nursery) -> None:
    """The latest supply, its task, and its sockets; what comes after its birth is for the next."""
    nursery.supply(b"x" * 1_000_000)
    with socket.socket() as one, socket.socket() as other:
        first, _ = bear(nursery, 1, [one, other])
    nursery.supply(b"y")
    second, _ = bear(nursery, 2)
    with first, second:
        assert first.recv(100) == f"task-1 2 1000000 {nursery.pid}".encode()
        assert second.recv(100) == f"task-2 0 1 {nursery.pid}".encode()


@pytest.mark.parametrize(("order", "status"), [("0", 0), ("3", 3), ("raise", 1)])
def test_an_end_is_reported(nursery: Nursery, order: str, status: int) -> None:
    """With the worker's status; one that fails ends with 1."""
    ours, _ = bear(nursery, 1)
    with ours:
        ours.sendall(order.encode())
        assert reports(nursery) == Died(1, status)


def test_signals_are_passed(nursery: Nursery) -> None:
    """To the worker that is meant; for one that has ended there is no effect, whoever has its pid by then."""
    (first, _), (second, _) = bear(nursery, 1), bear(nursery, 2)
    with first, second:
        nursery.signal(1, signal.SIGKILL)
        assert reports(nursery) == Died(1, -signal.SIGKILL)
        nursery.signal(1, signal.SIGKILL)
        second.recv(100)
        second.sendall(b"7")
        assert reports(nursery) == Died(2, 7)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_what_a_group_is_sent_ends_neither(nursery: Nursery, number: signal.Signals) -> None:
    """The supervisor decides: Ctrl-C and service managers signal every process of a group."""
    ours, pid = bear(nursery, 1)
    with ours:
        ours.recv(100)
        os.kill(nursery.pid, number)
        os.kill(pid, number)
        ours.sendall(b"5")
        assert reports(nursery) == Died(1, 5)


def test_closing_ends_all() -> None:
    """No worker outlives the nursery, and the nursery is reaped; it may be closed twice."""
    nursery = Nursery(Echo())
    ours, pid = bear(nursery, 1)
    with ours:
        nursery.close()
        nursery.close()
        wait_until_gone(pid)
    assert not Path(f"/proc/{nursery.pid}").exists()


def test_a_nursery_that_was_stopped_is_closed() -> None:
    """It is let go on, since it would not end before; nobody who closes it waits for ever."""
    nursery = Nursery(Echo())
    os.kill(nursery.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, nursery.pid, os.WSTOPPED)
    closing = threading.Thread(target=nursery.close)
    closing.start()
    closing.join(5)
    in_time = not closing.is_alive()
    if not in_time:
        os.kill(nursery.pid, signal.SIGKILL)
    closing.join()
    assert in_time


def test_a_nursery_that_is_gone_is_noticed() -> None:
    """By whoever hears it or speaks to it."""
    nursery = Nursery(Echo())
    os.kill(nursery.pid, signal.SIGKILL)
    with pytest.raises(NurseryLostError):
        reports(nursery)
    with pytest.raises(NurseryLostError):
        nursery.supply(b"")
    nursery.close()


def test_nobody_outlives_a_supervisor_that_is_killed() -> None:
    """Where it can say nothing any more, nursery and workers end all the same, stuck ones too."""
    code = (
        "import os, signal, socket, time\n"
        "from tlsproxy.workers.nursery import Nursery\n"
        "class Stuck:\n"
        "    def supply(self, data): pass\n"
        "    def live(self, task, sockets):\n"
        "        while True: time.sleep(100)\n"
        "nursery = Nursery(Stuck())\n"
        "nursery.bear(1, None, [])\n"
        "print(nursery.pid, nursery.report().pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == -signal.SIGKILL
    for pid in map(int, done.stdout.split()):
        wait_until_gone(pid)
