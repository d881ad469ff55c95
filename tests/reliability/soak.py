"""Mixed load, a rotation each second, an app that restarts, clients that come and go: and what grows by it.

The app is killed, not asked, so that requests fail; each that does must be plainly an error (`checked_load`).
"""

import asyncio
import os
import re
import signal
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from time import monotonic

import uvloop

from bench.proc import memory
from tests.e2e.certificates import issue, swap_secret
from tests.e2e.ports import free_port
from tests.e2e.raw_client import get
from tests.e2e.sidecar_process import Sidecar
from tests.reliability.asking import Asking
from tests.reliability.checked_app import written_down
from tests.reliability.checked_load import Load, Outcome, for_seconds, sent_twice
from tests.reliability.children import RECORD, checked_app
from tests.reliability.messages import read_body, read_head
from tests.reliability.stand import standing

CLIENTS = 4
PACE = 0.02
"""Seconds between two requests of a client."""
LARGE = 1 << 20
ROTATION_PERIOD = 1.0
RESTART_PERIOD = 10.0
SAMPLE_PERIOD = 1.0
MOST_SAMPLES = 300
SETTLING = 0.2
"""The share of the time whose samples don't count: pools, tickets and the heap's arenas are filled in it."""
ENDS = (OSError, EOFError, TimeoutError, AssertionError)


@dataclass(frozen=True)
class Sample:
    """What the sidecar holds at one moment."""

    seconds: float
    resident: int
    """Bytes."""
    descriptors: int
    clients: int
    app_connections: int
    tasks: int


@dataclass
class Figures:
    """What a soak came to."""

    seconds: float
    samples: list[Sample] = field(default_factory=list)
    rotations: int = 0
    restarts: int = 0
    outcome: Outcome = field(default_factory=Outcome)
    twice: list[int] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)
    """How many large bodies, tunnel messages and events came right, and how many of them were cut."""

    def halves(self, of: Callable[[Sample], float]) -> tuple[float, float]:
        """The medians of the first and of the second half of the samples that count."""
        counted = [of(sample) for sample in self.samples if sample.seconds > self.seconds * SETTLING]
        middle = len(counted) // 2
        return median(counted[:middle]), median(counted[middle:])


def run(seconds: float) -> Figures:
    """A soak of so many seconds."""

    async def soak() -> Figures:
        return await _Soak(seconds).run()

    return uvloop.run(soak())


class _Soak:
    def __init__(self, seconds: float) -> None:
        self._figures = Figures(seconds)
        self._others = self._figures.others = {"large": 0, "messages": 0, "events": 0, "cut": 0}
        self._numbers = count(1 << 40)
        self._over = asyncio.Event()
        self._period = max(SAMPLE_PERIOD, seconds / MOST_SAMPLES)
        self._began = monotonic()

    async def run(self) -> Figures:
        with tempfile.TemporaryDirectory() as name:
            directory, port = Path(name), free_port()
            app = asyncio.create_task(self._restart(port, directory))
            with standing(port, ACCESS_LOG="errors", RESPONSE_TIMEOUT="5s", APP_WAIT="5s") as sidecar:
                await self._all_at_once(sidecar)
            self._over.set()
            await app
            self._figures.twice = sent_twice(written_down(directory / RECORD), self._figures.outcome)
        return self._figures

    async def _all_at_once(self, sidecar: Sidecar) -> None:
        load = Load(sidecar.port, sidecar.trust, 1, for_seconds(self._figures.seconds), PACE)
        self._figures.outcome = load.outcome
        courses = (self._rotate, self._sample, self._large, self._tunnel, self._events)
        tasks = [asyncio.create_task(self._over_and_over(course, sidecar)) for course in courses]
        await load.run(CLIENTS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _over_and_over(self, course: Callable[[Sidecar], Coroutine[None, None, None]], sidecar: Sidecar) -> None:
        while True:
            try:
                await course(sidecar)
            except ENDS:
                self._others["cut"] += 1
                await asyncio.sleep(PACE)

    # ------------------------------------------------------------------ what happens to it

    async def _restart(self, port: int, directory: Path) -> None:
        """The app, killed and started anew."""
        while not self._over.is_set():
            block = checked_app(port, directory)
            pid = await asyncio.to_thread(block.__enter__)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), RESTART_PERIOD)
            os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(block.__exit__, None, None, None)
            self._figures.restarts += 1

    async def _rotate(self, sidecar: Sidecar) -> None:
        await asyncio.sleep(ROTATION_PERIOD)
        await asyncio.to_thread(swap_secret, Path(sidecar.settings["CERT_DIR"]), issue(sidecar.authority))
        self._figures.rotations += 1

    # ------------------------------------------------------------------ clients, besides those of checked requests

    async def _connect(self, sidecar: Sidecar) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            "127.0.0.1", sidecar.port, ssl=sidecar.trust, server_hostname="localhost", limit=LARGE
        )

    async def _large(self, sidecar: Sidecar) -> None:
        """A megabyte each way."""
        one = Asking(next(self._numbers), "POST", LARGE, LARGE, chunked=False, answered_chunked=False)
        reader, writer = await self._connect(sidecar)
        try:
            writer.write(one.request())
            first, fields = await read_head(reader)
            body = await read_body(reader, fields)
            assert first.startswith(b"HTTP/1.1 200"), first
            assert not one.fault_in(fields, body)
            self._others["large"] += 1
            await asyncio.sleep(SETTLING)
        finally:
            writer.transport.abort()

    async def _tunnel(self, sidecar: Sidecar) -> None:
        """Messages through an upgraded connection, until it is cut."""
        reader, writer = await self._connect(sidecar)
        try:
            writer.write(get("/", "Connection: Upgrade", "Upgrade: websocket"))
            first, _ = await read_head(reader)
            assert first.startswith(b"HTTP/1.1 101"), first
            while True:
                message = b"%d;" % self._others["messages"]
                writer.write(message)
                assert await reader.readexactly(len(message)) == message
                self._others["messages"] += 1
                await asyncio.sleep(PACE)
        finally:
            writer.transport.abort()

    async def _events(self, sidecar: Sidecar) -> None:
        """Server-sent events, until they are cut."""
        reader, writer = await self._connect(sidecar)
        try:
            writer.write(get("/events"))
            await read_head(reader)
            while await reader.readuntil(b"\n\n"):
                self._others["events"] += 1
        finally:
            writer.transport.abort()

    # ------------------------------------------------------------------ what it holds

    async def _sample(self, sidecar: Sidecar) -> None:
        await asyncio.sleep(self._period)
        sidecar.signal(signal.SIGUSR1)
        metrics = await asyncio.to_thread(sidecar.metrics)
        tasks = re.findall(r"^(\d+) tasks$", sidecar.stderr(), re.MULTILINE)
        self._figures.samples.append(
            Sample(
                monotonic() - self._began,
                memory(sidecar.pid).resident,
                sidecar.open_files(),
                int(metrics.value("tlsproxy_connections")),
                int(metrics.value("tlsproxy_app_connections")),
                int(tasks[-1]) if tasks else 0,
            )
        )
