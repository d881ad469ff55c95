"""The whole way through the proxy in memory: a front, exchanges, a pool and connections to the app, without sockets.

All of it is the proxy's own but what the kernel would do: transports that gather what is written, and an app that
answers each request that llhttp finds whole. One passage costs a fifth of a millisecond, so that a message can be cut
at each of its bytes, and millions of them tried.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import httptools

from tests.proxy.loopback import Lines
from tlsproxy.chassis.app_address import AppAddress
from tlsproxy.proxy.app_reads import view
from tlsproxy.proxy.exchange import Service
from tlsproxy.proxy.fixes import Fixes
from tlsproxy.proxy.forwarding import Forwarding
from tlsproxy.proxy.front import Frontend
from tlsproxy.proxy.journal import Journal
from tlsproxy.proxy.limits import Limits, Timeouts
from tlsproxy.proxy.pool import Pool
from tlsproxy.proxy.server import Server
from tlsproxy.proxy.tally import Tally
from tlsproxy.proxy.upstream import Upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Answer = Callable[[bytes], Sequence[bytes]]
"""What the app says to a request with that target, piece by piece."""


class Wire(asyncio.Transport):
    """One end of a connection: what is written to it is kept."""

    def __init__(self, quiet: socket.socket) -> None:
        super().__init__({"peername": ("192.0.2.7", 40000), "socket": quiet})
        self.written = bytearray()
        self.protocol: asyncio.BaseProtocol
        self.ended = ""
        """`close`, `abort`, or empty."""
        self.finished = False
        """Whether it was told that no more will be written."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.finished, "written behind the end"
        if not self.ended:
            self.written += data

    def write_eof(self) -> None:
        self.finished = True

    def close(self) -> None:
        self.ended = self.ended or "close"

    def abort(self) -> None:
        self.ended = "abort"

    def is_closing(self) -> bool:
        return bool(self.ended)

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


class App:
    """The app's end of one connection: it answers each request that is whole."""

    def __init__(self, wire: Wire, upstream: Upstream, answer: Answer) -> None:
        self.wire = wire
        self._upstream = upstream
        self._answer = answer
        self._read = 0
        self._target = b""
        self._due: list[bytes] = []
        self._lost = False
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self._target = b""

    def on_url(self, piece: bytes) -> None:
        self._target += piece

    def on_message_complete(self) -> None:
        self._due.append(self._target)

    def forget(self) -> None:
        """Forget what has come."""
        self.wire.written.clear()
        self._read = 0

    def hear(self) -> bool:
        """Read what has come and answer; whether anything was said."""
        data = bytes(self.wire.written[self._read :])
        self._read = len(self.wire.written)
        if data and self._parser is not None:
            self._listen(data)
        due, self._due = self._due, []
        for target in due:
            for piece in self._answer(target):
                if not self.wire.ended:
                    self._say(piece)
        if self.wire.ended and not self._lost:
            self._lost = True
            self.wire.protocol.connection_lost(None)
            return True
        return bool(due)

    def _listen(self, data: bytes) -> None:
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._parser = httptools.HttpRequestParser(self)
        except httptools.HttpParserError:
            # What it has got is judged at the end.
            self._parser = None

    def _say(self, piece: bytes) -> None:
        protocol = self.wire.protocol
        if not piece:
            if not self.wire.protocol.eof_received():  # type: ignore[attr-defined]  # both kinds of protocol have it
                self.wire.close()
        elif protocol is self._upstream:
            view[: len(piece)] = piece
            self._upstream.buffer_updated(len(piece))
        else:
            cast("asyncio.Protocol", protocol).data_received(piece)


@dataclass
class Outcome:
    """What became of what a client has sent."""

    client: Wire
    requests: dict[App, bytes]
    """What each connection to the app that was used has carried."""

    @property
    def answered(self) -> bytes:
        """All that the client got."""
        return bytes(self.client.written)


@dataclass
class Passage:
    """Serves one client after the other over the connections of one pool."""

    frontend: Frontend
    server: Server
    pool: Pool
    loop: asyncio.AbstractEventLoop
    quiet: socket.socket
    lines: Lines
    answer: Answer = lambda _: (OK,)
    apps: list[App] = field(default_factory=list)
    """Those whose connections have not ended."""

    def send(self, pieces: Sequence[bytes]) -> Outcome:
        """Send the pieces over a connection of its own, each heard and answered before the next."""
        return self.loop.run_until_complete(self._send(pieces))

    async def _send(self, pieces: Sequence[bytes]) -> Outcome:
        wire = Wire(self.quiet)
        front = wire.protocol = self.frontend.front(self.server)
        front.connection_made(wire)
        for app in self.apps:
            app.forget()
        for piece in pieces:
            if wire.ended:
                break
            if not self.pool.count()["idle"]:
                # So that none has to be opened, which costs a task.
                self._offer(await self.connect())
            cast("asyncio.Protocol", wire.protocol).data_received(piece)
            await self._settle()
        cast("asyncio.Protocol", wire.protocol).connection_lost(None)
        await self._settle()
        self.lines.ended.clear()
        used, self.apps = self.apps, [app for app in self.apps if not app.wire.ended]
        return Outcome(wire, {app: bytes(app.wire.written) for app in used if app.wire.written})

    async def connect(self) -> Upstream:
        """A connection to the app, as the pool would open it."""
        wire = Wire(self.quiet)
        upstream = wire.protocol = Upstream(self.pool)
        upstream.connection_made(wire)
        self.apps.append(App(wire, upstream, self.answer))
        return upstream

    def _offer(self, upstream: Upstream) -> None:
        """Let it be one that has been idle."""
        self.pool._lending.idle[upstream] = None
        upstream.idle_since = 0.1

    async def _settle(self) -> None:
        """Let the app answer, and what waits for its turn have it, until nothing moves."""
        moved = True
        while moved:
            said = [app.hear() for app in self.apps]
            moved = any(said) or bool(self.loop._ready)  # type: ignore[attr-defined]  # a turn costs more than to look
            if moved:
                await asyncio.sleep(0)


@contextmanager
def passage(answer: Answer = lambda _: (OK,), limits: Limits | None = None) -> Iterator[Passage]:
    """A proxy in memory, with default settings, and an app that answers so."""
    loop = asyncio.new_event_loop()
    quiet, other = socket.socketpair()
    limits, timeouts = limits or Limits(), Timeouts(app_wait=0)
    lines = Lines()
    journal = Journal(Tally(), lines)
    pool = Pool(AppAddress("127.0.0.1", 9), limits, timeouts, journal.tally)
    frontend = Frontend(Service(pool, Fixes(), timeouts, journal), Forwarding(), limits, timeouts, journal, loop)
    try:
        made = Passage(frontend, loop.run_until_complete(_served(frontend)), pool, loop, quiet, lines, answer)
        pool._connect = made.connect  # type: ignore[method-assign]  # what the kernel does is done here
        yield made
    finally:
        loop.close()
        quiet.close()
        other.close()


async def _served(frontend: Frontend) -> Server:
    return Server(frontend.front)
