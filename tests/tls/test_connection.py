"""tlsproxy/tls/connection.py, on loopback: what stands above it is told the truth, and so is the client."""

import asyncio
import contextlib
import ctypes
import functools
import gc
import itertools
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from time import monotonic
from typing import Concatenate, ParamSpec

import pytest
import uvloop

from tests.tls.material import NOW, Issued, Request, key, material, trusting, until
from tlsproxy.tls.certificate import check
from tlsproxy.tls.connection import Acceptor, Connection
from tlsproxy.tls.context import build

P = ParamSpec("P")
ISSUED = Request(key=key("secp256r1")).issue()
OTHER = Request(key=key("secp256r1")).issue()
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
WITHIN = 5.0
HANDSHAKE_TIMEOUT, CLOSE_TIMEOUT, LINGER = 10, 20, 2
PLAIN = b"HTTP/1.1 400 Bad Request\r\n\r\nHTTPS, please\n"
MEGABYTE = 1 << 20
MORE_THAN_FITS = bytes(12 * MEGABYTE)  # into the kernel's buffers, for a client that does not read
AES_128_SHA, TLS_NULL = 0x002F, 0x0000
REASONS = {
    *("bad_certificate", "certificate_required", "no_shared_cipher", "no_shared_group", "no_shared_signature"),
    *("not_tls", "other", "plain_http", "refused_by_client", "reset", "timeout", "unknown_ca", "unsupported_protocol"),
}


def context(issued: Issued = ISSUED) -> ssl.SSLContext:
    return build(check(material(*issued.pair), NOW), "intermediate")


def trustful(version: ssl.TLSVersion = V13, issued: Issued = ISSUED) -> ssl.SSLContext:
    client = trusting(issued.certificate)
    client.minimum_version = client.maximum_version = version
    return client


def client_hello(version: int, cipher: int) -> bytes:
    """A ClientHello without extensions."""
    body = struct.pack(">H32xBHHBB", version, 0, 2, cipher, 1, 0)
    return b"\x16\x03\x01" + struct.pack(">H", len(body) + 4) + b"\1" + len(body).to_bytes(3, "big") + body


class Upper(asyncio.Protocol):
    """What stands above: it writes down what it is told, data last, and does on data what the test wants."""

    def __init__(self, scene: "Scene") -> None:
        self.scene = scene
        self.told: list[str] = []
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
        return self.scene.keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")
        self.lost_with = exc

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")


class Client:
    """A TLS client whose records the test holds in its hands."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tls: ssl.SSLContext) -> None:
        self.reader, self.writer = reader, writer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = tls.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.ended = ""

    async def raw(self) -> bytes:
        """What comes, encrypted; b"" at the end, and `ended` says which."""
        try:
            data = await asyncio.wait_for(self.reader.read(1 << 16), WITHIN)
        except ConnectionError:
            data, self.ended = b"", "reset"
        self.ended = self.ended or ("" if data else "fin")
        return data

    async def raw_rest(self) -> bytes:
        return b"".join([piece async for piece in _pieces(self.raw)])

    async def flight(self) -> bytes:
        """What the client has to say next in its handshake; b"" when all has been said."""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLCertVerificationError):
            self.tls.do_handshake()
        return self.outgoing.read()

    async def shake(self) -> bytes:
        """The handshake, but for the last flight, which is returned."""
        self.writer.write(await self.flight())
        while not (last := await self.flight()):
            self.incoming.write(await self.raw())
        return last

    def seal(self, data: bytes, record: int = 1 << 14) -> bytes:
        for start in range(0, len(data), record):
            self.tls.write(data[start : start + record])
        return self.outgoing.read()

    def goodbye(self) -> bytes:
        """close_notify."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        return self.outgoing.read()

    async def read(self) -> bytes:
        while True:
            try:
                if data := self.tls.read(1 << 16):
                    return data
            except ssl.SSLWantReadError:
                if data := await self.raw():
                    self.incoming.write(data)
                    continue
                return b""
            except ssl.SSLZeroReturnError:
                pass
            self.ended = "close_notify"
            return b""

    async def rest(self) -> bytes:
        """All until the end; after close_notify FIN must follow."""
        data = b"".join([piece async for piece in _pieces(self.read)])
        if self.ended == "close_notify":
            assert await self.raw() == b""
        return data

    def reset(self) -> None:
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def _pieces(read: Callable[[], Coroutine[None, None, bytes]]) -> AsyncIterator[bytes]:
    while piece := await read():
        yield piece


class Scene:
    """A port with an acceptor, and its clients."""

    def __init__(self, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.loop_factory = loop_factory
        self.context = context()
        self.acceptor = Acceptor(
            lambda: self.context,
            handshake_timeout=HANDSHAKE_TIMEOUT,
            close_timeout=CLOSE_TIMEOUT,
            plain_answer=PLAIN,
        )
        self.on_data: Callable[[Connection], None] = lambda _: None
        self.keep_open = True
        self.connections: list[Connection] = []
        self.uppers: list[Upper] = []
        self.clients: list[Client] = []
        self.errors: list[dict[str, object]] = []

    def make_upper(self) -> Upper:
        self.uppers.append(Upper(self))
        return self.uppers[-1]

    def make_connection(self) -> Connection:
        self.connections.append(self.acceptor.connection(self.make_upper))
        return self.connections[-1]

    async def play(self, test: Coroutine[None, None, None]) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, error: self.errors.append(error))
        server = await loop.create_server(self.make_connection, "127.0.0.1", 0)
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
        assert self.errors == []

    async def plain(self, tls: ssl.SSLContext | None = None) -> Client:
        """A client that has said nothing yet."""
        self.clients.append(Client(*await asyncio.open_connection("127.0.0.1", self.port), tls or trustful()))
        await until(lambda: len(self.connections) == len(self.clients))
        return self.clients[-1]

    async def client(self, tls: ssl.SSLContext | None = None) -> tuple[Client, Upper]:
        """A client after its handshake, and what stands above at the other end."""
        client, known = await self.plain(tls), len(self.uppers)
        client.writer.write(await client.shake())
        await until(lambda: len(self.uppers) > known)
        return client, self.uppers[-1]

    def later(self, seconds: float) -> None:
        self.acceptor.sweep(monotonic() + seconds)


async def turns(count: int = 20) -> None:
    """Let the loop run for long enough for what is on its way on loopback."""
    for _ in range(count):
        await asyncio.sleep(0)


def staged(
    test: Callable[Concatenate[Scene, P], Coroutine[None, None, None]],
) -> Callable[Concatenate[Scene, P], None]:
    """Play the test in the scene's loop; what the loop had to report fails it, and so does an end not told once."""

    @functools.wraps(test)
    def run(scene: Scene, *args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=scene.loop_factory) as runner:
            runner.run(scene.play(test(scene, *args, **kwargs)))

    return run


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(request.param)


both_versions = pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])

# ---------------------------------------------------------------------------- what comes
