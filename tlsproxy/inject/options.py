"""The options of `tlsproxy inject`; knows nothing of the rest, so that help is instant."""

import argparse
import re

from tlsproxy import __version__


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "file", nargs="?", default="-", metavar="FILE", help="the manifest; - (the default): standard input"
    )
    parser.add_argument("--secret", metavar="NAME", help="the TLS Secret with the certificate")
    parser.add_argument(
        "--app-port",
        default="",
        metavar="PORT",
        help="the app's port, by number or name, where several are declared or none",
    )
    parser.add_argument(
        "--app-container", default="", metavar="NAME", help="the app's container, where several have such a port"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="KIND/NAME", help="change this object alone; may be given again"
    )
    parser.add_argument(
        "--service",
        action="append",
        default=[],
        metavar="NAME",
        help="point this Service at the sidecar; may be given again",
    )
    parser.add_argument(
        "--services", action="store_true", help="point every Service at the sidecar that leads to such an app"
    )
    parser.add_argument(
        "--app-on-localhost", action="store_true", help="the app listens on the loopback address alone: move its probes"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a variable of the sidecar, such as HSTS=365d; may be given again",
    )
    parser.add_argument("--image", default=f"tlsproxy:{__version__}", help="the sidecar's image (%(default)s)")
    parser.add_argument(
        "--kubernetes-version",
        type=_version,
        default="1.30",
        metavar="1.N",
        help="the oldest that the manifest is for (1.30)",
    )
    parser.add_argument(
        "--ordinary",
        action="store_true",
        help="an ordinary container, and no native sidecar (before 1.29 it always is)",
    )
    parser.add_argument("--remove", action="store_true", help="take the sidecar out again")
    parser.add_argument(
        "--diff", action="store_true", help="print what would change, and why, in place of the manifest"
    )


def _version(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"v?(\d+)\.(\d+)([.+-].*)?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a version such as 1.30")
    return int(found[1]), int(found[2])
