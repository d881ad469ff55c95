"""The verbs of a command line with their options: those that every sidecar has, and a program's own.

What they do is not known here. The help texts are the documents too: `entries` tells what there is.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tlsproxy import __version__


class Verbs:
    """What a command line is made of while it is made."""

    def __init__(self, top: argparse.ArgumentParser) -> None:
        self._below = top.add_subparsers(title="verbs", metavar="VERB")

    def add(self, name: str, does: str) -> argparse.ArgumentParser:
        """A verb, to which arguments and options may be added."""
        below = self._below.add_parser(name, help=does, description=does)
        below.set_defaults(verb=name)
        return below

    def __getitem__(self, name: str) -> argparse.ArgumentParser:
        return self._below.choices[name]

    def items(self) -> "Iterator[tuple[str, argparse.ArgumentParser]]":
        """All, in the order in which they were added."""
        yield from self._below.choices.items()


@dataclass(frozen=True, slots=True)
class Words:
    """A program as its help has it."""

    program: str
    """Its name: of the command, and in the log."""
    does: str
    """One sentence."""
    epilog: str
    """The last words of the help: the variables that matter."""
    checks: str
    """What `check` does."""
    demonstrates: str
    """What `demo` shows."""
    add: Callable[[Verbs], None] = lambda _: None
    """Adds the program's own verbs, and options of those that each has."""


def parser(words: Words) -> argparse.ArgumentParser:
    """What reads the command line; the verb that it finds, `run` where none is given, is in `verb`."""
    return _with_verbs(words)[0]


def entries(words: Words) -> dict[str, str]:
    """Every verb and option as one would write it, and what it does."""
    top, verbs = _with_verbs(words)
    return dict(_options(words.program, top)) | {
        name: help_
        for verb, below in verbs.items()
        for line in (f"{words.program} {verb}",)
        for name, help_ in (*_verb(line, below), *_options(line, below))
    }


def _with_verbs(words: Words) -> tuple[argparse.ArgumentParser, Verbs]:
    program = words.program
    top = argparse.ArgumentParser(prog=program, description=words.does, epilog=words.epilog)
    version = f"{program} {__version__}"
    top.add_argument("--version", action="version", version=version, help="the version, and nothing else")
    top.set_defaults(verb="run")
    verbs = Verbs(top)
    verbs.add("run", f"serve; the same as `{program}` alone")
    verbs.add("check", words.checks)
    verbs.add("health", "ask /readyz: 0 when ready, else 1; for a HEALTHCHECK in images without curl")
    config = verbs.add("config", "the effective settings and where each comes from")
    form = config.add_mutually_exclusive_group()
    form.add_argument("--schema", action="store_true", help="the variables as JSON Schema")
    form.add_argument("--docs", action="store_true", help="the variables as a Markdown table")
    verbs.add("demo", words.demonstrates)
    words.add(verbs)
    return top, verbs


def _verb(words: str, below: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """The verb with its first argument, and once more with each that may follow."""
    help_ = below.description or ""
    for number, argument in enumerate(action for action in _actions(below) if not action.option_strings):
        repeated = " ..." if argument.nargs == "*" else ""
        if number:
            yield words, help_
            help_ = argument.help or ""
        words += f" {argument.metavar}{repeated}"
    yield words, help_


def _options(words: str, below: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in _actions(below):
        if action.option_strings:
            value = "" if action.nargs == 0 else f" {action.metavar or str(action.dest).upper()}"
            yield f"{words} {action.option_strings[-1]}{value}", (action.help or "").replace(" (%(default)s)", "")


def _actions(below: argparse.ArgumentParser) -> list[argparse.Action]:
    """All but the help that each has, and the verbs."""
    known = below._actions  # noqa: SLF001 - argparse tells in no other way what it has been given
    return [action for action in known if "--help" not in action.option_strings]
