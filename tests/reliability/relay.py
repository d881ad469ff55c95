"""A TCP relay that does harm: by a plan for each connection, made from a seed, so that a run can be had again.

Knows bytes and connections, and nothing of HTTP.
"""

import asyncio
import random
import socket
import struct
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Self

CROWD = 1024
PIECE = 65536
CRUMBS = 200
"""Bytes that a split passes in crumbs."""
CRUMB = 7
"""The most bytes of one."""
LONGEST = 0.03
"""Seconds of a delay."""
HARMLESS = 3
"""The most harmless faults before one that is not."""
SPREAD = (8, 21)
"""Offsets are below two to a power of these, each as likely as the others: heads are hit as well as long bodies."""


class Kind(Enum):
    """What can be done to a connection; the first two leave it whole."""

    DELAY = "delay"
    SPLIT = "split"
    CUT = "cut"
    RESET = "reset"
    HALF_CLOSE = "half-close"
    STALL = "stall"


# A stall costs whoever waits for it a whole deadline: it is the rarest.
_HARM = {Kind.CUT: 20, Kind.RESET: 20, Kind.HALF_CLOSE: 12, Kind.STALL: 1}


@dataclass(frozen=True)
class Fault:
    """What happens to one direction of a connection after so many bytes of it."""

    offset: int
    kind: Kind
    seconds: float = 0.0


@dataclass(frozen=True)
class Plan:
    """The faults of one connection, by direction, each in the order of their offsets."""

    to_app: tuple[Fault, ...]
    to_client: tuple[Fault, ...]


def plan(seed: int, number: int) -> Plan:
    """What is done to the connection of that number; always the same for the same two."""
    chance = random.Random(f"{seed}/{number}")  # noqa: S311  no secret
    return Plan(_faults(chance), _faults(chance))


def _faults(chance: random.Random) -> tuple[Fault, ...]:
    harmless = [
        Fault(_offset(chance), chance.choice((Kind.DELAY, Kind.SPLIT)), chance.uniform(0, LONGEST))
        for _ in range(chance.randrange(HARMLESS + 1))
    ]
    (harm,) = chance.choices(list(_HARM), list(_HARM.values()))
    end = Fault(_offset(chance), harm)
    before = sorted((fault for fault in harmless if fault.offset < end.offset), key=lambda fault: fault.offset)
    return (*before, end)


def _offset(chance: random.Random) -> int:
    return chance.randrange(1 << chance.randint(*SPREAD))


class Relay:
    """Relays connections from a port of its own to another one, and does to each what its plan says."""

    def __init__(self, app_port: int, seed: int) -> None:
        self.port = 0
        self.done: Counter[Kind] = Counter()
        """How often each fault has come to pass."""
        self.connections = 0
        self._app_port = app_port
        self._seed = seed
        self._under_way: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=CROWD)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in tuple(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        number, self.connections = self.connections, self.connections + 1
        try:
            await self._relay(plan(self._seed, number), reader, writer)
        except OSError:
            pass
        except asyncio.CancelledError:
            pass  # the relay ends
        finally:
            writer.close()
            self._under_way.discard(task)

    async def _relay(self, faults: Plan, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        app_reader, app_writer = await asyncio.open_connection("127.0.0.1", self._app_port)
        directions = (
            asyncio.ensure_future(self._pass(faults.to_app, reader, app_writer)),
            asyncio.ensure_future(self._pass(faults.to_client, app_reader, writer)),
        )
        try:
            await asyncio.gather(*directions)
        except _ResetError:
            for one in (writer, app_writer):
                _reset(one)
        except (_CutError, OSError):
            pass
        finally:
            for direction in directions:
                direction.cancel()
            app_writer.close()

    async def _pass(
        self, faults: tuple[Fault, ...], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass on what comes in one direction until it ends, as it does or as a fault has it."""
        passed = 0
        for fault in faults:
            while passed < fault.offset:
                data = await reader.read(min(PIECE, fault.offset - passed))
                if not data:
                    _finish(writer)
                    return
                _write(writer, data)
                await writer.drain()
                passed += len(data)
            self.done[fault.kind] += 1
            passed += await self._harm(fault, reader, writer)

    async def _harm(self, fault: Fault, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        """Do it; returns how many bytes have passed meanwhile."""
        if fault.kind is Kind.CUT:
            raise _CutError
        if fault.kind is Kind.RESET:
            raise _ResetError
        if fault.kind is Kind.SPLIT:
            return await _crumble(reader, writer)
        if fault.kind is Kind.DELAY:
            await asyncio.sleep(fault.seconds)
            return 0
        if fault.kind is Kind.HALF_CLOSE:
            _finish(writer)
        # What else comes in this direction goes nowhere.
        while await reader.read(PIECE):
            pass
        return 0


class _CutError(Exception):
    """Both directions end."""


class _ResetError(Exception):
    """Both directions end with RST."""


async def _crumble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    passed = 0
    while passed < CRUMBS and (data := await reader.read(CRUMB)):
        _write(writer, data)
        await asyncio.sleep(0)
        passed += len(data)
    return passed


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    if writer.is_closing():
        raise _CutError  # uvloop would call it a RuntimeError
    writer.write(data)


def _finish(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, RuntimeError):  # it is closed already
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
