"""Makes workers by fork, in a process that has no event loop, no thread and no client.

The supervisor has an event loop and the threads of a watch, and so can't be forked from without harm. The nursery is
forked from it before there are any, sleeps until it gets an order, and is what every worker begins as: what has been
imported and made until then is shared by all of them, the contexts included, and with these the keys of their
tickets. Workers are its children; what became of each is reported to the supervisor.

When the supervisor goes, however it does, the nursery and all workers go too.
"""

import gc
import logging
import os
import pickle
import select
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn, Protocol

from tlsproxy.chassis.exits import Exit

_logger = logging.getLogger("tlsproxy.workers")

_LONGEST = 64 * 1024
"""Bytes of an order or report."""
_MOST_SOCKETS = 250
"""Of one worker; the kernel passes on 253 at once."""
_PATIENCE = 5.0
"""Seconds to wait for the nursery to take an order; it has nothing else to do."""
_LEFT_TO_THE_SUPERVISOR = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""A terminal and service managers send them to every process of a group."""


class NurseryLostError(Exception):
    """The nursery has gone or takes no orders."""


class Child(Protocol):
    """What a worker does; made once, before the first fork."""

    def supply(self, data: bytes) -> None:
        """Take in what all workers that are forked from here on begin with."""

    def live(self, task: object, sockets: Sequence[socket.socket]) -> int:
        """A worker's whole life, in a process of its own; returns its exit status."""


@dataclass(frozen=True, slots=True)
class Supply:
    """Order: what lies in the file that comes along is what workers begin with."""

    length: int


@dataclass(frozen=True, slots=True)
class Bear:
    """Order: fork a worker; its sockets come along."""

    number: int
    """Nobody else's, now or later."""
    task: object


@dataclass(frozen=True, slots=True)
class Signal:
    """Order: send a worker a signal, if there still is one."""

    number: int
    signal: signal.Signals


@dataclass(frozen=True, slots=True)
class Born:
    """Report: a worker has begun."""

    number: int
    pid: int


@dataclass(frozen=True, slots=True)
class Died:
    """Report: a worker has ended."""

    number: int
    status: int
    """Its exit status; where a signal has killed it, that one's number, negative."""


class Nursery:
    """The supervisor's end.

    Forks at once: to be made before there is a thread or an event loop.
    """

    def __init__(self, child: Child) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        _share_memory()
        self.pid = os.fork()
        """Of the nursery."""
        if self.pid == 0:
            self._socket.close()
            _be_nursery(theirs, child)
        theirs.close()
        self._socket.settimeout(_PATIENCE)

    def fileno(self) -> int:
        """Readable when there are reports, or the nursery has gone."""
        return self._socket.fileno()

    def supply(self, data: bytes) -> None:
        """Have workers that are born from here on begin with this.

        Raises:
            NurseryLostError: there is no nursery; as for the others.
        """
        # An order is bounded, and what it brings may be long. Not a file: keys are in it.
        file = os.memfd_create("supply")
        try:
            with os.fdopen(os.dup(file), "wb") as stream:
                stream.write(data)
            self._order(Supply(len(data)), [file])
        finally:
            os.close(file)

    def bear(self, number: int, task: object, sockets: Sequence[socket.socket]) -> None:
        """Have a worker begin, with copies of these sockets."""
        assert len(sockets) <= _MOST_SOCKETS
        self._order(Bear(number, task), [one.fileno() for one in sockets])

    def signal(self, number: int, what: signal.Signals) -> None:
        """Send a worker a signal; without effect where it has ended."""
        self._order(Signal(number, what))

    def report(self) -> Born | Died:
        """The next report.

        Raises:
            NurseryLostError: it has gone.
        """
        try:
            data = self._socket.recv(_LONGEST)
        except OSError as error:
            raise NurseryLostError from error
        if not data:
            raise NurseryLostError
        report: Born | Died = pickle.loads(data)  # noqa: S301 - our own fork has written it, and nobody else could
        return report

    def close(self) -> None:
        """End the nursery and every worker that is left; may be called twice."""
        self._socket.close()
        # Where SIGCHLD is ignored there is nobody to wait for.
        with suppress(ChildProcessError, ProcessLookupError):
            # One that somebody has stopped would not end before it goes on.
            os.kill(self.pid, signal.SIGCONT)
            os.waitpid(self.pid, 0)

    def _order(self, order: object, descriptors: Sequence[int] = ()) -> None:
        try:
            socket.send_fds(self._socket, [pickle.dumps(order)], descriptors)
        except OSError as error:
            raise NurseryLostError(str(error)) from error


