"""What lies in a socket whose writes fail."""

import asyncio
import socket
from collections.abc import Callable
from typing import cast

import pytest
import uvloop

from tests.proxy.loopback import until
from tlsproxy.proxy.app_reads import READ_SIZE, buffer, last_words

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


class Writer(asyncio.Protocol):
    """Writes to who does not listen, and reads only when that has failed."""

    def __init__(self) -> None:
        self.heard: list[bytes] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.heard = [bytes(buffer[:size]) for size in last_words(self.transport)]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)


async def heard_of(said: bytes) -> bytes:
    """What is heard of an app that says this and hangs up on what is being written."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        _, writer = await asyncio.get_running_loop().create_connection(Writer, "127.0.0.1", port)
        theirs, _ = listener.accept()
    # uvloop forgets a pause within connection_made.
    writer.transport.pause_reading()
    with theirs:
        theirs.sendall(said)
    for _ in range(1000):
        if writer.transport.is_closing():
            break
        writer.transport.write(b"x" * 1000)
        await asyncio.sleep(0)
    await until(lambda: writer.heard is not None)
    assert writer.heard is not None
    assert all(0 < len(piece) <= READ_SIZE for piece in writer.heard[:-1])
    return b"".join(writer.heard)


@pytest.mark.parametrize("loop_factory", LOOPS)
@pytest.mark.parametrize("size", [0, 1, READ_SIZE, READ_SIZE + 1])
def test_all_of_it_is_read(loop_factory: Callable[[], asyncio.AbstractEventLoop], size: int) -> None:
    """Whatever lies there is read, in pieces of the buffer's size."""
    said = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(heard_of(said)) == said


def test_a_socket_that_is_closed_says_nothing() -> None:
    """An error in reading is the end of it."""

    async def scene() -> list[int]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", port)
            transport.abort()
            await until(lambda: transport.get_extra_info("socket").fileno() < 0)
            return list(last_words(transport))

    assert asyncio.run(scene()) == []
