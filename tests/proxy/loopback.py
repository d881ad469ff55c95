"""A proxy on loopback in the test's own loop: real sockets on both sides, an app that the test plays."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

from tlsproxy.chassis.app_address import AppAddress
from tlsproxy.proxy.exchange import Service
from tlsproxy.proxy.fixes import Fixes
from tlsproxy.proxy.forwarding import Forwarding
from tlsproxy.proxy.front import Answering, Frontend
from tlsproxy.proxy.journal import Journal, Record
from tlsproxy.proxy.limits import Limits, Timeouts
from tlsproxy.proxy.pool import Pool
from tlsproxy.proxy.server import Server
from tlsproxy.proxy.tally import Tally

WITHIN = 5.0


async def until(condition: Callable[[], object], seconds: float = WITHIN) -> None:
    """Let the loop run until something is true; AssertionError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.001)


async def turns(count: int = 20) -> None:
    """Let the loop run for a while: long enough for what is on its way on loopback."""
    for _ in range(count):
        await asyncio.sleep(0)


class Wire:
    """One end of a connection, a client's or an app's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *pieces: bytes) -> None:
        self.writer.write(b"".join(pieces))

    async def head(self) -> bytes:
        """The next head, with its empty line."""
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), WITHIN)

    async def exactly(self, count: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(count), WITHIN)

    async def rest(self) -> bytes:
        """Everything until the end; a reset is an end as well."""
        pieces = []
        with contextlib.suppress(ConnectionError):
            while piece := await asyncio.wait_for(self.reader.read(1 << 16), WITHIN):
                pieces.append(piece)
        return b"".join(pieces)

    def end(self) -> None:
        """Send no more, and read on."""
        self.writer.write_eof()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class Lines:
    """Takes the place of the request log; who looks sees all that is over."""

    settle: Callable[[], None] = field(default=lambda: None)
    _ended: list[tuple[Record, str]] = field(default_factory=list)

    def add(self, records: Sequence[Record]) -> None:
        self._ended += [(record, record.reason) for record in records]

    @property
    def ended(self) -> list[tuple[Record, str]]:
        """Each request that is over, with the reason."""
        self.settle()
        return self._ended

    @property
    def told(self) -> list[tuple[int, str]]:
        """Status and reason of each request that is over."""
        return [(record.status, reason) for record, reason in self.ended]


@dataclass
class Scene:
    """A server, the app behind it, and its clients."""

    server: Server
    pool: Pool
    journal: Journal
    lines: Lines
    port: int
    app: "asyncio.Queue[Wire]"
    clients: list[Wire] = field(default_factory=list)

    async def client(self) -> Wire:
        client = Wire(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        known = len(self.clients)
        await until(lambda: len(self.server.connections) >= min(known, 1))
        return client

    async def accept(self) -> Wire:
        """The app's end of the next connection to it."""
        return await asyncio.wait_for(self.app.get(), WITHIN)

    def later(self, seconds: float) -> None:
        """Sweep as if so many seconds had passed."""
        now = time.monotonic() + seconds
        self.server.sweep(now)
        self.pool.sweep(now)


class Plain(asyncio.Protocol):
    """What stands in place of TLS: its transport has taken what it is given when `write` returns, as TLS has."""

    def __init__(self, above: Callable[[], asyncio.Protocol]) -> None:
        self._above = above

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        upper = self._above()
        tcp = cast("asyncio.Transport", transport)
        tcp.set_protocol(upper)
        upper.connection_made(cast("asyncio.Transport", Copying(tcp)))


class Copying:
    """A transport that copies what it is to write."""

    def __init__(self, tcp: asyncio.Transport) -> None:
        self._tcp = tcp

    def __getattr__(self, name: str) -> object:
        return getattr(self._tcp, name)

    def write(self, data: bytes | memoryview) -> None:
        self._tcp.write(bytes(data))


@contextlib.asynccontextmanager
async def proxied(
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    fixes: Fixes | None = None,
    answering: Callable[[Journal], Answering] | None = None,
) -> AsyncIterator[Scene]:
    """A proxy without TLS; `answering` makes another service than that of exchanges."""
    loop = asyncio.get_running_loop()
    app: asyncio.Queue[Wire] = asyncio.Queue()
    wires: list[Wire] = []

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wires.append(Wire(reader, writer))
        app.put_nowait(wires[-1])

    limits, timeouts = limits or Limits(), timeouts or Timeouts(app_wait=0)
    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    lines = Lines()
    journal = Journal(Tally(), lines)
    lines.settle = journal.settle
    pool = Pool(AppAddress(*listener.sockets[0].getsockname()), limits, timeouts, journal.tally)
    service = answering(journal) if answering else Service(pool, fixes or Fixes(), timeouts, journal)
    server = Server(Frontend(service, Forwarding(), limits, timeouts, journal).front, Plain)
    front = await loop.create_server(server, "127.0.0.1", 0)
    scene = Scene(server, pool, journal, lines, front.sockets[0].getsockname()[1], app)
    try:
        yield scene
    finally:
        front.close()
        listener.close()
        server.cut()
        for wire in (*scene.clients, *wires):
            wire.writer.transport.abort()
        await until(lambda: not server.connections)
        await pool.close()
        await turns(5)
