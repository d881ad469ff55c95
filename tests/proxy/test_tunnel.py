"""Bytes both ways, on plain sockets: what tests/e2e/test_upgrade.py can not bring about at will."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.proxy.loopback import Scene, Wire, proxied, turns, until
from tests.proxy.test_front import asked, run
from tlsproxy.proxy.app_reads import READ_SIZE
from tlsproxy.proxy.front import Front
from tlsproxy.proxy.limits import Timeouts
from tlsproxy.proxy.tunnel import End, Tunnel
from tlsproxy.proxy.websocket_frames import GOING_AWAY

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
async def opened(timeouts: Timeouts = TIMES, protocol: bytes = b"x") -> AsyncIterator[Open]:
    async with proxied(timeouts=timeouts) as scene:
        client = await scene.client()
        client.send(OFFER.replace(b"Upgrade: x", b"Upgrade: " + protocol))
        app = await scene.accept()
        await app.head()
        app.send(SWITCH.replace(b"Upgrade: x", b"Upgrade: " + protocol))
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


def test_a_slow_client_holds_the_app() -> None:
    """While the client's transport is full nothing is read from the app; then all of it arrives."""

    async def scene() -> None:
        async with opened() as at:
            at.client.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a stream reads ahead on its own
            at.app.send(b"x" * MUCH)
            await until(lambda: at.tunnel.client.slow)
            held = at.tunnel.app.moved
            await turns()
            assert at.tunnel.app.moved == held < MUCH
            at.client.reader._transport.resume_reading()  # type: ignore[attr-defined]  # as above
            assert len(await at.client.exactly(MUCH)) == MUCH

    run(scene())


def test_the_client_is_slow_from_the_start() -> None:
    """A client whose transport was full before the switch holds the app, though its transport does not say so again."""

    async def scene() -> None:
        async with proxied(timeouts=TIMES) as at:
            client, app = await asked(at, OFFER)
            (front,) = at.server._connections
            assert isinstance(front, Front)
            front.slow = True
            app.send(SWITCH, b"x" * MUCH)
            await client.head()
            await turns()
            (tunnel,) = at.server._connections
            assert isinstance(tunnel, Tunnel)
            assert tunnel.app.moved <= READ_SIZE
            tunnel.client.resume_writing()
            assert len(await client.exactly(MUCH)) == MUCH

    run(scene())


def test_the_app_is_slow_from_the_start() -> None:
    """Likewise an app that has not taken all of the request when it switches."""

    async def scene() -> None:
        async with proxied(timeouts=TIMES) as at:
            client, app = await asked(at, OFFER)
            (upstream,) = at.pool._lending.lent
            upstream.pause_writing()
            app.send(SWITCH)
            await client.head()
            client.send(b"x")
            await turns()
            (tunnel,) = at.server._connections
            assert isinstance(tunnel, Tunnel)
            assert tunnel.client.moved == 0
            tunnel.app.resume_writing()
            assert await app.exactly(1) == b"x"

    run(scene())


def test_what_came_before_the_switch_is_the_apps() -> None:
    """A client who has said so much before the switch that it was held is let go on, and all of it arrives."""

    async def scene() -> None:
        async with proxied(timeouts=TIMES) as at:
            client, app = await asked(at, OFFER)
            (front,) = at.server._connections
            assert isinstance(front, Front)
            client.send(b"x" * MUCH)
            await until(lambda: front._held)
            app.send(SWITCH)
            await client.head()
            assert len(await app.exactly(MUCH)) == MUCH

    run(scene())


def test_an_end_before_the_switch_is_the_apps() -> None:
    """A client who has said all with its offer is one that half-closes: the app is told, and may go on."""

    async def scene() -> None:
        async with proxied(timeouts=TIMES) as at:
            client, app = await asked(at, OFFER)
            (front,) = at.server._connections
            assert isinstance(front, Front)
            client.end()
            await until(lambda: front._half_closed)
            app.send(SWITCH)
            await client.head()
            assert await app.rest() == b""
            app.send(b"bye")
            assert await client.exactly(3) == b"bye"

    run(scene())


def test_both_ends_are_told_at_once() -> None:
    """A client who has said all learns of the app's end though the app has yet to read."""

    async def scene() -> None:
        async with opened() as at:
            at.app.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a stream reads ahead on its own
            at.client.send(b"x" * MUCH)
            await until(lambda: at.tunnel.app.slow)
            # As TLS tells it: in one read with the last of what was said.
            at.tunnel.client.eof_received()
            at.app.end()
            assert await at.client.rest() == b""

    run(scene())


