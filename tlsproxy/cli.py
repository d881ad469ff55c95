"""tlsproxy's command line: what its verbs do. Each imports what it needs, so that help is instant."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from tlsproxy.chassis import command_line
from tlsproxy.chassis.exits import Exit
from tlsproxy.verbs import WORDS

if TYPE_CHECKING:
    from tlsproxy.chassis.settings_process import PlainReading
    from tlsproxy.settings import Settings
    from tlsproxy.tls.certificate import Checked


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit status."""
    return command_line.main(PROGRAM, arguments)


def _declared() -> "type[Settings]":
    from tlsproxy.settings import Settings

    return Settings


def _serve() -> "Callable[[PlainReading[Settings]], int]":
    from tlsproxy.chassis.imports import spare_client

    spare_client("aiohttp")
    from tlsproxy.sidecar import run

    return lambda reading: run(reading.settings, reading.shown, cast("Checked", reading.beside))


def _look(settings: "Settings") -> "Checked":
    from tlsproxy.tls.first_look import look_at

    return look_at(settings.cert_dir, settings.cert_name)


def _check() -> "Callable[[PlainReading[Settings], argparse.Namespace], int]":
    from tlsproxy.check import check

    return lambda reading, options: check(reading.settings, options.sni)


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


PROGRAM: "command_line.Program[Settings]" = command_line.Program(
    words=WORDS,
    declared=_declared,
    serve=_serve,
    check=_check,
    demo=_demo,
    verbs={"dev-cert": _dev_cert, "inject": _inject, "import-nginx": _import_nginx},
    beside=_look,
)
