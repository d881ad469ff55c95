"""The signals of the contract, as events that the rest of a program waits for."""

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from io import StringIO

from tlsproxy.chassis import diagnostics

_logger = logging.getLogger("tlsproxy")

HEEDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""All signals of the contract."""


class Signals:
    """What has been asked of the process.

    SIGTERM and SIGINT ask it to stop, a second one to stop at once; SIGUSR1 dumps stacks.

    Args:
        loop: the running one.
        others: what is called at other signals, or at SIGUSR1 in place of `dump_stacks`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, others: Mapping[signal.Signals, Callable[[], None]]) -> None:
        self.stop = asyncio.Event()
        self.stop_at_once = asyncio.Event()
        self.interrupted = False
        """Whether it was SIGINT, by a person who waits, that asked first."""
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop, number)
        for number, call in {signal.SIGUSR1: dump_stacks, **others}.items():
            loop.add_signal_handler(number, call)

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
    text = StringIO()
    text.write(f"{len(tasks)} tasks\n")
    for task in tasks:
        task.print_stack(file=text)
    diagnostics.write(text.getvalue())
