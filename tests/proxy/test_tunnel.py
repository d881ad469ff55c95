"""Bytes both ways, on plain sockets: what tests/e2e/test_upgrade.py can not bring about at will."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.proxy.loopback import Scene, Wire, proxied, turns, until
from tests.proxy.test_front import run
from tlsproxy.proxy.limits import Timeouts
from tlsproxy.proxy.tunnel import End, Tunnel

OFFER = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
SWITCH = b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
TIMES = Timeouts(app_wait=0, tunnel=100, body=10)
MUCH = 16 << 20


@dataclass
class Open:
    """A tunnel and what is at both ends of it."""

    scene: Scene
    client: Wire
    app: Wire

    @property
    def tunnel(self) -> Tunnel:
        (tunnel,) = self.scene.server._connections
        assert isinstance(tunnel, Tunnel)
        return tunnel

    async def over(self) -> tuple[int, str]:
        """Status and reason of the line, once the tunnel is over."""
        await until(lambda: self.scene.lines.told)
        assert not self.scene.server.connections
        assert self.scene.journal.tally.tunnels == 0
        return self.scene.lines.told[0]


@asynccontextmanager
async def opened(timeouts: Timeouts = TIMES) -> AsyncIterator[Open]:
    async with proxied(timeouts=timeouts) as scene:
        client = await scene.client()
        client.send(OFFER)
        app = await scene.accept()
        await app.head()
        app.send(SWITCH)
        await client.head()
        assert scene.journal.tally.tunnels == 1
        yield Open(scene, client, app)


def test_both_sides_end_in_order() -> None:
    """Each end is passed on; when both have said all, the tunnel is over, and all bytes are counted."""

    async def scene() -> None:
        async with opened() as at:
            at.client.send(b"hello")
            assert await at.app.exactly(5) == b"hello"
            at.app.send(b"bye")
            at.app.end()
            assert await at.client.rest() == b"bye"
            at.client.send(b"!")
            at.client.end()
            assert await at.app.rest() == b"!"
            assert await at.over() == (101, "")
            ((record, _),) = at.scene.lines.ended
            assert (record.received, record.sent) == (6, 3)
            tally = at.scene.journal.tally
            assert (tally.received, tally.sent, tally.requests["GET", 101]) == (6, 3, 1)

    run(scene())


def test_silence_ends_it() -> None:
    """A sweep after the timeout ends both sides; a byte either way begins it anew, and keeps the counts up to date."""

    async def scene() -> None:
        async with opened() as at:
            at.scene.later(TIMES.tunnel - 1)
            at.app.send(b"x")
            assert await at.client.exactly(1) == b"x"
            at.scene.later(TIMES.tunnel - 1)
            assert at.scene.journal.tally.sent == 1
            at.scene.later(2 * TIMES.tunnel - 2)
            assert not at.scene.lines.told
            at.scene.later(2 * TIMES.tunnel)
            assert await at.client.rest() == b""
            assert await at.app.rest() == b""
            assert await at.over() == (101, "tunnel_timeout")

    run(scene())


def test_silence_may_last_for_ever() -> None:
    """A timeout of 0 is none."""

    async def scene() -> None:
        async with opened(Timeouts(app_wait=0, tunnel=0)) as at:
            at.scene.later(1e9)
            at.client.send(b"x")
            assert await at.app.exactly(1) == b"x"

    run(scene())


@pytest.mark.parametrize("timeout", [TIMES.tunnel, 0])
def test_what_is_left_for_one_side_has_a_bound(timeout: float) -> None:
    """When the client is gone, the app has a body's time to read what is left for it, whatever the tunnel's."""

    async def scene() -> None:
        async with opened(Timeouts(app_wait=0, tunnel=timeout, body=10)) as at:
            at.app.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a stream reads ahead on its own
            at.client.send(b"x" * MUCH)
            await until(lambda: at.tunnel.app.slow)
            at.tunnel.client.transport.close()
            await until(lambda: at.tunnel.client.lost)
            at.scene.later(0)
            at.scene.later(9)
            assert not at.scene.lines.told
            at.scene.later(11)
            assert await at.over() == (101, "tunnel_timeout")

    run(scene())


def test_the_client_is_slow_from_the_start() -> None:
    """A side whose transport is full when the tunnel opens holds the other, though it is not told again."""

    async def scene() -> None:
        async with opened() as at:
            at.client.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a stream reads ahead on its own
            at.app.send(b"x" * MUCH)
            await until(lambda: at.tunnel.client.slow)
            at.tunnel.client.pause_writing()
            held = at.tunnel.app.moved
            await turns()
            assert at.tunnel.app.moved == held < MUCH
            at.client.reader._transport.resume_reading()  # type: ignore[attr-defined]  # as above
            assert len(await at.client.exactly(MUCH)) == MUCH

    run(scene())


@pytest.mark.parametrize("side", ["client", "app"])
def test_a_reset_is_passed_on(side: str) -> None:
    """A side that breaks off takes the other with it, with a reset where it can be told from an end."""

    async def scene() -> None:
        async with opened() as at:
            here, there = (at.client, at.app) if side == "client" else (at.app, at.client)
            here.reset()
            assert await there.rest() == b""
            assert await at.over() == (101, "client_gone" if side == "client" else "app_reset")

    run(scene())


def test_an_end_may_meet_a_reset() -> None:
    """A client that ends when the app's reset waits to be read is cut when its turn has come, and not for its end."""

    async def scene() -> None:
        async with opened() as at:
            app = at.tunnel.app
            app.transport.pause_reading()
            at.app.reset()
            await turns()
            at.client.end()
            await until(lambda: app.other.spoken)
            await turns()
            assert not app.other.lost
            app.transport.resume_reading()
            assert await at.over() == (101, "app_reset")

    run(scene())


