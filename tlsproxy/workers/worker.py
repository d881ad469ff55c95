"""A worker: a process that serves clients, and does what the supervisor says.

It has no admin port, no watch on files and no signals of its own: all that comes over its channel. When that ends
without having said so, there is no supervisor any more, and it ends at once.
"""

import asyncio
import logging
import pickle
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tlsproxy import assembly
from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.life import loop_factory, settle_memory
from tlsproxy.chassis.measures import Measure
from tlsproxy.chassis.signals import dump_stacks
from tlsproxy.chassis.turns import Turns
from tlsproxy.serving import Serving
from tlsproxy.tls.catalogue import Catalogue, Supply
from tlsproxy.workers import messages
from tlsproxy.workers.channel import Channel, open_channel
from tlsproxy.workers.messages import Task

if TYPE_CHECKING:
    from tlsproxy.settings import Settings

_logger = logging.getLogger("tlsproxy.workers")


class Supplied:
    """Certificates that come from the supervisor, which tells of them, too."""

    def __init__(self, settings: "Settings") -> None:
        self._supply = Supply({}, None)
        self.catalogue: Catalogue = assembly.supplied(settings, lambda: self._supply)

    def take(self, data: bytes) -> bool:
        """Serve this from here on; whether that is anything new."""
        self._supply = pickle.loads(data)  # noqa: S301  -- the supervisor has made it, of which this process is a fork
        # All there is to say of it has been said by the supervisor, but that it can't be served here.
        logging.disable(logging.ERROR)
        try:
            result = self.catalogue.load()
        finally:
            logging.disable(logging.NOTSET)
        if result.kind == "failed":
            _logger.error("a worker cannot serve what the supervisor has found good: %s", result.message)
        return result.changed


class WorkerTemplate:
    """What every worker is a fork of; a `nursery.Child`."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._certificates = Supplied(settings)
        self._turns = Turns()
        # Whatever it loads is loaded once, for all.
        self._loop_factory = loop_factory()

    def supply(self, data: bytes) -> None:
        """Take in what is served."""
        self._certificates.take(data)

    def live(self, task: object, sockets: Sequence[socket.socket]) -> int:
        """Serve until told to end."""
        assert isinstance(task, Task)
        end, *listening = sockets
        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            return runner.run(self._live(task, end, listening))

    async def _live(self, task: Task, end: socket.socket, listening: Sequence[socket.socket]) -> int:
        worker = Worker(self._settings, self._certificates, task, listening, await open_channel(end), self._turns)
        return await worker.run()


class Worker:
    """One worker, from its first order to its end."""

    def __init__(
        self,
        settings: "Settings",
        certificates: Supplied,
        task: Task,
        listening: Sequence[socket.socket],
        channel: Channel,
        turns: Turns,
    ) -> None:
        self._certificates = certificates
        self._channel = channel
        limits = replace(assembly.limits(settings), connections=task.connections, app_connections=task.app_connections)
        ports = _by_variable(task.ports, listening)
        catalogue = certificates.catalogue
        self._serving = Serving(settings, lambda: catalogue.context, limits, lambda _, variable: ports[variable], turns)
        self._told_to_end = asyncio.Event()
        self._linger = 0.0

    async def run(self) -> Exit:
        """Serve; returns the exit status."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, dump_stacks)
        sweep = loop.create_task(self._serving.sweep(), name="sweep")
        try:
            await self._serving.open()
            settle_memory()
            self._channel.send(messages.Serving())
            return await self._serve()
        finally:
            sweep.cancel()
            await self._serving.close()
            self._channel.send(await self._telling())
            await self._channel.close()

    async def _serve(self) -> Exit:
        """Until all is drained, told to stop at once, or there is no supervisor any more."""
        orders = asyncio.create_task(self._obey(), name="orders")
        drained = asyncio.create_task(self._drain(), name="drain")
        await asyncio.wait({orders, drained}, return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()
        if not orders.done():
            orders.cancel()
            return Exit.STOPPED
        return orders.result()

    async def _obey(self) -> Exit:
        try:
            while not isinstance(order := await self._channel.receive(), messages.Stop):
                await self._do(order)
        except EOFError:
            _logger.error("the supervisor has gone: stopping at once")  # noqa: TRY400 - the way in says nothing
            return Exit.FAILED
        return Exit.STOPPED

    async def _do(self, order: object) -> None:
        match order:
            case messages.Renew(supply):
                if self._certificates.take(supply):
                    self._serving.renew()
            case messages.Tell():
                self._channel.send(await self._telling())
            case messages.Leave(within):
                self._serving.leave(within)
            case messages.Drain(after):
                self._linger = after
                self._told_to_end.set()

    async def _drain(self) -> None:
        await self._told_to_end.wait()
        if self._linger:
            await self._serving.accept_no_more()
            self._serving.leave(self._linger)
            await asyncio.sleep(self._linger)
        await self._serving.drain()

    async def _telling(self) -> messages.Telling:
        serving = self._serving
        alive = await serving.live()
        return messages.Telling(alive.ok, await serving.status(), [*await serving.measures(), *_open_files()])


def _open_files() -> Iterator[Measure]:
    """What only the process itself may count, once it can't be looked into (tlsproxy/chassis/hardening.py)."""
    with suppress(OSError):
        count = sum(1 for _ in Path("/proc/self/fd").iterdir())
        yield Measure("process_open_fds", "gauge", "Open files.", (), {(): count})


def _by_variable(
    ports: Sequence[tuple[str, int]], listening: Sequence[socket.socket]
) -> Mapping[str, list[socket.socket]]:
    """The sockets of each port."""
    left = iter(listening)
    return {variable: list(islice(left, count)) for variable, count in ports}
