"""A well-behaved client: asks at a steady pace, on connections that it keeps and on new ones, and takes the time.

A request's time runs from when it was due, so that one that had to wait for others counts for all its waiting.
"""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from tests.reliability.asking import Asking
from tests.reliability.messages import read_body, read_head

KEPT = 4
PERIOD = 0.02
"""Seconds between two requests of a kept connection."""
NEW_PERIOD = 0.1
PATIENCE = 8.0


@dataclass
class Times:
    """Seconds of each request, and what was no right answer."""

    kept: list[float] = field(default_factory=list)
    new: list[float] = field(default_factory=list)
    """From the connection's begin to the answer's end."""
    failures: list[str] = field(default_factory=list)


def percentile(times: list[float], share: float) -> float:
    """The time that so large a share of them does not exceed."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


class Victim:
    """Asks through a port over TLS, from `begin` to `end`."""

    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        self.times = Times()
        """Where times are put; may be replaced at any moment."""
        self._port, self._trust = port, trust
        self._number = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._open: set[asyncio.StreamWriter] = set()

    async def begin(self, renewing: bool) -> None:
        """Connect and begin to ask, on new connections too if it is `renewing`."""
        for number in range(KEPT):
            connection = await self._connect()
            self._tasks.append(asyncio.create_task(self._keep(connection, number * PERIOD / KEPT)))
        if renewing:
            self._tasks.append(asyncio.create_task(self._renew()))

    async def end(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._open:
            writer.transport.abort()
        await asyncio.sleep(0)

    @contextmanager
    def taking_times(self) -> Iterator[Times]:
        """What is answered within the block, by itself."""
        before, self.times = self.times, Times()
        try:
            yield self.times
        finally:
            self.times = before

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._trust, server_hostname="localhost"
        )
        self._open.add(writer)
        return reader, writer

    def _close(self, writer: asyncio.StreamWriter) -> None:
        self._open.discard(writer)
        writer.transport.abort()

    async def _keep(self, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], offset: float) -> None:
        due = monotonic() + offset
        while True:
            due += PERIOD
            await asyncio.sleep(due - monotonic())
            try:
                await self._ask(*connection)
            except (OSError, EOFError, AssertionError, TimeoutError) as error:
                self.times.failures.append(f"on a kept connection: {error!r}")
                self._close(connection[1])
                connection = await self._connect()
            self.times.kept.append(monotonic() - due)

    async def _renew(self) -> None:
        due = monotonic()
        while True:
            due += NEW_PERIOD
            await asyncio.sleep(due - monotonic())
            try:
                async with asyncio.timeout(PATIENCE):
                    reader, writer = await self._connect()
                    await self._ask(reader, writer)
                    self._close(writer)
            except (OSError, EOFError, AssertionError, TimeoutError) as error:
                self.times.failures.append(f"on a new connection: {error!r}")
            self.times.new.append(monotonic() - due)

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._number += 1
        one = Asking(self._number, "GET", None, 300, chunked=False, answered_chunked=False)
        writer.write(one.request())
        async with asyncio.timeout(PATIENCE):
            first, fields = await read_head(reader)
            body = await read_body(reader, fields)
        assert first.startswith(b"HTTP/1.1 200 "), first
        assert not one.fault_in(fields, body), one.fault_in(fields, body)
