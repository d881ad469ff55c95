"""What surrounds the play of every demo: signals, errors, the exit status, a sidecar's last words, and staying up."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import NoReturn

from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.terminal import Terminal
from tlsproxy.demo.sidecar_process import STOPPING, SidecarProcess, StartError

LAST_WORDS = 20  # lines
LOOK_PERIOD = 0.2  # seconds


class DemoError(Exception):
    """Something was not as the demo promises; the message is for whoever watches."""


def perform(play: Callable[[Terminal, ExitStack], None]) -> Exit:
    """Play a demo, so that it leaves nothing behind however it ends.

    Args:
        play: everything that it begins it gives to the stack.

    Returns:
        FAILED when something was not as promised, which has been said.
    """
    for number in STOPPING:
        signal.signal(number, _interrupt)
    terminal = Terminal(sys.stdout, os.environ)
    try:
        with ExitStack() as stack:
            try:
                play(terminal, stack)
            finally:
                _ignore_signals()
    except KeyboardInterrupt:
        terminal.title("Stopped; nothing is left behind.")
    except BrokenPipeError:
        raise
    except (OSError, StartError, DemoError) as error:
        terminal.cross(f"the demo can't go on: {error}")
        return Exit.FAILED
    return Exit.STOPPED


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    """One that came from here on would end the demo in the midst of cleaning up."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def last_words(terminal: Terminal, sidecar: SidecarProcess) -> Iterator[None]:
    """Where something in the block is not as promised, what the sidecar said last is shown."""
    try:
        yield
    except (StartError, DemoError):
        terminal.title("What the sidecar said")
        terminal.code("\n".join(sidecar.diagnostics()[-LAST_WORDS:]) or "nothing")
        raise


def stay(terminal: Terminal, sidecar: SidecarProcess) -> None:
    """On a terminal stay up until a signal, and show what the sidecar says; elsewhere the demo ends.

    Raises:
        DemoError: the sidecar has ended.
    """
    if not (os.isatty(0) and os.isatty(1)):
        terminal.note("Without a terminal the demo stops here.")
        return
    terminal.title("It stays up until Ctrl-C. What the sidecar says:")
    sidecar.diagnostics()
    while sidecar.status is None:
        for line in sidecar.diagnostics():
            terminal.note(line)
        time.sleep(LOOK_PERIOD)
    raise DemoError(f"the sidecar ended with status {sidecar.status}")
