"""Checked requests through a relay that does harm, and what they came to."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

import uvloop

from tests.e2e.polling import wait_until, wait_until_still
from tests.e2e.sidecar_process import Sidecar
from tests.reliability.checked_app import DAMAGED, CheckedApp
from tests.reliability.checked_load import LAST_TURNS, Load, Outcome, as_many, sent_twice
from tests.reliability.relay import Kind, Relay
from tests.reliability.stand import standing

SETTLED_WITHIN = 5.0
STILL_FOR = 0.1


@dataclass(frozen=True)
class Figures:
    """What a run came to."""

    seed: int
    seconds: float
    outcome: Outcome
    faults: Counter[Kind]
    connections: int
    """Connections from the sidecar to the relay."""
    with_effects: int
    """Requests that may not be sent twice and reached the app."""
    twice: list[int]
    """Those of them that did so more than once."""
    damaged: int
    """Bodies that came to the app whole, and not as they were sent."""
    descriptors_left: int
    """How many more the sidecar held when all was over than before."""


def run(count: int, seed: int) -> Figures:
    """So many requests, with the faults that this seed stands for."""
    return uvloop.run(_run(count, seed))


async def _run(count: int, seed: int) -> Figures:
    record: list[int] = []
    app = await CheckedApp(record.append).serve()
    try:
        async with Relay(app.sockets[0].getsockname()[1], seed) as relay:
            with standing(relay.port, RESPONSE_TIMEOUT="1s", BODY_TIMEOUT="2s", ACCESS_LOG="errors") as sidecar:
                before, began = own_descriptors(sidecar), time.monotonic()
                outcome = await Load(sidecar.port, sidecar.trust, seed, as_many(count)).run()
                seconds = time.monotonic() - began
                left = await asyncio.to_thread(own_descriptors, sidecar) - before
    finally:
        app.close()
        await asyncio.sleep(LAST_TURNS)
    effects = [number for number in record if number != DAMAGED]
    twice, damaged = sent_twice(record, outcome), record.count(DAMAGED)
    return Figures(seed, seconds, outcome, relay.done, relay.connections, len(effects), twice, damaged, left)


def own_descriptors(sidecar: Sidecar) -> int:
    """What the sidecar holds when it has no client, without the connections to the app that it keeps."""
    wait_until(lambda: _at_rest(sidecar), "every connection is over", SETTLED_WITHIN)
    return wait_until_still(lambda: sidecar.open_files() - _idle(sidecar), "what is closed has been", STILL_FOR)


def _idle(sidecar: Sidecar) -> int:
    return int(sidecar.metrics().value("tlsproxy_app_connections", state="idle"))


def _at_rest(sidecar: Sidecar) -> bool:
    metrics = sidecar.metrics()
    lent = sum(metrics.value("tlsproxy_app_connections", state=state) for state in ("lent", "opening", "waiting"))
    return metrics.value("tlsproxy_connections") == 0 and lent == 0
