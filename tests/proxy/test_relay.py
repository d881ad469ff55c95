"""A client of tcp mode before it is joined with the app, on plain sockets; the rest is in test_tunnel.py."""

import asyncio
import socket

from tests.proxy.loopback import Scene, proxied, turns, until
from tests.proxy.test_front import run
from tlsproxy.chassis.app_address import AppAddress
from tlsproxy.proxy.forwarding import Forwarding
from tlsproxy.proxy.limits import Timeouts
from tlsproxy.proxy.relay import Announce, Relay, TcpFrontend
from tlsproxy.proxy.server import Server
from tlsproxy.proxy.tunnel import Tunnel
from tlsproxy.proxy.upstream import Upstream

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


def test_an_app_that_has_ended_already_still_listens() -> None:
    """The client of an app that ended its direction before the two were joined is told, and may go on."""

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        async with proxied(timeouts=TIMES) as at:
            relaying(at)
            with socket.socket() as closed, socket.create_server(("127.0.0.1", 0)) as listener:
                closed.bind(("127.0.0.1", 0))
                at.pool.address = AppAddress(*closed.getsockname())
                client = await at.client()
                await until(lambda: at.pool.count()["waiting"] and not at.pool.count()["opening"])
                (relay,) = at.server._connections
                assert isinstance(relay, Relay)
                _, upstream = await loop.create_connection(lambda: Upstream(at.pool), *listener.getsockname())
                app, _ = listener.accept()
                with app:
                    app.shutdown(socket.SHUT_WR)
                    await until(lambda: upstream.ended_early)
                    at.pool.withdraw(relay)
                    relay.lent(upstream, used=False)
                    assert await client.rest() == b""
                    client.send(b"still there")
                    client.end()
                    await until(lambda: at.lines.told == [(200, "")])
                    assert app.recv(100) == b"still there"

    run(scene())


def test_a_client_that_is_slow_holds_the_app() -> None:
    """A client whose transport was full before it was joined with the app holds it, as any slow one does."""

    async def scene() -> None:
        async with proxied(timeouts=TIMES) as at:
            relaying(at)
            with socket.socket() as deaf:
                deaf.bind(("127.0.0.1", 0))
                at.pool.address = AppAddress(*deaf.getsockname())
                client = await at.client()
                await until(lambda: at.pool.count()["waiting"] and not at.pool.count()["opening"])
                (relay,) = at.server._connections
                assert isinstance(relay, Relay)
                relay.pause_writing()
                deaf.listen()
                deaf.setblocking(False)
                app, _ = await asyncio.get_running_loop().sock_accept(deaf)
            with app:
                app.sendall(b"x")
                await until(lambda: relay not in at.server._connections)
                await turns()
                (tunnel,) = at.server._connections
                assert isinstance(tunnel, Tunnel)
                assert tunnel.app.moved == 0
                tunnel.client.resume_writing()
                assert await client.exactly(1) == b"x"

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
