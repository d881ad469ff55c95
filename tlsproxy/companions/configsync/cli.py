"""configsync's command line. Each verb imports what it needs, so that help is instant."""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tlsproxy.chassis import command_line
from tlsproxy.companions.configsync.words import WORDS

if TYPE_CHECKING:
    from tlsproxy.chassis.settings_process import PlainReading
    from tlsproxy.companions.configsync.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit status."""
    return command_line.main(PROGRAM, arguments)


def _declared() -> "type[Settings]":
    from tlsproxy.companions.configsync.settings import Settings

    return Settings


def _serve() -> "Callable[[PlainReading[Settings]], int]":
    from tlsproxy.chassis.imports import sparing_authorities

    with sparing_authorities():
        from tlsproxy.companions.configsync.program import run

    return lambda reading: run(reading.settings, reading.shown)


def _check() -> "Callable[[PlainReading[Settings], argparse.Namespace], int]":
    from tlsproxy.companions.configsync.check import check

    return lambda reading, _: check(reading.settings)


def _demo(_: argparse.Namespace) -> int:
    from tlsproxy.companions.configsync.demo import demo

    return demo()


def _history(_: argparse.Namespace) -> int:
    from tlsproxy.companions.configsync.asking import show_history

    return show_history(command_line.settings(PROGRAM).settings)


def _ask(options: argparse.Namespace) -> int:
    from tlsproxy.companions.configsync.asking import ask

    return ask(command_line.settings(PROGRAM).settings, options.verb, getattr(options, "version", None))


PROGRAM: "command_line.Program[Settings]" = command_line.Program(
    words=WORDS,
    declared=_declared,
    serve=_serve,
    check=_check,
    demo=_demo,
    verbs={"history": _history, "rollback": _ask, "pin": _ask, "unpin": _ask},
)
