"""What hostile and thoughtless clients do, each as a program that goes on until it is ended.

`python -m tests.reliability.attacks NAME PORT SCALE`; SCALE is how many connections it has at once. It says so when
they are there, gives way to others on its processor (nice), trusts any certificate, and looks at no answer more than
it must.
"""

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import uvloop

from bench.machine import allow_open_files
from tests.e2e.raw_client import TlsClient, get, reset

NICE = 20
BEGUN = "begun"
PAUSE = 0.5
"""Seconds between two words of a slow client."""
BURST = 100_000
"""Records of a burst."""
SMALLEST = 4096
"""Bytes of a slow reader's receive buffer."""
LONG_POST = b"POST /1/0/0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
PING = b"\x89\x84mask\x1d\x08\x1d\x0c"
"""A masked ping of four bytes (RFC 6455 section 5.5.2)."""


@dataclass(frozen=True)
class Target:
    """What is attacked, and by how many connections."""

    port: int
    scale: int


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


TRUST = _trusting()
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Course = Callable[[Target], Awaitable[None]]


async def _tls(target: Target) -> Connection:
    return await asyncio.open_connection("127.0.0.1", target.port, ssl=TRUST, server_hostname="localhost")


async def _tcp(target: Target) -> Connection:
    return await asyncio.open_connection("127.0.0.1", target.port)


def _hello(target: Target) -> bytes:
    """A ClientHello; each sending of it is a handshake of its own to the server."""
    with TlsClient(target.port, TRUST, handshake=False) as client:
        with suppress(ssl.SSLWantReadError):
            client.tls.do_handshake()
        return client.outgoing.read()


# ---------------------------------------------------------------------------- floods: each course over and over


def over_and_over(course: Course) -> Callable[[Target], None]:
    """The course on so many connections at once, each begun anew when it ends."""

    async def one(target: Target) -> None:
        while True:
            with suppress(OSError, EOFError, asyncio.LimitOverrunError):
                await course(target)

    async def all_of_them(target: Target) -> None:
        _say_begun()
        await asyncio.gather(*(one(target) for _ in range(target.scale)))

    return lambda target: uvloop.run(all_of_them(target))


async def handshake(target: Target) -> None:
    """A whole handshake, and away."""
    _, writer = await _tls(target)
    writer.transport.abort()


async def hello(target: Target) -> None:
    """A ClientHello made beforehand, which costs nobody but the server anything, and away."""
    reader, writer = await _tcp(target)
    writer.write(HELLO)
    await reader.read(1)
    writer.transport.abort()


async def garbage(target: Target) -> None:
    """Bytes that are no TLS."""
    reader, writer = await _tcp(target)
    writer.write(b"\x80" * 300)
    await reader.read(1)
    writer.transport.abort()


async def cancel(target: Target) -> None:
    """Ask, and go away with a reset before the answer can come."""
    _, writer = await _tls(target)
    writer.write(get("/1/70000/0"))
    await asyncio.sleep(0)
    with suppress(OSError):
        reset(writer.get_extra_info("socket").dup())
    writer.transport.abort()


async def large_heads(target: Target) -> None:
    """Heads of almost MAX_HEAD with hundreds of fields, one after the other, and then one above it."""
    reader, writer = await _tls(target)
    head = get("/1/0/0", *(f"X-{number}: {'x' * 90}" for number in range(290)))
    for _ in range(20):
        writer.write(head)
        await reader.readuntil(b"\r\n\r\n")
    writer.write(get("/1/0/0", "X: " + "x" * 40_000))
    await reader.read()


async def pipelines(target: Target) -> None:
    """Hundreds of requests in one write, over and over, and every answer read."""
    reader, writer = await _tls(target)
    requests = get("/1/0/0") * 300
    while True:
        writer.write(requests)
        await writer.drain()
        if not await reader.read(65536):
            return


async def unread_pipelines(target: Target) -> None:
    """The same, and no answer is ever read."""
    _, writer = await _tls(target)
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a transport that reads, which it is
    requests = get("/1/3000/0") * 300
    while True:
        writer.write(requests)
        await writer.drain()


async def small_chunks(target: Target) -> None:
    """A body without end, in chunks of one byte."""
    _, writer = await _tls(target)
    writer.write(b"POST /1/0/0 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\nx\r\n" * 2000)
        await writer.drain()


async def small_records(target: Target) -> None:
    """A request of which each byte is a TLS record."""
    reader, writer = await _tls(target)
    while True:
        for byte in get("/1/0/0"):
            writer.write(bytes((byte,)))
            await asyncio.sleep(0)
        if not await reader.read(65536):
            return