def test_nothing_is_left_of_it() -> None:
    """A tunnel that is over is freed at once, with the connections that it stood on, and not by a later collection."""

    async def scene() -> None:
        async with opened() as at:
            at.client.end()
            at.app.end()
            await at.over()
            await turns()
            gc.disable()
            try:
                assert not any(isinstance(left, Tunnel | End) for left in gc.get_objects())
            finally:
                gc.enable()

    run(scene())


def test_a_stop_is_told_of_at_once() -> None:
    """`stop` is followed by the end of the process: the line does not wait for a client who does not read."""

    async def scene() -> None:
        async with opened() as at:
            at.tunnel.stop()
            assert at.scene.lines.told == [(101, "draining")]
            assert at.scene.journal.tally.tunnels == 0
            assert await at.client.rest() == await at.app.rest() == b""
            assert len(at.scene.lines.told) == 1

    run(scene())


def test_cut_at_the_end_of_draining() -> None:
    """`stop` ends both sides at once."""

    async def scene() -> None:
        async with opened() as at:
            at.scene.server.pre_shutdown()
            at.client.send(b"x")
            assert await at.app.exactly(1) == b"x"
            at.scene.server.cut()
            assert await at.client.rest() == b""
            assert await at.app.rest() == b""
            assert await at.over() == (101, "draining")

    run(scene())


def test_the_last_word_of_an_app_that_is_gone() -> None:
    """A 101 that is read when the connection has failed leads to a tunnel that ends at once, not to one that hangs."""

    async def scene() -> None:
        async with proxied(timeouts=TIMES) as at:
            client = await at.client()
            client.send(OFFER)
            app = await at.accept()
            await app.head()
            (upstream,) = at.pool._lending.lent
            upstream.hold()
            app.send(SWITCH, b"bye")
            await turns()
            app.close()
            while not upstream._transport.is_closing():
                upstream.write(b"x" * 1000)
                await asyncio.sleep(0)
            assert (await client.head()).startswith(b"HTTP/1.1 101 x\r\n")
            assert await client.rest() == b"bye"
            await until(lambda: at.lines.told)

    run(scene())


def test_repr() -> None:
    """It says who and how much."""

    async def scene() -> None:
        async with opened() as at:
            at.client.send(b"abc")
            assert await at.app.exactly(3) == b"abc"
            assert "127.0.0.1: 3 bytes in, 0 out" in repr(at.tunnel)

    run(scene())
