"""The loads, as a table, and what makes them: wrk, and `full_handshakes` for what wrk can't do."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.machine import pinned, program

Mode = Literal["http", "tcp"]

SCRIPT = Path(__file__).with_name("wrk.lua")
GRACE = 30.0
# Where the app takes any body, and answers with one byte once it has it.
UPLOAD = "/upload"

# A current browser's fields, Host not counted: 19, about 2.9 kB with the cookie.
BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8,fr;q=0.7",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Cache-Control: no-cache",
    "Pragma: no-cache",
    "DNT: 1",
    "Sec-GPC: 1",
    'Sec-CH-UA: "Chromium";v="130", "Not?A_Brand";v="99"',
    "Sec-CH-UA-Mobile: ?0",
    'Sec-CH-UA-Platform: "Linux"',
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-User: ?1",
    "Upgrade-Insecure-Requests: 1",
    "Priority: u=0, i",
    "Referer: https://localhost/reports/quarterly?year=2024&department=accounting",
    "Cookie: session=" + "0123456789abcdef" * 128,
)
CLOSE = ("Connection: close",)


@dataclass(frozen=True)
class Load:
    """One kind of request, over and over.

    Attributes:
        name: in options and results.
        title: in the report.
        size: bytes of the answer's body.
        connections: clients at once.
        headers: fields beyond Host.
        handshake: how each request's connection of its own begins; empty: connections are kept alive.
        upload: bytes of the request's body.
        mode: which fronts come under it.
        quick: whether a quick run has time for it.
    """

    name: str
    title: str
    size: int
    connections: int
    headers: tuple[str, ...] = ()
    handshake: Literal["", "full", "resumed"] = ""
    upload: int = 0
    mode: Mode = "http"
    quick: bool = True

    @property
    def needs_wrk(self) -> bool:
        """Whether wrk makes this load. It resumes sessions; `full_handshakes` does not."""
        return self.handshake != "full"

    def command(self, port: int, seconds: int) -> list[str]:
        """What makes the load against a port of 127.0.0.1."""
        if not self.needs_wrk:
            arguments = [str(port), str(self.size), str(self.connections), str(seconds)]
            return [sys.executable, "-m", "bench.full_handshakes", *arguments]
        fields = [word for header in self.headers for word in ("-H", header)]
        options = ["-t1", f"-c{self.connections}", f"-d{seconds}s", "-s", str(SCRIPT)]
        target = UPLOAD if self.upload else f"/{self.size}"
        return [
            program("wrk") or "wrk",
            *options,
            *fields,
            f"https://127.0.0.1:{port}{target}",
            *(["--", str(self.upload)] if self.upload else []),
        ]


LOADS = (
    Load("small", "small responses, keep-alive (100 B)", 100, 16),
    Load("browser", "small responses, browser-sized heads (20 fields, 2 kB cookie)", 100, 16, BROWSER),
    Load("10k", "10 kB responses, keep-alive", 10_000, 16, quick=False),
    Load("1m", "1 MB responses, keep-alive", 1_000_000, 16),
    Load("full", "new connection for each request, full handshake", 100, 8, handshake="full"),
    Load("resumed", "new connection for each request, resumed session", 100, 16, CLOSE, "resumed", quick=False),
    Load("tcp-small", "tcp mode: small requests and responses, keep-alive (100 B)", 100, 16, mode="tcp"),
    Load("tcp-1m", "tcp mode: 1 MB responses, keep-alive", 1_000_000, 16, mode="tcp"),
    Load("tcp-up", "tcp mode: 1 MB uploads, keep-alive", 1, 16, upload=1_000_000, mode="tcp", quick=False),
    Load("tcp-full", "tcp mode: new connection, full handshake", 100, 8, handshake="full", mode="tcp", quick=False),
)


@dataclass(frozen=True)
class Tally:
    """What a generator counted.

    Attributes:
        answered: complete answers below status 400.
        refused: answers of 400 and above.
        broken: connects, reads and writes that failed or timed out.
        seconds: from first to last request.
        resumed: handshakes that resumed a session; None where the generator can't tell.
    """

    answered: int
    refused: int
    broken: int
    seconds: float
    resumed: int | None


class GeneratorError(Exception):
    """The load generator gave no figures; the message is its last words."""


def read_tally(output: str) -> Tally:
    """The figures on the last line of a generator's output.

    Raises:
        GeneratorError: that line is not one of figures.
    """
    try:
        figures: dict[str, int | None] = json.loads(output.strip().splitlines()[-1])
        requests, microseconds, refused, broken = (
            int(figures[name] or 0) for name in ("requests", "microseconds", "refused", "broken")
        )
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise GeneratorError(output.strip()[-300:] or "no output") from error
    return Tally(requests - refused, refused, broken, microseconds / 1e6, figures.get("resumed"))


def run(load: Load, port: int, seconds: int, cores: tuple[int, ...]) -> Tally:
    """Makes the load for that long and returns the figures.

    Raises:
        GeneratorError: there are none.
    """
    with pinned(cores):
        done = subprocess.run(
            load.command(port, seconds), capture_output=True, text=True, check=False, timeout=seconds + GRACE
        )
    try:
        return read_tally(done.stdout)
    except GeneratorError as error:
        raise GeneratorError(f"{load.name}: {error} {done.stderr.strip()[-300:]}") from error
