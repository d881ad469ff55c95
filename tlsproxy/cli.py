"""The verbs of the command line; each one imports what it needs, so that help is instant."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tlsproxy import __version__
from tlsproxy.exits import Exit

if TYPE_CHECKING:
    from tlsproxy.environment import Reading
    from tlsproxy.settings import Settings
    from tlsproxy.settings_process import Outcome, PlainReading

_EPILOG = """\
Everything is set by variables; the two that matter are TLSPROXY_CERT_NAME, the certificate's name in
/certs, and TLSPROXY_APP_PORT, the app's port on localhost. `tlsproxy config` shows them all.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit status."""
    _open_standard_streams()
    options = _parser().parse_args(arguments)
    verb: Callable[[argparse.Namespace], int] = options.verb
    try:
        status = verb(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return Exit.STOPPED
    except BrokenPipeError:
        # Whoever read our output has seen enough (`tlsproxy config | head`); the interpreter would flush once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.STOPPED
    return status


def _open_standard_streams() -> None:
    """Open those of 0, 1 and 2 that a parent has closed: a socket in their place would be written to, or end libuv."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r", closefd=False))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tlsproxy",
        description="HTTPS in front of a legacy app, from two variables.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"tlsproxy {__version__}")
    parser.set_defaults(verb=_run)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")

    verbs.add_parser("run", help="serve (also without a verb)").set_defaults(verb=_run)
    check = verbs.add_parser("check", help="say what run would do, and exit")
    sni_help = "say also what a client is served with that asks for this name; may be given again"
    check.add_argument("--sni", action="append", default=[], metavar="NAME", help=sni_help)
    check.set_defaults(verb=_check)
    verbs.add_parser("health", help="ask /readyz: 0 when ready, else 1").set_defaults(verb=_health)

    config = verbs.add_parser("config", help="the effective settings and where each comes from")
    form = config.add_mutually_exclusive_group()
    form.add_argument("--schema", action="store_true", help="JSON Schema of the variables")
    form.add_argument("--docs", action="store_true", help="the table of variables, in Markdown")
    config.set_defaults(verb=_config)

    demo = verbs.add_parser("demo", help="a legacy app, a certificate, the sidecar, and a request through it")
    demo.add_argument("--port", type=int, default=0, help="HTTPS port; 0 (the default) takes a free one")
    demo.set_defaults(verb=_demo)

    dev_cert = verbs.add_parser("dev-cert", help="write a development CA and certificate")
    dev_cert.add_argument("directory", type=Path, metavar="DIR", help="where to; made when it is missing")
    dev_cert.add_argument("names", nargs="*", metavar="NAME", help="names besides localhost, 127.0.0.1 and ::1")
    dev_cert.add_argument("--force", action="store_true", help="replace a pair that is there")
    dev_cert.set_defaults(verb=_dev_cert)

    from tlsproxy.import_nginx import options as import_options
    from tlsproxy.inject import options as inject_options

    inject = verbs.add_parser("inject", help="a Kubernetes manifest in, the same with the sidecar out")
    inject_options.add_options(inject)
    inject.set_defaults(verb=_inject)

    import_nginx = verbs.add_parser("import-nginx", help="an nginx TLS server in, our variables out")
    import_options.add_options(import_nginx)
    import_nginx.set_defaults(verb=_import_nginx)
    return parser


def _run(_: argparse.Namespace) -> int:
    import signal

    from tlsproxy.settings_process import settings_process

    # They would end a process that does not know yet what to do at them.
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    with settings_process(_declared) as outcome:
        from tlsproxy.sidecar import run

        reading = _usable(outcome())
    return run(reading.settings, reading.shown)


def _check(options: argparse.Namespace) -> int:
    from tlsproxy.settings_process import settings_process

    with settings_process(_declared) as outcome:
        from tlsproxy.check import check

        reading = _usable(outcome())
    return check(reading.settings, options.sni)


def _health(_: argparse.Namespace) -> int:
    from tlsproxy.settings_process import settings_process

    with settings_process(_declared) as outcome:
        from tlsproxy.health import ask_ready

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
    from tlsproxy.environment import BadSettings, read
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


def _usable(outcome: "Outcome[Settings]") -> "PlainReading[Settings]":
    """The settings, with logging set up as they say; when they are refused, the end."""
    from tlsproxy.settings_process import Refusal

    if isinstance(outcome, Refusal):
        _refuse(outcome.status, outcome.message, outcome.warnings)
    _log_as_set(outcome.settings, outcome.warnings)
    return outcome


def _refuse(status: Exit, message: str, warnings: Sequence[str]) -> NoReturn:
    from tlsproxy.diagnostics import escape

    for line in (message, *warnings):
        print("\n".join(map(escape, line.splitlines())), file=sys.stderr)
    raise SystemExit(status)


def _log_as_set(settings: "Settings", warnings: Iterable[str]) -> None:
    import logging

    from tlsproxy.diagnostics import configure

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
