"""A short-lived process that reads the settings, so that the one that serves never loads pydantic.

pydantic takes 30 MB, for a few milliseconds of use at the start. A fork reads and checks the environment and hands
plain values over, while the process that is going to serve loads the rest. Which variables there are is the sidecar's
to say.
"""

import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar, cast

from tlsproxy.chassis.exits import Exit

if TYPE_CHECKING:
    from tlsproxy.chassis.environment import Environment

S = TypeVar("S", bound="Environment")


@dataclass(frozen=True, slots=True)
class PlainReading(Generic[S]):
    """Settings that can be used."""

    settings: S
    """Attributes with the values of its class and nothing else of it: really a `SimpleNamespace`."""
    shown: Mapping[str, str]
    """Every variable and its value as one would write it, secrets masked."""
    warnings: tuple[str, ...]
    """One line each."""
    beside: object = None
    """What came of the work that was to be done beside."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there are no settings."""

    status: Exit
    """What to end with."""
    message: str
    """For the operator, of one or more lines."""
    warnings: tuple[str, ...] = ()
    """One line each: a misspelled name may be the cause."""


Outcome = PlainReading[S] | Refusal

DIED = Refusal(
    Exit.FAILED,
    "the settings could not be read: the process that reads them died. "
    "Why is said above; where nothing is, it was killed, most likely for want of memory",
)


@contextmanager
def settings_process(
    declared: Callable[[], type[S]], beside: Callable[[S], object] = lambda _: None
) -> Iterator[Callable[[], Outcome[S]]]:
    """Read the settings in a fork while the body does something else; what it is given waits for the outcome, once.

    For a process that has no threads and no event loop yet. Whichever way the body ends, the child has ended then and
    is reaped.

    Args:
        declared: called in the fork: imports the class of the sidecar's variables, which loads pydantic.
        beside: called in the fork with the settings, for what else takes more than the process that serves should load.
    """
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        # Open here too, the pipe would never tell the child that nobody reads any more.
        os.close(receiving)
        _send_outcome(sending, declared, beside)
    os.close(sending)
    try:
        with os.fdopen(receiving, "rb") as pipe:
            yield lambda: _outcome(pipe.read())
    finally:
        # There is no child to wait for where whoever started us has SIGCHLD ignored.
        with suppress(ChildProcessError):
            os.waitpid(child, 0)


def _outcome(sent: bytes) -> Outcome[S]:
    try:
        # Not JSON, which has no paths, networks and tuples. The bytes are our own fork's, and nobody else can have
        # written to the pipe, which has no name.
        outcome: Outcome[S] = pickle.loads(sent)  # noqa: S301  -- see above
    except (EOFError, pickle.UnpicklingError):
        return DIED
    return outcome


# --- In the child ------------------------------------------------------------------------------------------


def _send_outcome(sending: int, declared: Callable[[], type[S]], beside: Callable[[S], object]) -> NoReturn:
    """Read and send; then end without what a process does at its end: it is the parent's to do."""
    try:
        # A terminal interrupts both, and what is to be done about it is the parent's to say.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        outcome = pickle.dumps(_read(declared, beside))
        with suppress(BrokenPipeError), os.fdopen(sending, "wb") as pipe:
            pipe.write(outcome)
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(0)


def _read(declared: Callable[[], type[S]], beside: Callable[[S], object]) -> Outcome[S]:
    # Imported here and nowhere else on the way to serving: what it takes goes with the child.
    from tlsproxy.chassis.environment import BadSettings, read, shown  # noqa: PLC0415  -- see above

    try:
        reading = read(declared())
    except BadSettings as error:
        return Refusal(Exit.SETTINGS, str(error), error.warnings)
    plain = cast("S", SimpleNamespace(**dict(reading.settings)))
    return PlainReading(plain, shown(reading.settings), reading.warnings, beside(plain))
