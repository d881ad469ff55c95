"""The verbs of the command line with their options; what they do is not known here.

The help texts are the documents too: `entries` tells what there is.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from tlsproxy import __version__

_EPILOG = """\
Everything is set by variables; the two that matter are TLSPROXY_CERT_NAME, the certificate's name in
/certs, and TLSPROXY_APP_PORT, the app's port on localhost. `tlsproxy config` shows them all.
"""


def parser() -> argparse.ArgumentParser:
    """What reads the command line; the verb that it finds, `run` where none is given, is in `verb`."""
    return _with_verbs()[0]


def entries() -> dict[str, str]:
    """Every verb and option as one would write it, and what it does."""
    top, verbs = _with_verbs()
    return dict(_options("tlsproxy", top)) | {
        name: help_
        for verb, below in verbs.choices.items()
        for name, help_ in (*_verb(verb, below), *_options(f"tlsproxy {verb}", below))
    }


def _with_verbs() -> "tuple[argparse.ArgumentParser, argparse._SubParsersAction[argparse.ArgumentParser]]":
    top = argparse.ArgumentParser(
        prog="tlsproxy",
        description="HTTPS in front of a legacy app, from two variables.",
        epilog=_EPILOG,
    )
    version = f"tlsproxy {__version__}"
    top.add_argument("--version", action="version", version=version, help="the version, and nothing else")
    top.set_defaults(verb="run")
    verbs = top.add_subparsers(title="verbs", metavar="VERB")

    def verb(name: str, does: str) -> argparse.ArgumentParser:
        below = verbs.add_parser(name, help=does, description=does)
        below.set_defaults(verb=name)
        return below

    verb("run", "serve; the same as `tlsproxy` alone")
    check = verb("check", "tell what `run` would do with these settings, certificates and app, and exit")
    sni_help = "say also what a client is served with that asks for this name; may be given again"
    check.add_argument("--sni", action="append", default=[], metavar="NAME", help=sni_help)
    verb("health", "ask /readyz: 0 when ready, else 1; for a HEALTHCHECK in images without curl")

    config = verb("config", "the effective settings and where each comes from")
    form = config.add_mutually_exclusive_group()
    form.add_argument("--schema", action="store_true", help="the variables as JSON Schema")
    form.add_argument("--docs", action="store_true", help="the variables as a Markdown table")

    demo = verb("demo", "a legacy app, a certificate, the sidecar, and a request through it")
    demo.add_argument("--port", type=int, default=0, help="HTTPS port; 0 (the default) takes a free one")

    dev_cert = verb("dev-cert", "make a development CA and certificate")
    dev_cert.add_argument("directory", type=Path, metavar="DIR", help="where to; made when it is missing")
    dev_cert.add_argument(
        "names", nargs="*", default=[], metavar="NAME", help="names besides localhost, 127.0.0.1 and ::1"
    )
    dev_cert.add_argument("--force", action="store_true", help="replace a pair that is there")

    from tlsproxy.import_nginx import options as import_options  # noqa: PLC0415 - each is of a room of its own
    from tlsproxy.inject import options as inject_options  # noqa: PLC0415

    inject_options.add_options(verb("inject", "a Kubernetes manifest in, the same with the sidecar out"))
    import_options.add_options(verb("import-nginx", "an nginx TLS server in, our variables out"))
    return top, verbs


def _verb(verb: str, below: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """The verb with its first argument, and once more with each that may follow."""
    words, help_ = f"tlsproxy {verb}", below.description or ""
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
    """All but the help that each has."""
    known = below._actions  # noqa: SLF001 - argparse tells in no other way what it has been given
    return [action for action in known if "--help" not in action.option_strings]
