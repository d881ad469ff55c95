"""A client of tcp mode before it is joined with the app, on plain sockets; the rest is in test_tunnel.py."""

from tests.proxy.loopback import Scene, proxied, turns, until
from tests.proxy.test_front import run
from tlsproxy.proxy.forwarding import Forwarding
from tlsproxy.proxy.limits import Timeouts
from tlsproxy.proxy.relay import Announce, TcpFrontend
from tlsproxy.proxy.server import Server

TIMES = Timeouts(app_wait=30, tunnel=100)


def relaying(scene: Scene, announce: Announce | None = None) -> None:
    """Have the scene's server make relays."""
    server: Server = scene.server
    server._make = TcpFrontend(scene.pool, Forwarding(), TIMES, scene.journal, announce).relay


def test_what_is_announced_comes_first() -> None:
    """The app is sent what announces the client, then what the client has said."""
    announced = []

    def announce(transport: object, connection_id: bytes) -> bytes:
        announced.append(connection_id)
        return b"header "

    async def scene() -> None:
        async with proxied(timeouts=TIMES) as at:
            relaying(at, announce)
            client = await at.client()
            client.send(b"hello")
            app = await at.accept()
            assert await app.exactly(12) == b"header hello"
            app.send(b"bye")
            assert await client.exactly(3) == b"bye"
            client.end()
            app.end()
            await until(lambda: at.lines.told == [(200, "")])
            assert [record.request_id for record, _ in at.lines.ended] == announced

    run(scene())


def test_an_idle_connection_is_one_that_nobody_has_used() -> None:
    """A connection that was opened for a client that has left serves the next, and only one."""

    async def scene() -> None:
        async with proxied(timeouts=TIMES) as at:
            relaying(at)
            gone = await at.client()
            await until(lambda: at.server._connections)
            (relay,) = at.server._connections
            relay.stop()
            assert await gone.rest() == b""
            app = await at.accept()
            await until(lambda: at.pool.count()["idle"] == 1)
            client = await at.client()
            client.send(b"hello")
            assert await app.exactly(5) == b"hello"
            assert at.pool.count() == {"idle": 0, "lent": 0, "opening": 0, "waiting": 0}
            assert at.lines.told == [(503, "draining")]

    run(scene())


def test_it_is_never_idle_and_goes_on() -> None:
    """A server that drains neither counts it as idle nor ends it."""

    async def scene() -> None:
        async with proxied(timeouts=TIMES) as at:
            relaying(at)
            client = await at.client()
            app = await at.accept()
            await until(lambda: at.server._connections)
            assert at.server.count() == (0, 1)
            at.server.pre_shutdown()
            at.later(10)
            await turns()
            client.send(b"still there")
            assert await app.exactly(11) == b"still there"

    run(scene())