async def bursts(target: Target) -> None:
    """An upload of which each byte is a TLS record, 2.3 MB of them made beforehand and sent at once."""
    with TlsClient(target.port, TRUST) as client:
        client.send(b"POST /1/0/0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        client.socket.setblocking(False)
        for _ in range(BURST):
            client.tls.write(b"x")
        await asyncio.get_running_loop().sock_sendall(client.socket, client.outgoing.read())


async def pings(target: Target) -> None:
    """WebSocket pings as fast as they go."""
    reader, writer = await _tls(target)
    writer.write(get("/", "Connection: Upgrade", "Upgrade: websocket"))
    await reader.readuntil(b"\r\n\r\n")
    while True:
        writer.write(PING * 200)
        await writer.drain()
        if not await reader.read(65536):
            return


# ---------------------------------------------------------------------------- slow clients: a word now and then


def held(begin: Callable[[Target], TlsClient], go_on: Callable[[TlsClient], None]) -> Callable[[Target], None]:
    """So many connections that are begun once and go on with a word each `PAUSE`; who is turned away comes again."""

    def attack(target: Target) -> None:
        allow_open_files()
        clients: list[TlsClient] = []
        while True:
            while len(clients) < target.scale:
                with suppress(OSError, ssl.SSLError):
                    clients.append(begin(target))
            _say_begun()
            time.sleep(PAUSE)
            clients = [client for client in clients if _goes_on(client, go_on)]

    return attack


def _goes_on(client: TlsClient, go_on: Callable[[TlsClient], None]) -> bool:
    try:
        go_on(client)
    except OSError:
        client.close()
        return False
    return True


def _asking(request: bytes, receive_buffer: int | None = None) -> Callable[[Target], TlsClient]:
    def begin(target: Target) -> TlsClient:
        client = TlsClient(target.port, TRUST, receive_buffer=receive_buffer)
        client.send(request)
        return client

    return begin


def _half_a_hello(target: Target) -> TlsClient:
    client = TlsClient(target.port, TRUST, handshake=False)
    client.socket.sendall(HELLO[:60])
    return client


def _silent(target: Target) -> TlsClient:
    return TlsClient(target.port, TRUST, handshake=False)


def _idle(target: Target) -> TlsClient:
    return TlsClient(target.port, TRUST)


def _nothing(client: TlsClient) -> None:
    client.socket.setblocking(False)
    with suppress(BlockingIOError):
        if not client.socket.recv(1 << 16):
            raise ConnectionError


def _read_a_byte(client: TlsClient) -> None:
    client.socket.setblocking(False)
    with suppress(BlockingIOError):
        if not client.socket.recv(1):
            raise ConnectionError


# ---------------------------------------------------------------------------- programs of others


def commanding(letter: bytes, *options: str) -> Callable[[Target], None]:
    """`openssl s_client` that is told the same command without end: R renegotiates, K changes the keys."""

    def attack(target: Target) -> None:
        path = shutil.which("openssl")
        assert path is not None, "openssl is not installed"
        _say_begun()
        command = [path, "s_client", "-connect", f"127.0.0.1:{target.port}", "-quiet", "-no_ign_eof", *options]
        while True:
            client = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            assert client.stdin is not None
            with suppress(BrokenPipeError):
                while True:
                    client.stdin.write(letter + b"\n")
                    client.stdin.flush()
            client.kill()
            client.wait()

    return attack


def slowhttptest(*options: str) -> Callable[[Target], None]:
    """slowhttptest with these options, in place of this process."""

    def attack(target: Target) -> None:
        _say_begun()
        url = f"https://localhost:{target.port}/1/200000/0"
        count = str(target.scale)
        command = ["slowhttptest", *options, "-c", count, "-r", count, "-l", "100", "-p", "3", "-u", url]
        os.execvp(command[0], command)  # noqa: S606  # in place of this process: a shell would outlive its end

    return attack


def _say_begun() -> None:
    sys.stdout.write(f"{BEGUN}\n")
    sys.stdout.flush()


ATTACKS: Mapping[str, Callable[[Target], None]] = {
    "slow heads": held(_asking(b"GET / HTTP/1.1\r\nHost: localhost\r\n"), lambda client: client.send(b"X: x\r\n")),
    "slow bodies": held(_asking(LONG_POST), lambda client: client.send(b"x")),
    "slow readers": held(_asking(get("/1/2000000/0"), SMALLEST), _read_a_byte),
    "slowhttptest -H": slowhttptest("-H", "-i", "1"),
    "slowhttptest -B": slowhttptest("-B", "-i", "1", "-s", "100000"),
    "slowhttptest -X": slowhttptest("-X", "-w", "10", "-y", "20", "-n", "1", "-z", "32"),
    "half-open handshakes": held(_half_a_hello, _nothing),
    "silent connections": held(_silent, _nothing),
    "idle connections": held(_idle, _nothing),
    "handshakes": over_and_over(handshake),
    "hellos": over_and_over(hello),
    "garbage": over_and_over(garbage),
    "renegotiations": commanding(b"R", "-tls1_2"),
    "key updates": commanding(b"K", "-tls1_3"),
    "small records": over_and_over(small_records),
    "bursts of small records": over_and_over(bursts),
    "large heads": over_and_over(large_heads),
    "pipelines": over_and_over(pipelines),
    "unread pipelines": over_and_over(unread_pipelines),
    "small chunks": over_and_over(small_chunks),
    "WebSocket pings": over_and_over(pings),
    "cancelled requests": over_and_over(cancel),
}

if __name__ == "__main__":
    os.nice(NICE)
    attacked = Target(int(sys.argv[2]), int(sys.argv[3]))
    HELLO = _hello(attacked)
    ATTACKS[sys.argv[1]](attacked)
