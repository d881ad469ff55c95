"""The loads, as a table, and what makes them: wrk, and for what it can't do `full_handshakes` and `bench.generator`."""

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.generator.task import Task
from bench.machine import pinned, program

Mode = Literal["http", "tcp"]
Generator = Literal["wrk", "handshakes", "requests", "messages", "events"]

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
# What the app takes for the wish that each answer's head should differ from every other.
DISTINCT = ("X-Distinct: yes",)
CLOSE = ("Connection: close",)


@dataclass(frozen=True)
class Load:
    """One kind of request, over and over.

    Attributes:
        name: in options and results.
        title: in the report.
        size: bytes of the answer's body.
        connections: clients at once.
        generator: what makes it: wrk, `full_handshakes`, or a kind of `bench.generator`.
        headers: fields beyond Host.
        resumes: whether each request has a connection of its own, with the session of an earlier one.
        upload: bytes of the request's body.
        in_flight: requests at once over all connections; 0: one for each.
        rate: requests a second, or events for each client, when they are due; 0: as fast as they are answered.
        tls: whether it is asked over TLS.
        mode: which fronts come under it.
        few: whether of the peers only the first comes under it, for the sake of time.
        quick: whether a quick run has time for it.
    """

    name: str
    title: str
    size: int
    connections: int
    generator: Generator = "wrk"
    headers: tuple[str, ...] = ()
    resumes: bool = False
    upload: int = 0
    in_flight: int = 0
    rate: float = 0.0
    tls: bool = True
    mode: Mode = "http"
    few: bool = False
    quick: bool = False

    @property
    def counts_handshakes(self) -> bool:
        """Whether each request is a handshake."""
        return self.resumes or self.generator == "handshakes"

    @property
    def streams(self) -> bool:
        """Whether it is for the app of messages and events, and not for the one of files."""
        return self.generator in {"messages", "events"}

    @property
    def says_ready(self) -> bool:
        """Whether its generator opens its connections first and waits to be told to begin."""
        return self.generator in {"requests", "messages", "events"}

    def command(self, port: int, seconds: float) -> list[str]:
        """What makes the load against a port of 127.0.0.1."""
        match self.generator:
            case "wrk":
                return self._wrk(port, seconds)
            case "handshakes":
                arguments = [str(port), str(self.size), str(self.connections), str(seconds)]
                return [sys.executable, "-m", "bench.full_handshakes", *arguments]
            case kind:
                task = Task(
                    kind=kind,
                    port=port,
                    connections=self.connections,
                    tls=self.tls,
                    size=self.size,
                    headers=self.headers,
                    in_flight=self.in_flight,
                    rate=self.rate,
                )
                return [sys.executable, "-m", "bench.generator", task.as_json()]

    def _wrk(self, port: int, seconds: float) -> list[str]:
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


def open_connections(count: int) -> Load:
    """Small requests, 16 at a time, over so many connections in turn."""
    return Load(
        f"open-{count}",
        f"100 B, {count:,} connections open, {min(count, 16)} in flight",
        100,
        count,
        generator="requests",
        in_flight=min(count, 16),
        few=True,
    )


LOADS = (
    Load("small", "100 B, keep-alive", 100, 16, quick=True),
    Load("browser", "100 B, browser's head (20 fields, 2 kB cookie)", 100, 16, headers=BROWSER, quick=True),
    Load("distinct", "100 B, each answer with a head of its own", 100, 16, headers=DISTINCT, quick=True),
    Load("10k", "10 kB, keep-alive", 10_000, 16),
    Load("1m", "1 MB, keep-alive", 1_000_000, 16, quick=True),
    Load("full", "new connection, full handshake", 100, 8, generator="handshakes", quick=True),
    Load("resumed", "new connection, resumed session", 100, 16, headers=CLOSE, resumes=True),
    *map(open_connections, (1, 10, 100, 1000, 10_000)),
    Load("ws", "WebSocket messages echoed (125 B)", 1, 64, generator="messages"),
    Load("sse", "server-sent events to 1,000 clients (93 B)", 1, 1000, generator="events", rate=10),
    Load("tcp-small", "tcp mode: 100 B each way, keep-alive", 100, 16, mode="tcp", quick=True),
    Load("tcp-1m", "tcp mode: 1 MB down, keep-alive", 1_000_000, 16, mode="tcp"),
    Load("tcp-up", "tcp mode: 1 MB up, keep-alive", 1, 16, upload=1_000_000, mode="tcp"),
    Load("tcp-full", "tcp mode: new connection, full handshake", 100, 8, generator="handshakes", mode="tcp"),
)


