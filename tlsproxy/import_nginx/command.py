"""The verb: what is read, and what is printed."""

import argparse
import sys
from pathlib import Path

from tlsproxy.chassis.diagnostics import escape
from tlsproxy.chassis.environment import BadSettings
from tlsproxy.chassis.environment import read as read_settings
from tlsproxy.chassis.exits import Exit
from tlsproxy.import_nginx.findings import NotImported, Remark
from tlsproxy.import_nginx.images import import_environment
from tlsproxy.import_nginx.reading import read
from tlsproxy.import_nginx.report import Report
from tlsproxy.import_nginx.servers import import_servers
from tlsproxy.settings import Settings


def import_nginx(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    try:
        report = _from_environment(options) if options.env else _from_configuration(options)
    except NotImported as error:
        print(f"tlsproxy import-nginx: {escape(str(error))}", file=sys.stderr)
        return Exit.SETTINGS
    print(report, end="")
    try:
        read_settings(Settings, report.environment())
    except BadSettings as error:
        print("tlsproxy import-nginx: note: as it stands the sidecar would refuse it", file=sys.stderr)
        for problem in error.problems:
            print(f"tlsproxy import-nginx: note: {escape(str(problem))}", file=sys.stderr)
    return Exit.STOPPED


def _from_configuration(options: argparse.Namespace) -> Report:
    directives, missing = read(options.file)
    report = import_servers(directives, "standard input" if options.file == "-" else options.file, options.server)
    for include in missing:
        report.add(include, Remark("the file is not here", "run it where nginx runs, or import that file too"))
    return report


def _from_environment(options: argparse.Namespace) -> Report:
    try:
        text = sys.stdin.read() if options.env == "-" else Path(options.env).read_text()
    except OSError as error:
        what = f"{options.env}: {error.strerror}; name a file of NAME=VALUE lines, or - for standard input"
        raise NotImported(what) from None
    except UnicodeDecodeError:
        raise NotImported(f"{options.env}: it is not text; name a file of NAME=VALUE lines") from None
    return import_environment(text, options.image)