def _share_memory() -> None:
    """Keep collections from writing to all that there is: pages that are not written to are shared by every fork."""
    gc.collect()
    gc.freeze()


# --- In the nursery ----------------------------------------------------------------------------------------


def _be_nursery(orders: socket.socket, child: Child) -> NoReturn:
    """Carry out orders until there is no supervisor any more; never returns into what the fork was made from."""
    try:
        for number in _LEFT_TO_THE_SUPERVISOR:
            signal.signal(number, signal.SIG_IGN)
        _Wards(orders, child).serve()
    except BaseException:
        _logger.exception("the nursery failed")
    finally:
        logging.shutdown()
        os._exit(Exit.FAILED)


class _Wards:
    """The workers, as their parent sees them."""

    def __init__(self, orders: socket.socket, child: Child) -> None:
        self._orders = orders
        self._child = child
        self._numbers: dict[int, int] = {}
        """By pid."""
        self._died, self._wakes = os.pipe()
        os.set_blocking(self._died, False)
        os.set_blocking(self._wakes, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakes, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Until the supervisor has gone."""
        poll = select.poll()
        poll.register(self._orders, select.POLLIN)
        poll.register(self._died, select.POLLIN)
        try:
            while True:
                for descriptor, _ in poll.poll():
                    if descriptor == self._died:
                        self._bury()
                    elif not self._obey():
                        return
        finally:
            for pid in self._numbers:
                os.kill(pid, signal.SIGKILL)

    def _obey(self) -> bool:
        """Carry out the next order; False: there will be none."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._orders, _LONGEST, _MOST_SOCKETS)
        except ConnectionResetError:
            # It has gone with reports unread.
            return False
        if not data:
            return False
        order = pickle.loads(data)  # noqa: S301 - the supervisor has written it, and nobody else could
        match order:
            case Supply(length):
                self._take_in(descriptors[0], length)
            case Bear(number, task):
                self._bear(number, task, [socket.socket(fileno=one) for one in descriptors])
            case Signal(number, what):
                for pid in [pid for pid, known in self._numbers.items() if known == number]:
                    os.kill(pid, what)
        return True

    def _take_in(self, file: int, length: int) -> None:
        with os.fdopen(file, "rb") as stream:
            data = os.pread(stream.fileno(), length, 0)
        self._child.supply(data)
        _share_memory()

    def _bear(self, number: int, task: object, sockets: Sequence[socket.socket]) -> None:
        pid = os.fork()
        if pid == 0:
            _be_worker(self._forget, self._child, task, sockets)
        for one in sockets:
            one.close()
        self._numbers[pid] = number
        self._report(Born(number, pid))

    def _forget(self) -> None:
        """Let go, in a worker, of what is the nursery's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._orders.close()
        os.close(self._died)
        os.close(self._wakes)

    def _bury(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._died, _LONGEST)
        for pid, status in _ended():
            self._report(Died(self._numbers.pop(pid), os.waitstatus_to_exitcode(status)))

    def _report(self, report: Born | Died) -> None:
        # Where the supervisor has gone, the next look at the orders tells of it.
        with suppress(OSError):
            self._orders.send(pickle.dumps(report))


def _be_worker(forget: Callable[[], None], child: Child, task: object, sockets: Sequence[socket.socket]) -> NoReturn:
    status: int = Exit.FAILED
    try:
        forget()
        status = child.live(task, sockets)
    except BaseException:
        _logger.exception("a worker failed")
    finally:
        logging.shutdown()
        os._exit(status)


def _ended() -> Iterator[tuple[int, int]]:
    """Children that have ended and nobody has asked after yet."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, status
