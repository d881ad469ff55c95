"""What the verbs of the command line do; each one imports what it needs, so that help is instant."""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn, TextIO, cast

from tlsproxy.chassis.exits import Exit
from tlsproxy.verbs import parser

if TYPE_CHECKING:
    from tlsproxy.chassis.environment import Reading
    from tlsproxy.chassis.settings_process import Outcome, PlainReading
    from tlsproxy.settings import Settings
    from tlsproxy.tls.certificate import Checked


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit status."""
    _open_standard_streams()
    options = parser().parse_args(arguments)
    try:
        status = VERBS[options.verb](options)
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
        print(f"tlsproxy {options.verb}: the output is not complete: {error.strerror}", file=sys.stderr)
        return Exit.FAILED
    return status


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


def _run(_: argparse.Namespace) -> int:
    import signal

    from tlsproxy.chassis.hardening import harden
    from tlsproxy.chassis.imports import prepare
    from tlsproxy.chassis.settings_process import settings_process

    kept = harden()
    prepare()
    # They would end a process that does not know yet what to do at them.
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    with settings_process(_declared, _look) as outcome:
        from tlsproxy.sidecar import run

        reading = _usable(outcome(), kept)
    return run(reading.settings, reading.shown, cast("Checked", reading.beside))


def _check(options: argparse.Namespace) -> int:
    from tlsproxy.chassis.hardening import harden
    from tlsproxy.chassis.settings_process import settings_process

    kept = harden()
    with settings_process(_declared) as outcome:
        from tlsproxy.check import check

        reading = _usable(outcome(), kept)
    return check(reading.settings, options.sni)


def _health(_: argparse.Namespace) -> int:
    from tlsproxy.chassis.settings_process import settings_process

    with settings_process(_declared) as outcome:
        from tlsproxy.chassis.health import ask_ready

        reading = _usable(outcome())
    return ask_ready(reading.settings.admin_host, reading.settings.admin_port)


def _config(options: argparse.Namespace) -> int:
    from tlsproxy import contract

    if options.schema:
        import json

        print(json.dumps(contract.schema(), indent=2))
        return Exit.STOPPED
    if options.docs:
        print(contract.table())
        return Exit.STOPPED
    print(contract.effective(_read_here()))
    return Exit.STOPPED


def _read_here() -> "Reading[Settings]":
    """The settings with all that is known of them, where pydantic is loaded anyway."""
    from tlsproxy.chassis.environment import BadSettings, read
    from tlsproxy.settings import Settings

    try:
        reading = read(Settings)
    except BadSettings as error:
        _refuse(Exit.SETTINGS, str(error), error.warnings)
    _log_as_set(reading.settings, reading.warnings)
    return reading


def _declared() -> "type[Settings]":
    from tlsproxy.settings import Settings

    return Settings


def _look(settings: "Settings") -> "Checked":
    from tlsproxy.tls.first_look import look_at

    return look_at(settings.cert_dir, settings.cert_name)


def _usable(outcome: "Outcome[Settings]", warnings: Iterable[str] = ()) -> "PlainReading[Settings]":
    """The settings, with logging set up as they say and warnings told; when they are refused, the end."""
    from tlsproxy.chassis.settings_process import Refusal

    if isinstance(outcome, Refusal):
        _refuse(outcome.status, outcome.message, outcome.warnings)
    _log_as_set(outcome.settings, (*outcome.warnings, *warnings))
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


def _log_as_set(settings: "Settings", warnings: Iterable[str]) -> None:
    import logging

    from tlsproxy.chassis.diagnostics import configure

    configure(settings.log_format, settings.log_level)
    for warning in warnings:
        logging.getLogger("tlsproxy.settings").warning("%s", warning)


def _demo(options: argparse.Namespace) -> int:
    from tlsproxy.demo import demo

    return demo(options.port)


def _inject(options: argparse.Namespace) -> int:
    try:
        from tlsproxy.inject.command import inject
    except ModuleNotFoundError as error:
        return _without_extra("inject", error)
    return inject(options)


def _import_nginx(options: argparse.Namespace) -> int:
    try:
        from tlsproxy.import_nginx.command import import_nginx
    except ModuleNotFoundError as error:
        return _without_extra("import-nginx", error)
    return import_nginx(options)


def _without_extra(verb: str, error: ModuleNotFoundError) -> int:
    """What only this verb needs is left out of the image, and of an installation that does not ask for it."""
    if (error.name or "tlsproxy").startswith("tlsproxy"):
        raise error
    print(f"tlsproxy {verb}: {error.name} is not installed; pip install 'tlsproxy[inject]' has it", file=sys.stderr)
    return Exit.FAILED


def _dev_cert(options: argparse.Namespace) -> int:
    from tlsproxy.tls.development import write
    from tlsproxy.tls.files import MaterialError

    try:
        written = write(options.directory, tuple(options.names), force=options.force)
    except (MaterialError, OSError) as error:
        print(f"tlsproxy dev-cert: {error}", file=sys.stderr)
        return Exit.FAILED
    for path in written:
        print(path)
    return Exit.STOPPED


VERBS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "check": _check,
    "health": _health,
    "config": _config,
    "demo": _demo,
    "dev-cert": _dev_cert,
    "inject": _inject,
    "import-nginx": _import_nginx,
}
"""What each verb does; returns the exit status."""
