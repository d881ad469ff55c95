"""The options of `tlsproxy import-nginx`; knows nothing of the rest, so that help is instant."""

import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("file", nargs="?", metavar="FILE", help="nginx's configuration; - for standard input")
    given.add_argument("--env", metavar="FILE", help="the environment of an nginx TLS image, as NAME=VALUE lines")
    parser.add_argument(
        "--server", default="", metavar="NAME", help="of several TLS servers the one of this name or port"
    )
    parser.add_argument(
        "--image", default="", metavar="NAME", help="of which image the environment is, where that is not plain"
    )
