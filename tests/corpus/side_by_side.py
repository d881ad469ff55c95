"""The corpus of requests against other proxies and ours: `python -m tests.corpus.side_by_side [--write-docs]`.

Each is configured as in the bench. The table in docs/security.md is made from one run. What is counted for each front:

- refused: the app gets no whole request of it;
- as one: it gets as many as the message holds, which h11 and llhttp read alike, with the body that was sent;
- otherwise: the two parsers differ, or the app's connection is kept with bytes left over, or the body is another, or
  what must not pass has passed;
- more: more requests than the message holds, or another client gets no answer of its own.
"""

import argparse
import re
import socket
import ssl
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from bench import certificate, fronts, machine, peers
from bench.fronts import Front, Running
from bench.machine import Cores
from tests.corpus.library import Message, groups
from tests.corpus.parsers import EMPTY_LINES, Seen, alike, requests_by_h11
from tests.corpus.recorder import Carried, Recorder

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
SECTION = re.compile(r"(<!-- smuggling -->\n).*?(<!-- /smuggling -->)", re.DOTALL)
NAMES = ("nginx", "haproxy", "caddy")
# Who has not answered by then waits for more.
PATIENCE = 0.4
CORES = Cores((0, 1), (0, 1))

Verdict = Literal["refused", "as one", "otherwise", "more"]
VERDICTS: tuple[Verdict, ...] = ("refused", "as one", "otherwise", "more")
HELD = {"two": 2}


@dataclass(frozen=True)
class Client:
    """Someone who speaks TLS to a front."""

    port: int
    context: ssl.SSLContext

    def say(self, data: bytes, until: bytes = b"\0nothing") -> bytes:
        """What comes back until the end, or until that, or until nothing comes for a while."""
        answered = b""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as plain,
            self.context.wrap_socket(plain, server_hostname="localhost") as tls,
            suppress(OSError),
        ):
            tls.sendall(data)
            while until not in answered and (piece := tls.recv(65536)):
                answered += piece
        return answered


def judge(message: Message, carried: Sequence[Carried], *, honest: bool) -> Verdict:
    """What a front has made of a message; `honest`: whether the next client got its own answer."""
    seen: list[Seen] = []
    try:
        for one in carried:
            reading = alike(one.raw)
            if reading.rest and not one.ended:
                return "otherwise"
            seen += reading.messages
    except AssertionError:
        return "otherwise"
    passed = [one for one in seen if one.start[1] != b"/honest"]
    held = HELD.get(message.expect, 1)
    if not honest or len(passed) > held or b"/smuggled" in [one.start[1] for one in passed]:
        return "more"
    if not passed:
        return "refused"
    said = requests_by_h11(message.data, between=EMPTY_LINES).messages
    raw = b"".join(one.raw for one in carried).lower()
    same = [one.body for one in passed] == [one.body for one in said[: len(passed)]] if said else True
    return "as one" if same and not (message.never and message.never in raw) else "otherwise"


def tried(running: Running, recorder: Recorder, ca: Path) -> dict[str, Counter[Verdict]]:
    """The verdicts on each class; each message over a connection of its own, and an honest client behind it."""
    client = Client(running.port, ssl.create_default_context(cafile=str(ca)))
    found: dict[str, Counter[Verdict]] = {}
    for group in groups("requests"):
        counted = found[group.name] = Counter()
        for message in group.messages:
            recorder.carried()
            client.say(message.data)
            answer = client.say(b"GET /honest HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            verdict = judge(message, recorder.carried(), honest=answer.endswith(b"/honest"))
            counted[verdict] += 1
            if verdict in {"otherwise", "more"}:
                print(f"{running.front.label}: {message.label}: {verdict}", file=sys.stderr)
    return found


def run() -> dict[str, dict[str, Counter[Verdict]]]:
    """Verdicts by front and class; a front that is not installed is left out."""
    wanted: list[Front] = [fronts.ours(fronts.OURS, f"{sys.executable} -m tlsproxy run"), *peers.installed(NAMES)]
    found = {}
    for front in wanted:
        if front.mode != "http":
            continue
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            recorder = stack.enter_context(Recorder())
            (directory / "ca").mkdir()
            made = certificate.make(directory / "ca")
            running = stack.enter_context(
                fronts.up(front, directory=directory / "front", app_port=recorder.port, certificate=made, cores=CORES)
            )
            found[front.label] = tried(running, recorder, made.ca)
    return found


def table(found: dict[str, dict[str, Counter[Verdict]]]) -> str:
    """In Markdown: a row for each class, and of each front what `VERDICTS` counts."""
    totals = {label: sum(classes.values(), Counter()) for label, classes in found.items()}
    lines = [f"| class | messages | {' | '.join(found)} |", "|---|---|" + "---|" * len(found)]
    for group in groups("requests"):
        cells = [_cell(classes[group.name]) for classes in found.values()]
        lines.append(f"| {group.name} | {len(group.messages)} | {' | '.join(cells)} |")
    cells = [_cell(total) for total in totals.values()]
    lines.append(f"| **all** | {sum(len(group.messages) for group in groups('requests'))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(counted: Counter[Verdict]) -> str:
    return " / ".join(str(counted[verdict]) for verdict in VERDICTS)


def main() -> None:
    """Print the table, and write it into the page if that is wanted."""
    parser = argparse.ArgumentParser(prog="python -m tests.corpus.side_by_side", description=__doc__)
    parser.add_argument("--write-docs", action="store_true", help=f"write the table into {PAGE.name}")
    write = parser.parse_args().write_docs
    found = run()
    versions = machine.describe().versions
    who = ", ".join(f"{name} {versions[name]}" for name in found if name in versions)
    text = f"{datetime.now(UTC):%Y-%m-%d}; {who}.\n\n{table(found)}"
    print(text)
    if write:
        page = PAGE.read_text()
        PAGE.write_text(SECTION.sub(lambda match: f"{match[1]}\n{text}\n\n{match[2]}", page))


if __name__ == "__main__":
    main()
