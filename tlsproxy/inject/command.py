"""The verb: options, reading and writing."""

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from tlsproxy.chassis.diagnostics import escape
from tlsproxy.chassis.environment import variables
from tlsproxy.chassis.exits import Exit
from tlsproxy.inject import sidecar
from tlsproxy.inject.manifest import Outcome, Request, put_in, take_out
from tlsproxy.inject.pods import Asked
from tlsproxy.inject.refusals import Refused
from tlsproxy.inject.rewriting import ANNOTATION
from tlsproxy.inject.sidecar import Shape
from tlsproxy.settings import Settings

_PREFIX: Final = Settings.PREFIX
_GIVEN_OTHERWISE: Final = {"CERT_NAME": "--secret", "APP_PORT": "--app-port"}


def inject(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    try:
        before = _read(options.file)
        made = outcome(options, before)
    except Refused as refused:
        for message in refused.messages:
            _say(message)
        return Exit.SETTINGS
    if options.diff:
        for reason in made.reasons:
            _say(reason)
    for note in made.notes:
        _say(f"note: {note}")
    _write(_diff(before, made.text, options.file) if options.diff else made.text)
    return Exit.STOPPED


def outcome(options: argparse.Namespace, text: str) -> Outcome:
    """What the options ask for, made of a manifest.

    Raises:
        Refused: with all that stands against it.
    """
    if not options.remove:
        return put_in(text, _request(options))
    only = _titles(options.only)
    made = take_out(text, lambda subject: not only or subject.title in only)
    notes = () if made.reasons else (f"nothing is changed: nothing in it has the annotation {ANNOTATION}",)
    return Outcome(made.text, made.reasons, notes)


def _titles(given: Iterable[str]) -> frozenset[str]:
    return frozenset(f"{kind.lower()}/{name}" for kind, _, name in (title.partition("/") for title in given))


def _request(options: argparse.Namespace) -> Request:
    # A Secret's name: RFC 1123 section 2.1, as Kubernetes has it.
    if not options.secret or not re.fullmatch(
        r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", options.secret
    ):
        given = f"{options.secret!r} is no Secret's name" if options.secret else "the certificate's Secret is not named"
        raise Refused([f"{given}; give one, such as --secret shop"])
    shape = Shape(
        secret=options.secret,
        image=options.image,
        native=not options.ordinary and options.kubernetes_version >= sidecar.NATIVE_SINCE,
        sleep_action=options.kubernetes_version >= sidecar.SLEEP_SINCE,
        on_localhost=options.app_on_localhost,
        variables=dict(_variables(options.set)),
    )
    return Request(
        shape,
        Asked(options.app_container, options.app_port),
        _titles(options.only),
        frozenset(options.service),
        options.services,
    )


def _variables(given: Iterable[str]) -> Iterator[tuple[str, str]]:
    known = {name for variable in variables(Settings) for name in (variable.name, *variable.aliases)}
    for pair in given:
        name, equals, value = pair.partition("=")
        name = name.removeprefix(_PREFIX)
        if not equals or f"{_PREFIX}{name}" not in known:
            near = difflib.get_close_matches(f"{_PREFIX}{name}", known, 1)
            instead = (
                f"did you mean {near[0].removeprefix(_PREFIX)}?" if near else "`tlsproxy config --docs` lists them"
            )
            raise Refused([f"--set {pair}: NAME=VALUE with a variable of the sidecar's is wanted; {instead}"])
        if name in _GIVEN_OTHERWISE:
            raise Refused([f"--set {pair}: {name} is given by {_GIVEN_OTHERWISE[name]}"])
        yield f"{_PREFIX}{name}", value


def _read(file: str) -> str:
    try:
        written = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return written.decode()
    except OSError as error:
        raise Refused([f"{file}: {error.strerror}; name a file that can be read, or - for standard input"]) from None
    except UnicodeDecodeError as error:
        raise Refused([f"{file}: byte {error.start} is not UTF-8, which a manifest has to be in"]) from None


def _write(text: str) -> None:
    """As bytes: line ends stay as they are."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())


def _diff(before: str, after: str, file: str) -> str:
    name = "stdin" if file == "-" else file
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), name, f"{name} (injected)"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _say(message: str) -> None:
    for line in message.splitlines():
        print(f"tlsproxy inject: {escape(line)}", file=sys.stderr)