@dataclass(frozen=True)
class Tally:
    """What a generator counted.

    Attributes:
        answered: complete answers below status 400; messages echoed; events that arrived.
        refused: answers of 400 and above.
        broken: connects, reads and writes that failed or timed out.
        seconds: from first to last request.
        resumed: handshakes that resumed a session; None where the generator can't tell.
        latency: microseconds by percentile; empty where the generator takes none.
        late: microseconds by percentile that the generator itself was late to send; empty without a rate.
    """

    answered: int
    refused: int
    broken: int
    seconds: float
    resumed: int | None
    latency: Mapping[str, float] = field(default_factory=dict)
    late: Mapping[str, float] = field(default_factory=dict)


class GeneratorError(Exception):
    """The load generator gave no figures; the message is its last words."""


def read_tally(output: str) -> Tally:
    """The figures on the last line of a generator's output.

    Raises:
        GeneratorError: that line is not one of figures.
    """
    try:
        figures = json.loads(output.strip().splitlines()[-1])
        requests, microseconds, refused, broken = (
            int(figures[name]) for name in ("requests", "microseconds", "refused", "broken")
        )
        latency, late = ({**figures.get(name, {})} for name in ("latency", "late"))
        resumed = figures.get("resumed")
    except (IndexError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise GeneratorError(output.strip()[-300:] or "no output") from error
    return Tally(requests - refused, refused, broken, microseconds / 1e6, resumed, latency, late)


class Generation:
    """A load's generator against one port. Those of our own keep their connections from one sample to the next."""

    def __init__(self, load: Load, port: int, cores: tuple[int, ...]) -> None:
        self.load = load
        self._port = port
        self._cores = cores
        self._waiting: subprocess.Popen[str] | None = None

    def open(self) -> None:
        """Opens the connections, if the load has them open before it begins and they are not yet.

        Raises:
            GeneratorError: they could not be opened.
        """
        if self.load.says_ready and self._waiting is None:
            self._waiting = self._start(0)
            self._told("")

    def close(self) -> None:
        """Ends the process, and so all its connections."""
        if self._waiting is not None:
            with self._waiting as generator:
                generator.kill()
            self._waiting = None

    def make(self, seconds: float) -> Tally:
        """Makes the load for so long.

        Raises:
            GeneratorError: there are no figures.
        """
        if self._waiting is not None:
            return self._figures(self._told(f"{seconds}\n"))
        with self._start(seconds) as generator:
            try:
                return self._figures(*generator.communicate(timeout=seconds + GRACE))
            finally:
                generator.kill()

    def _start(self, seconds: float) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        with pinned(self._cores):
            return subprocess.Popen(
                self.load.command(self._port, seconds), stdin=pipe, stdout=pipe, stderr=pipe, text=True
            )

    def _told(self, line: str) -> str:
        """The next line of the waiting generator, after it was told something."""
        generator = self._waiting
        assert generator is not None
        assert generator.stdin is not None
        assert generator.stdout is not None
        assert generator.stderr is not None
        with suppress(BrokenPipeError):
            generator.stdin.write(line)
            generator.stdin.flush()
        answer = generator.stdout.readline()
        if not answer:
            complaints = generator.stderr.read()
            self.close()
            raise self._failure("it ended", complaints)
        return answer

    def _figures(self, output: str, complaints: str = "") -> Tally:
        try:
            return read_tally(output)
        except GeneratorError as error:
            raise self._failure(str(error), complaints) from error

    def _failure(self, what: str, complaints: str) -> GeneratorError:
        last = complaints.strip().rpartition("\n")[2]
        return GeneratorError(f"{self.load.name}: {what}" + (f": {last}" if last else ""))
