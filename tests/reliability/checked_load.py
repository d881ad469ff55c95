"""A load of checked requests from several clients at once, and what became of each.

An answer is right and complete, or it is plainly an error: one of ours that says so, or a cut that the client sees.
Everything else is a fault of the sidecar's. Some clients leave in between, some send the next requests before the
first is answered; none asks again.
"""

import asyncio
import random
import ssl
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tests.reliability.asking import Asking, asking
from tests.reliability.messages import read_body, read_head

CLIENTS = 16
PATIENCE = 10.0
"""Seconds after which an answer that has not come is a fault: far above every deadline of the sidecar's."""
LARGEST = 1 << 18
GOODBYE = 1.0
LAST_TURNS = 0.05
"""Seconds in which the loop can let go of connections that have been aborted."""
ERRORS = (b"502", b"503", b"504")
LEAVES, PIPELINES, RENEWS = 0.01, 0.05, 0.02
PIPELINED = 3


@dataclass
class Outcome:
    """What became of the requests."""

    counts: Counter[str] = field(default_factory=Counter)
    """`right`, the status of an error, `cut`, or `left` where the client has left itself."""
    wrong: list[str] = field(default_factory=list)
    """What must not happen, each in words."""
    not_repeatable: set[int] = field(default_factory=set)
    """The numbers that may not reach the app twice."""

    @property
    def asked(self) -> int:
        return sum(self.counts.values()) + len(self.wrong)


class Load:
    """Checked requests to one port over TLS.

    Args:
        port: the sidecar's.
        trust: the clients' context.
        seed: what is asked, and how the clients behave.
        go_on: whether a client is to ask once more, given how many requests have been begun.
        pace: seconds that a client rests before it asks.
    """

    def __init__(
        self, port: int, trust: ssl.SSLContext, seed: int, go_on: Callable[[int], bool], pace: float = 0.0
    ) -> None:
        self.outcome = Outcome()
        self._port, self._trust, self._seed, self._go_on = port, trust, seed, go_on
        self._pace = pace
        self._begun = 0

    async def run(self, clients: int = CLIENTS) -> Outcome:
        """All clients at once, until each has had enough."""
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(self._client(random.Random(f"{self._seed}/client {number}")))  # noqa: S311  no secret
        await asyncio.sleep(LAST_TURNS)
        return self.outcome

    async def _client(self, chance: random.Random) -> None:
        while self._go_on(self._begun):
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self._port, ssl=self._trust, server_hostname="localhost", limit=LARGEST
                )
            except OSError as error:
                self.outcome.wrong.append(f"no connection: {error}")
                return
            try:
                await self._talk(chance, reader, writer)
            finally:
                await _leave(writer, gently=chance.random() < 0.5)

    async def _talk(self, chance: random.Random, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Ask on one connection, until it ends or the client wants another."""
        while self._go_on(self._begun) and chance.random() > RENEWS:
            await asyncio.sleep(self._pace)
            asked = [self._next() for _ in range(PIPELINED if chance.random() < PIPELINES else 1)]
            with suppress(OSError):  # whoever can't send may still be answered
                writer.write(b"".join(one.request() for one in asked))
            if chance.random() < LEAVES:
                self.outcome.counts["left"] += len(asked)
                return
            for answered, one in enumerate(asked):
                if not await self._answer(one, reader):
                    self.outcome.counts["cut"] += len(asked) - answered - 1
                    return

    def _next(self) -> Asking:
        number, self._begun = self._begun, self._begun + 1
        one = asking(self._seed, number)
        if not one.repeatable:
            self.outcome.not_repeatable.add(number)
        return one

    async def _answer(self, one: Asking, reader: asyncio.StreamReader) -> bool:
        """Judge the answer; whether the connection goes on."""
        try:
            async with asyncio.timeout(PATIENCE):
                first, fields = await read_head(reader)
                body = await read_body(reader, fields)
        except TimeoutError:
            self.outcome.wrong.append(f"{one.number} was not answered within {PATIENCE:g} s")
            return False
        except (OSError, asyncio.IncompleteReadError):
            self.outcome.counts["cut"] += 1
            return False
        status = first.split(b" ")[1]
        fault = one.fault_in(fields, body) if status == b"200" else ""
        if fault or (status != b"200" and (status not in ERRORS or b"proxy-status" not in fields)):
            self.outcome.wrong.append(fault or f"{one.number} got {first!r} {fields!r}")
            return False
        self.outcome.counts["right" if status == b"200" else status.decode()] += 1
        return fields.get(b"connection") != b"close"


async def _leave(writer: asyncio.StreamWriter, *, gently: bool) -> None:
    """End a connection, with a goodbye or without."""
    if gently:
        writer.close()
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), GOODBYE)
    writer.transport.abort()


def as_many(count: int) -> Callable[[int], bool]:
    """Go on until so many have been begun."""
    return lambda begun: begun < count


def for_seconds(seconds: float) -> Callable[[int], bool]:
    """Go on for so long."""
    end = time.monotonic() + seconds
    return lambda _: time.monotonic() < end


def sent_twice(record: list[int], outcome: Outcome) -> list[int]:
    """The requests that reached the app more than once, and may not."""
    counts = Counter(record)
    return [number for number in sorted(outcome.not_repeatable) if counts[number] > 1]
