"""What the verbs do that every sidecar has, and what surrounds a verb: standard streams, exit status, refused settings.

Each verb imports what it needs, so that help is instant.
"""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NoReturn, Protocol, TextIO, TypeVar, cast

from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.verbs import Words, parser

if TYPE_CHECKING:
    from tlsproxy.chassis.diagnostics import LogFormat
    from tlsproxy.chassis.environment import Environment, Reading
    from tlsproxy.chassis.settings_process import Outcome, PlainReading

S = TypeVar("S", bound="Environment")

Verb = Callable[[argparse.Namespace], int]
"""What a verb does; returns the exit status."""


class Everywhere(Protocol):
    """The variables that every sidecar has, whatever it does."""

    admin_host: str
    admin_port: int
    log_format: "LogFormat"
    log_level: str


@dataclass(frozen=True, slots=True)
class Program(Generic[S]):
    """One sidecar, as its command line knows it; everything is imported when it is called."""

    words: Words
    declared: Callable[[], type[S]]
    """Imports the class of its variables, which loads pydantic; the class has those of `Everywhere`."""
    serve: "Callable[[], Callable[[PlainReading[S]], int]]"
    """Imports what serves, while the settings are read elsewhere; returns what serves, given them."""
    check: "Callable[[], Callable[[PlainReading[S], argparse.Namespace], int]]"
    """The same for what looks whether it could serve."""
    demo: Verb
    verbs: Mapping[str, Verb] = field(default_factory=dict)
    """Its own."""
    beside: Callable[[S], object] = lambda _: None
    """For `run`, done in the process that reads the settings: what else takes more than one that serves should load."""


def main(program: Program[S], arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit status."""
    _open_standard_streams()
    options = parser(program.words).parse_args(arguments)
    try:
        status = verbs(program)[options.verb](options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return Exit.STOPPED
    except OSError as error:
        if error.errno not in {errno.EPIPE, errno.ENOSPC}:
            raise
        _give_up(sys.stdout)
        if error.errno == errno.EPIPE:
            # Whoever read our output has seen enough (`tlsproxy config | head`).
            return Exit.STOPPED
        name = f"{program.words.program} {options.verb}"
        print(f"{name}: the output is not complete: {error.strerror}", file=sys.stderr)
        return Exit.FAILED
    return status


def verbs(program: Program[S]) -> Mapping[str, Verb]:
    """What is done at each verb that the program has."""
    return {
        "run": lambda _: _run(program),
        "check": lambda options: _check(program, options),
        "health": lambda _: _health(program),
        "config": lambda options: _config(program, options),
        "demo": program.demo,
        **program.verbs,
    }


def _open_standard_streams() -> None:
    """Open those of 0, 1 and 2 that a parent has closed: a socket in their place would be written to, or end libuv."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r", closefd=False))


def _give_up(stream: TextIO) -> None:
    """Let nothing more be written to what takes nothing: the interpreter would flush once more, and end with 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


# --- The verbs that every sidecar has -----------------------------------------------------------------------


def _run(program: Program[S]) -> int:
    import asyncio  # noqa: F401 - the settings' process and this one both need it: imported once for both
    import signal

    from tlsproxy.chassis.hardening import harden
    from tlsproxy.chassis.settings_process import settings_process

    kept = harden()
    # They would end a process that does not know yet what to do at them.
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    with settings_process(program.declared, program.beside) as outcome:
        serve = program.serve()
        reading = _usable(program, outcome(), kept)
    return serve(reading)


def _check(program: Program[S], options: argparse.Namespace) -> int:
    from tlsproxy.chassis.hardening import harden
    from tlsproxy.chassis.settings_process import settings_process

    kept = harden()
    with settings_process(program.declared) as outcome:
        check = program.check()
        reading = _usable(program, outcome(), kept)
    return check(reading, options)


def _health(program: Program[S]) -> int:
    from tlsproxy.chassis.settings_process import settings_process

    with settings_process(program.declared) as outcome:
        from tlsproxy.chassis.health import ask_ready

        settings = cast("Everywhere", _usable(program, outcome()).settings)
    # What is declared is loaded in the other process alone; the prefix is the program's name here.
    return ask_ready(settings.admin_host, settings.admin_port, prefix=f"{program.words.program.upper()}_")


def _config(program: Program[S], options: argparse.Namespace) -> int:
    from tlsproxy.chassis import documents

    if options.schema:
        import json

        print(json.dumps(documents.schema(program.declared()), indent=2))
    elif options.docs:
        print(documents.table(program.declared()))
    else:
        print(documents.effective(_read_here(program)))
    return Exit.STOPPED


# --- Settings, or why there are none ------------------------------------------------------------------------


def settings(program: Program[S]) -> "PlainReading[S]":
    """The settings, for a verb of a program's own; when they are refused, the process ends."""
    from tlsproxy.chassis.settings_process import settings_process

    with settings_process(program.declared) as outcome:
        return _usable(program, outcome())


def _read_here(program: Program[S]) -> "Reading[S]":
    """The settings with all that is known of them, where pydantic is loaded anyway."""
    from tlsproxy.chassis.environment import BadSettings, read

    try:
        reading = read(program.declared())
    except BadSettings as error:
        _refuse(Exit.SETTINGS, str(error), error.warnings)
    _log_as_set(program, reading.settings, reading.warnings)
    return reading


def _usable(program: Program[S], outcome: "Outcome[S]", warnings: Iterable[str] = ()) -> "PlainReading[S]":
    """The settings, with logging set up as they say and warnings told; when they are refused, the end."""
    from tlsproxy.chassis.settings_process import Refusal

    if isinstance(outcome, Refusal):
        _refuse(outcome.status, outcome.message, outcome.warnings)
    _log_as_set(program, outcome.settings, (*outcome.warnings, *warnings))
    return outcome


def _refuse(status: Exit, message: str, warnings: Sequence[str]) -> NoReturn:
    from tlsproxy.chassis.diagnostics import escape

    try:
        for line in (message, *warnings):
            print("\n".join(map(escape, line.splitlines())), file=sys.stderr)
    except OSError:
        # The status still tells.
        _give_up(sys.stderr)
    raise SystemExit(status)


def _log_as_set(program: Program[S], settings: S, warnings: Iterable[str]) -> None:
    import logging

    from tlsproxy.chassis.diagnostics import configure

    set_ = cast("Everywhere", settings)
    configure(set_.log_format, set_.log_level, program.words.program)
    for warning in warnings:
        logging.getLogger("tlsproxy.settings").warning("%s", warning)
