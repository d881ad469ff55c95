"""topz's command line: what its verbs do. Each imports what it needs, so that help is instant."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from tlsproxy.chassis import command_line
from tlsproxy.chassis.exits import Exit
from tlsproxy.companions.topz.verbs import WORDS

if TYPE_CHECKING:
    from tlsproxy.chassis.settings_process import PlainReading
    from tlsproxy.companions.topz.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit status."""
    return command_line.main(PROGRAM, arguments)


def _declared() -> "type[Settings]":
    from tlsproxy.companions.topz.settings import Settings

    return Settings


def _serve() -> "Callable[[PlainReading[Settings]], int]":
    from tlsproxy.chassis.imports import spare_client

    spare_client("aiohttp")
    try:
        from tlsproxy.companions.topz.program import run
    except ModuleNotFoundError as error:
        _end_without_extra(error)

    return lambda reading: run(reading.settings, reading.shown)


def _check() -> "Callable[[PlainReading[Settings], argparse.Namespace], int]":
    try:
        from tlsproxy.companions.topz.check import check
    except ModuleNotFoundError as error:
        _end_without_extra(error)

    return lambda reading, _: check(reading.settings)


def _demo(options: argparse.Namespace) -> int:
    from tlsproxy.companions.topz.demo import demo

    return demo(options.port)


def _end_without_extra(error: ModuleNotFoundError) -> NoReturn:
    """What only topz needs is left out of an installation that does not ask for it."""
    if (error.name or "tlsproxy").startswith("tlsproxy"):
        raise error
    print(f"topz: {error.name} is not installed; pip install 'tlsproxy[topz]' has it", file=sys.stderr)
    raise SystemExit(Exit.FAILED)


PROGRAM: "command_line.Program[Settings]" = command_line.Program(
    words=WORDS,
    declared=_declared,
    serve=_serve,
    check=_check,
    demo=_demo,
)
