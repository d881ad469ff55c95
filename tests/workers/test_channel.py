"""Messages over a pair of sockets, on real loops."""

import asyncio
import socket
from collections.abc import Callable, Coroutine

import pytest
import uvloop

from tlsproxy.workers.channel import open_channel

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[None, None, None]], None]:
    def run_in(scene: Coroutine[None, None, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(scene, 5))

    return run_in


def test_messages_come_whole_and_in_order(run: Callable[[Coroutine[None, None, None]], None]) -> None:
    """Of any kind and length, in both directions."""

    async def scene() -> None:
        one, other = [await open_channel(end) for end in socket.socketpair()]
        sent = [1, "two", b"\x00" * 1_000_000, {"four": (4,)}]
        for message in sent:
            one.send(message)
            other.send(message)
        assert [await other.receive() for _ in sent] == sent
        assert [await one.receive() for _ in sent] == sent
        await one.close()
        await other.close()

    run(scene())


def test_what_was_sent_before_the_end_comes(run: Callable[[Coroutine[None, None, None]], None]) -> None:
    """Then the end is told, and may be closed again."""

    async def scene() -> None:
        one, other = [await open_channel(end) for end in socket.socketpair()]
        one.send("last words")
        await one.close()
        await one.close()
        assert await other.receive() == "last words"
        with pytest.raises(EOFError):
            await other.receive()
        other.send("to nobody")
        await other.close()

    run(scene())


def test_a_message_that_is_cut_off_is_none(run: Callable[[Coroutine[None, None, None]], None]) -> None:
    """Whoever dies while it speaks has said nothing."""

    async def scene() -> None:
        ours, theirs = socket.socketpair()
        channel = await open_channel(ours)
        theirs.sendall(b"\x00\x00\x00\xff" + b"half")
        theirs.close()
        with pytest.raises(EOFError):
            await channel.receive()
        await channel.close()

    run(scene())
