"""A port with an acceptor in the test's own loop, its clients, and what stands above each connection."""

import asyncio
import contextlib
import functools
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import ParamSpec

from tests.tls.material import NOW, Issued, Request, key, material, trusting, until
from tlsproxy.tls.checks import check
from tlsproxy.tls.connection import Acceptor, Connection
from tlsproxy.tls.context import build

P = ParamSpec("P")
WITHIN = 5.0
ISSUED = Request(key=key("secp256r1")).issue()
HANDSHAKE_TIMEOUT, CLOSE_TIMEOUT = 10, 20
PLAIN = b"HTTP/1.1 400 Bad Request\r\n\r\nHTTPS, please\n"


def serving(issued: Issued = ISSUED) -> ssl.SSLContext:
    return build(check(material(*issued.pair), NOW), "intermediate")


def trustful(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, issued: Issued = ISSUED) -> ssl.SSLContext:
    client = trusting(issued.certificate)
    client.minimum_version = client.maximum_version = version
    return client


class Upper(asyncio.Protocol):
    """What stands above: it writes down what it is told, and does on data what the test wants."""

    def __init__(self, scene: "Scene") -> None:
        self.scene = scene
        self.told: list[str] = []
        """All but data."""
        self.pieces: list[bytes] = []
        self.lost_with: Exception | None = None

    def __repr__(self) -> str:
        return "<Upper>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, Connection)
        self.transport = transport
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)
        self.scene.on_data(self.transport)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.told.count("eof") <= self.scene.keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")
        self.lost_with = exc

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    async def lost(self) -> list[str]:
        """Wait for the end; all that was told."""
        await until(lambda: "lost" in self.told, WITHIN)
        return self.told


class Client:
    """A TLS client whose records the test holds in its hands; `write` sends them."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], tls: ssl.SSLContext) -> None:
        self._reader, self.writer = streams
        self.write = self.writer.write
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = tls.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self.ended = ""
        """How the server ended it: close_notify, fin or reset."""

    def seal(self, data: bytes, record: int = 1 << 14) -> bytes:
        """Records of the data."""
        for start in range(0, len(data), record):
            self.tls.write(data[start : start + record])
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        """The record of close_notify."""
        with contextlib.suppress(ssl.SSLError):  # the answer is not waited for, nor what comes before it read
            self.tls.unwrap()
        return self._outgoing.read()

    def hello(self) -> bytes:
        """The handshake's first flight; what is done with it is the test's affair, and `shake` goes on from there."""
        assert not self._is_shaken()
        return self._outgoing.read()

    async def shake(self) -> bytes:
        """The handshake, but for what the client says last, which is returned: an alert if it refuses."""
        while not self._is_shaken():
            self.write(self._outgoing.read())
            raw = await self.raw()
            assert raw, self.ended
            self._incoming.write(raw)
        return self._outgoing.read()

    def _is_shaken(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLCertVerificationError:
            return True
        return True

    async def raw(self) -> bytes:
        """What comes next, encrypted; b"" at the end of the TCP connection."""
        try:
            data = await asyncio.wait_for(self._reader.read(1 << 16), WITHIN)
        except ConnectionError:
            data, self.ended = b"", "reset"
        self.ended = self.ended or ("" if data else "fin")
        return data

    async def read(self) -> bytes:
        """What comes next; b"" at the end."""
        while True:
            try:
                data = self.tls.read(1 << 16)
            except ssl.SSLWantReadError:
                if not (raw := await self.raw()):
                    return b""
                self._incoming.write(raw)
            except ssl.SSLZeroReturnError:
                data = b""
                break
            else:
                break
        if not data:
            self.ended = "close_notify"
        return data

    async def rest(self, read: Callable[[], Coroutine[None, None, bytes]] | None = None) -> bytes:
        """All until the end; behind close_notify there is nothing but FIN."""
        pieces = []
        while piece := await (read or self.read)():
            pieces.append(piece)
        assert await self.raw() == b""
        return b"".join(pieces)

    def reset(self) -> None:
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Scene:
    """A port and those on both sides of it; `loop_factory` makes the loop."""

    def __init__(self, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.loop_factory = loop_factory
        self.context = serving()
        self.acceptor = Acceptor(
            lambda: self.context,
            handshake_timeout=HANDSHAKE_TIMEOUT,
            close_timeout=CLOSE_TIMEOUT,
            plain_answer=PLAIN,
            ended=self._count_down,
        )
        self.open = 0
        """TCP connections that have begun and, by what the acceptor was told, not ended."""
        self.on_data: Callable[[Connection], None] = lambda _: None
        self.keep_open: int = 1
        """How many ends those above stay open through."""
        self.clients: list[Client] = []
        self.connections: list[Connection] = []
        self.uppers: list[Upper] = []
        self.errors: list[dict[str, object]] = []

    def _count_up(self) -> asyncio.Protocol:
        self.open += 1
        return self._make_connection()

    def _count_down(self) -> None:
        self.open -= 1

    def _make_connection(self) -> asyncio.Protocol:
        self.connections.append(self.acceptor.connection(self._make_upper))
        return self.connections[-1]

    def _make_upper(self) -> Upper:
        self.uppers.append(Upper(self))
        return self.uppers[-1]

    async def play(self, test: Coroutine[None, None, None]) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, error: self.errors.append(error))
        server = await loop.create_server(self._count_up, "127.0.0.1", 0)
        self.port: int = server.sockets[0].getsockname()[1]
        try:
            await test
        finally:
            server.close()
            for client in self.clients:
                client.writer.transport.abort()
            for connection in self.connections:
                connection.abort()
            await until(lambda: not self.acceptor.timed and all("lost" in upper.told for upper in self.uppers))
        assert [upper.told.count("lost") for upper in self.uppers] == [1] * len(self.uppers)
        await until(lambda: self.open == 0)
        assert self.errors == []

    async def arrive(self, tls: ssl.SSLContext | None = None) -> tuple[Client, Connection]:
        """A client that has said nothing yet, and the other end."""
        known = len(self.connections)
        self.clients.append(Client(await asyncio.open_connection("127.0.0.1", self.port), tls or trustful()))
        await until(lambda: len(self.connections) > known)
        return self.clients[-1], self.connections[-1]

    async def connect(self, tls: ssl.SSLContext | None = None) -> tuple[Client, Upper]:
        """A client after its handshake, and what stands above at the other end."""
        known, (client, _) = len(self.uppers), await self.arrive(tls)
        client.write(await client.shake())
        await until(lambda: len(self.uppers) > known)
        return client, self.uppers[-1]

    def later(self, seconds: float) -> None:
        """Sweep as if so many seconds had passed."""
        self.acceptor.sweep(monotonic() + seconds)


async def turns(count: int = 20) -> None:
    """Let the loop run for long enough for what is on its way on loopback."""
    for _ in range(count):
        await asyncio.sleep(0)


def staged(test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    """Play the test in its scene: what the loop has to report fails it, and so does an end that is not told once."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        scene = kwargs["scene"]
        assert isinstance(scene, Scene)
        with asyncio.Runner(loop_factory=scene.loop_factory) as runner:
            runner.run(scene.play(test(*args, **kwargs)))

    return run
