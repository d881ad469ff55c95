"""The signals of the contract, as events that the rest of a program waits for."""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable

_logger = logging.getLogger("tlsproxy")


class Signals:
    """What has been asked of the process.

    SIGTERM and SIGINT ask it to stop, a second one to stop at once; SIGHUP calls back; SIGUSR1 dumps stacks.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, hang_up: Callable[[], None]) -> None:
        self.stop = asyncio.Event()
        self.stop_at_once = asyncio.Event()
        self.interrupted = False
        """Whether it was SIGINT, by a person who waits, that asked first."""
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop, number)
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        loop.add_signal_handler(signal.SIGUSR1, dump_stacks)

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if self.stop.is_set():
            _logger.warning("%s again: stopping at once", number.name)
            self.stop_at_once.set()
            return
        _logger.info("%s: draining", number.name)
        self.interrupted = number is signal.SIGINT
        self.stop.set()


def dump_stacks() -> None:
    """Write the stack of each task to standard error, for whoever looks into a process that seems stuck."""
    tasks = sorted(asyncio.all_tasks(), key=lambda task: task.get_name())
    print(f"{len(tasks)} tasks", file=sys.stderr)  # noqa: T201 - the dump is for a person, in no log format
    for task in tasks:
        task.print_stack(file=sys.stderr)
    sys.stderr.flush()
