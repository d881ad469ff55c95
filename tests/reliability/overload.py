"""A well-behaved client's times, and the sidecar's memory and descriptors, while others attack and after they have.

The sidecar has a processor to itself where there are two; the attackers, the client and the app share the other one, on
which the attackers give way. Times are those of the least disturbed of a few rounds: what else the machine does
disturbs some of them, and what an attack does disturbs all.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import uvloop

from bench.machine import allow_open_files, cores, pinned
from bench.proc import memory
from tests.e2e.ports import free_port
from tests.e2e.sidecar_process import Sidecar
from tests.reliability.children import attacking, checked_app
from tests.reliability.faults import own_descriptors
from tests.reliability.stand import standing
from tests.reliability.victim import Times, Victim, percentile

SCALES: Mapping[str, tuple[int, int]] = {
    "slow heads": (200, 2000),
    "slow bodies": (200, 2000),
    "slow readers": (100, 500),
    "slowhttptest -H": (200, 1000),
    "slowhttptest -B": (200, 1000),
    "slowhttptest -X": (100, 500),
    "half-open handshakes": (200, 2000),
    "silent connections": (200, 3000),
    "idle connections": (200, 9_900),
    "handshakes": (32, 64),
    "hellos": (32, 64),
    "garbage": (32, 64),
    "renegotiations": (1, 1),
    "key updates": (1, 1),
    "small records": (8, 16),
    "bursts of small records": (8, 8),
    "large heads": (8, 16),
    "pipelines": (8, 16),
    "unread pipelines": (16, 64),
    "small chunks": (8, 8),
    "WebSocket pings": (8, 8),
    "cancelled requests": (32, 64),
}
"""How many connections each attack has at once, in a small run and in a large one.

Where 20,000 open files are allowed, as often, 9,936 connections are served at once.
"""
ABOVE_THE_LIMIT = "silent connections"
"""Who was not in before it waits with the attackers until the first of them is cut."""
PLACES = 100
"""MAX_CONNECTIONS where the limit itself is attacked."""
ROUNDS = 4
CALM_ROUND = 0.7
RECOVERED = 2.0
"""Seconds after the end of an attack within which all is to be as before."""
TIMES_CALM = 5
SLOWEST = 0.02
"""Seconds; a 99th percentile below it is nobody's trouble, however small the calm one was."""


@dataclass
class Figures:
    """What one attack came to; times are in seconds."""

    name: str
    scale: int
    attacked: float
    """The 99th percentile of requests on connections that are kept."""
    new: float
    """That of requests on new connections; 0 where none were tried."""
    requests: int
    failures: list[str]
    """Of the well-behaved client, the recovery included."""
    recovered: float | None
    """Until requests were as fast as before; None: not within RECOVERED."""
    grown: int = 0
    """Bytes of memory above what the process had before."""
    descriptors_left: int = 0


@contextmanager
def fronted(**settings: str | int) -> Iterator[tuple[Sidecar, Path]]:
    """A sidecar on its own processor before a checked app, and a directory."""
    with tempfile.TemporaryDirectory() as name:
        directory, port = Path(name), free_port()
        with (
            checked_app(port, directory),
            pinned(cores().front),
            standing(port, ACCESS_LOG="errors", **settings) as one,
            pinned(cores().load),
        ):
            yield one, directory


def calm(sidecar: Sidecar) -> float:
    """The 99th percentile of requests on kept connections when nobody attacks."""
    return uvloop.run(_calm(sidecar))


async def _calm(sidecar: Sidecar) -> float:
    async with _victim(sidecar, renewing=True) as victim:
        return _p99((await _least_disturbed(victim, CALM_ROUND, 0.0)).kept)


def attack(sidecar: Sidecar, directory: Path, name: str, scale: int, seconds: float, calm: float) -> Figures:
    """One attack, in rounds of so many seconds, on a sidecar that was so fast before."""
    allow_open_files()
    before, start = own_descriptors(sidecar), memory(sidecar.pid).resident
    figures = uvloop.run(_attack(sidecar, directory, name, scale, seconds, calm))
    figures.grown = sidecar.peak_memory() - start
    figures.descriptors_left = own_descriptors(sidecar) - before
    return figures


async def _attack(sidecar: Sidecar, directory: Path, name: str, scale: int, seconds: float, calm: float) -> Figures:
    limit = max(TIMES_CALM * calm, SLOWEST)
    async with _victim(sidecar, renewing=name != ABOVE_THE_LIMIT) as victim:
        async with _attacking(name, sidecar.port, scale, directory):
            times = await _least_disturbed(victim, seconds, limit)
        recovered = await _recovery(victim, limit)
        failures = [*times.failures, *victim.times.failures]
    return Figures(
        name, scale, _p99(times.kept), _p99(times.new), len(times.kept) + len(times.new), failures, recovered
    )


@asynccontextmanager
async def _victim(sidecar: Sidecar, renewing: bool) -> AsyncIterator[Victim]:
    victim = Victim(sidecar.port, sidecar.trust)
    await victim.begin(renewing)
    try:
        yield victim
    finally:
        await victim.end()


@asynccontextmanager
async def _attacking(name: str, port: int, scale: int, directory: Path) -> AsyncIterator[None]:
    """The client goes on while an attack is begun and ended, which blocks."""
    block = attacking(name, port, scale, directory / "attack")
    await asyncio.to_thread(block.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(block.__exit__, None, None, None)


async def _least_disturbed(victim: Victim, seconds: float, enough: float) -> Times:
    """The times of the best of some rounds, of no more than it takes to stay below `enough`."""
    best, failures = Times(), list[str]()
    for _ in range(ROUNDS):
        with victim.taking_times() as times:
            await asyncio.sleep(seconds)
        failures += times.failures
        if times.kept and (not best.kept or _p99(times.kept) < _p99(best.kept)):
            best = times
        if best.kept and _p99(best.kept) < enough:
            break
    best.failures = failures
    return best


def _p99(times: list[float]) -> float:
    return percentile(times, 0.99) if times else 0.0


async def _recovery(victim: Victim, limit: float) -> float | None:
    """Seconds until a request on each connection is as fast as before."""
    began = monotonic()
    while monotonic() - began < RECOVERED:
        with victim.taking_times() as times:
            await asyncio.sleep(0.2)
        if times.kept and max(times.kept) < limit and not times.failures:
            return monotonic() - began
    return None
