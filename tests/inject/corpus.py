"""The corpus: manifests as people write them, and what inject makes of each.

`python -m tests.inject.corpus` writes the outcomes anew; look at the difference before it is kept.
"""

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from tlsproxy.inject.command import outcome
from tlsproxy.inject.manifest import Outcome
from tlsproxy.inject.options import add_options

MANIFESTS = Path(__file__).parent / "manifests"
# The image is named, so that another version of the project changes nothing here.
COMMANDS: Mapping[str, str] = {
    "anchors.yaml": "--secret shop",
    "crlf.yaml": "--secret shop --services",
    "deployment.yaml": "--secret shop --services",
    "every-kind.yaml": "--secret wild --set HSTS=365d",
    "helm.yaml": "--secret release-tls --app-port http --services",
    "list.json": "--secret shop --service shop",
    "localhost.yaml": "--secret shy --app-on-localhost",
    "no-end.yaml": "--secret shop --set DRAIN_TIMEOUT=1m",
    "one-line.json": "--secret shop",
    "ordinary.yaml": "--secret two --ordinary --app-port http --kubernetes-version 1.28",
    "unicode.yaml": "--secret shop",
    "unrelated.yaml": "--secret shop --services",
}
"""Each manifest and the options that it is injected with."""


def options(line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(["--image", "registry.example/tlsproxy:1", *shlex.split(line)])


def text(name: str) -> str:
    return (MANIFESTS / name).read_bytes().decode()


def made_of(given: argparse.Namespace, text: str) -> Outcome:
    """What these options make of a text."""
    return outcome(given, text)


def injected(name: str, given: str) -> Outcome:
    """What its command makes of a text."""
    return made_of(options(COMMANDS[name]), given)


def golden(name: str) -> Path:
    path = MANIFESTS / name
    return path.with_name(f"{path.stem}.injected{path.suffix}")


def outcome_of(name: str) -> str:
    """What its command makes of it, as it is kept."""
    return golden(name).read_bytes().decode()


def main() -> int:
    for name in COMMANDS:
        golden(name).write_bytes(injected(name, text(name)).text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