def test_who_has_said_all_may_leave() -> None:
    """A client who had ended its direction, and is gone when the app goes on, has ended in order."""

    async def scene() -> None:
        async with opened() as at:
            at.client.end()
            assert await at.app.rest() == b""
            at.client.reset()
            await turns()
            while not at.scene.lines.told:
                at.app.send(b"x")
                await asyncio.sleep(0)
            assert await at.over() == (101, "")

    run(scene())


def test_nothing_is_written_to_who_is_going(caplog: pytest.LogCaptureFixture) -> None:
    """What comes for a side that has been closed is dropped, and not reported by the loop."""

    async def scene() -> None:
        async with opened() as at:
            at.tunnel.client.transport.abort()
            for _ in range(10):
                at.tunnel.app.data_received(b"x")
            assert await at.app.rest() == b""
            await at.over()

    run(scene())
    assert not caplog.records


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
        gc.collect()
        gc.disable()
        try:
            async with opened() as at:
                at.client.end()
                at.app.end()
                await at.over()
                await turns()
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


TEXT = b"\x81\x05hello"


def test_a_websockets_client_is_told() -> None:
    """While draining it gets a Close frame with 1001; its answer reaches the app, whose own last words do not come."""

    async def scene() -> None:
        async with opened(protocol=b"WebSocket") as at:
            at.app.send(TEXT)
            assert await at.client.exactly(7) == TEXT
            at.scene.server.pre_shutdown()
            assert await at.client.exactly(4) == GOING_AWAY
            at.app.send(TEXT)
            at.client.send(b"\x88\x82mask\x6e\x88")
            assert await at.app.exactly(8) == b"\x88\x82mask\x6e\x88"
            at.app.send(GOING_AWAY)
            at.app.close()
            assert await at.client.rest() == b""
            at.client.close()
            assert await at.over() == (101, "")
            assert at.scene.lines.ended[0][0].sent == len(TEXT)

    run(scene())


@pytest.mark.parametrize("cut", range(1, 7))
def test_no_frame_is_torn(cut: int) -> None:
    """In the middle of a frame the Close frame waits for its end; what comes behind that is no longer passed on."""

    async def scene() -> None:
        async with opened(protocol=b"websocket") as at:
            at.app.send(TEXT[:cut])
            assert await at.client.exactly(cut) == TEXT[:cut]
            at.scene.server.pre_shutdown()
            await turns()
            at.app.send(TEXT[cut:] + TEXT[:3])
            assert await at.client.exactly(7 - cut + 4) == TEXT[cut:] + GOING_AWAY
            at.app.send(TEXT[3:])
            at.scene.server.cut()
            assert await at.client.rest() == b""

    run(scene())


def test_it_is_told_once() -> None:
    """However often it is closed."""

    async def scene() -> None:
        async with opened(protocol=b"websocket") as at:
            at.scene.server.pre_shutdown()
            at.tunnel.close()
            assert await at.client.exactly(4) == GOING_AWAY
            at.scene.server.cut()
            assert await at.client.rest() == b""

    run(scene())


def test_a_websocket_that_opens_while_draining_is_told_soon() -> None:
    """Its request was under way; the Close frame comes with the sweep a second later."""

    async def scene() -> None:
        async with proxied(timeouts=TIMES) as at:
            client, app = await asked(at, OFFER.replace(b"Upgrade: x", b"Upgrade: websocket"))
            at.server.pre_shutdown()
            app.send(SWITCH.replace(b"Upgrade: x", b"Upgrade: websocket"))
            await client.head()
            at.later(1.1)
            assert await client.exactly(4) == GOING_AWAY

    run(scene())


@pytest.mark.parametrize("protocol", [b"x", b"websocket"])
def test_a_certificates_rotation_tells_nobody(protocol: bytes) -> None:
    """Tunnels outlive the grace of a rotation, and a client whose words are not known is never told anything."""

    async def scene() -> None:
        async with opened(protocol=protocol) as at:
            at.scene.server.retire(1)
            at.scene.later(2)
            if protocol == b"x":
                at.scene.server.pre_shutdown()
            at.app.send(TEXT)
            assert await at.client.exactly(7) == TEXT

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
