"""aiohttp's server around client connections: run, drained and cut by it."""

import asyncio
import socket
from time import monotonic

import pytest
from aiohttp import web

from tests.proxy.loopback import proxied, turns, until
from tests.proxy.test_front import CHUNKED_OK, OK, answer, asked, get, run
from tlsproxy.proxy.front import Front
from tlsproxy.proxy.limits import Timeouts
from tlsproxy.proxy.refusals import Refusal
from tlsproxy.proxy.request import Request
from tlsproxy.proxy.server import Server


def test_aiohttp_runs_it() -> None:
    """ServerRunner, SockSite and cleanup() work with a server whose connections are ours."""

    async def scene() -> None:
        async with proxied() as scene:
            runner = web.ServerRunner(scene.server, shutdown_timeout=5)
            await runner.setup()
            sock = socket.create_server(("127.0.0.1", 0))
            await web.SockSite(runner, sock).start()
            scene.port = sock.getsockname()[1]
            idle = await scene.client()
            client, app = await asked(scene, get())
            cleaned = asyncio.ensure_future(runner.cleanup())
            assert await idle.rest() == b""
            assert not cleaned.done(), "cleanup() no longer waits for what is under way"
            app.send(OK)
            assert b"Connection: close" in await answer(client), "pre_shutdown() is no longer called by cleanup()"
            await asyncio.wait_for(cleaned, 5)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", scene.port)

    run(scene())


def test_what_aiohttp_keeps() -> None:
    """web.Server keeps its connections in _connections, and tells of them."""

    async def scene() -> None:
        async with proxied() as scene:
            await scene.client()
            await until(lambda: scene.server.connections)
            assert len(scene.server.connections) == len(scene.server._connections) == 1, (
                "web.Server.connections has changed"
            )

    run(scene())


def test_draining() -> None:
    """What is idle is closed, what is under way is answered and told that it was the last, new requests as well."""

    async def scene() -> None:
        async with proxied() as scene:
            idle = await scene.client()
            begun, begun_app = await asked(scene, get())
            begun_app.send(CHUNKED_OK + b"2\r\nok\r\n")
            await begun.head()
            waiting, waiting_app = await asked(scene, get())
            half = await scene.client()
            half.send(get()[:9])
            await until(lambda: scene.server.count() == (1, 3))
            scene.server.pre_shutdown()
            assert await idle.rest() == b""
            begun_app.send(b"0\r\n\r\n")
            assert await begun.rest() == b"2\r\nok\r\n0\r\n\r\n"
            waiting_app.send(OK)
            assert b"Connection: close" in await answer(waiting)
            assert await waiting.rest() == b""
            half.send(get()[9:])
            late = scene.pool.count()["idle"]
            app = waiting_app if late else await scene.accept()
            await until(lambda: scene.pool.count()["lent"] == 1)
            for wire in (app, begun_app):
                wire.send(OK)
            assert b"Connection: close" in await answer(half)
            assert await half.rest() == b""

    run(scene())


def test_who_comes_while_draining_is_served_once() -> None:
    """A connection that was in the backlog gets an answer, and is told that it was the last."""

    async def scene() -> None:
        async with proxied() as scene:
            scene.server.pre_shutdown()
            client, app = await asked(scene, get())
            app.send(OK)
            assert b"Connection: close" in await answer(client)
            assert await client.rest() == b""

    run(scene())


class Visitor:
    """A conversation that has not asked for anything."""

    is_idle = True

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def retire(self) -> None: ...

    def stop(self) -> None: ...

    def sweep(self, now: float) -> None: ...


def test_who_has_only_just_come_may_ask() -> None:
    """A connection less than a second old is closed when it is, for its request may be on the way; others at once."""

    async def scene() -> None:
        async with proxied() as scene:
            now = monotonic()
            young, old, late = Visitor(), Visitor(), Visitor()
            scene.server.opened(young, asyncio.Transport({"began": now - 0.5}))
            scene.server.opened(old, asyncio.Transport({"began": now - 1.5}))
            scene.server.pre_shutdown()
            assert (young.closed, old.closed) == (False, True)
            scene.server.opened(late, asyncio.Transport())
            scene.server.pre_shutdown()
            scene.server.sweep(now + 0.4)
            assert (young.closed, late.closed) == (False, False)
            scene.server.sweep(now + 0.6)
            assert (young.closed, late.closed) == (True, False)
            scene.server.sweep(now + 1.2)
            assert late.closed
            for visitor in (young, old, late):
                scene.server.ended(visitor)

    run(scene())


def test_the_end_of_draining() -> None:
    """What is still under way after the time it was given is cut."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, get())
            app.send(CHUNKED_OK + b"2\r\nok\r\n")
            await client.head()
            scene.server.pre_shutdown()
            await scene.server.shutdown(0.05)
            assert b"0\r\n\r\n" not in await client.rest()
            assert await app.rest() == b""
            ((record, reason),) = scene.lines.ended
            assert record.status == 200
            assert reason

    run(scene())


def test_cutting_everything_ends_the_apps_work() -> None:
    """A second signal cuts all connections at once, and the app's with them; each request is still told of."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, get())
            scene.server.cut()
            assert (await client.rest()).startswith(b"HTTP/1.1 503 ")
            assert await app.rest() == b""
            assert len(scene.lines.ended) == 1
            assert scene.pool.count()["lent"] == 0

    run(scene())


def test_shutdown_does_not_wait_for_what_is_idle() -> None:
    """Idle connections are closed, and not waited for."""

    async def scene() -> None:
        async with proxied() as scene:
            for _ in range(3):
                await scene.client()
            await until(lambda: len(scene.server.connections) == 3)
            async with asyncio.timeout(2):
                scene.server.pre_shutdown()
                await scene.server.shutdown(60)

    run(scene())


def test_shutdown_ends_with_the_last_request() -> None:
    """It does not wait longer than needed."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, get())
            scene.server.pre_shutdown()
            ended = asyncio.ensure_future(scene.server.shutdown(60))
            await turns()
            app.send(OK)
            await answer(client)
            await asyncio.wait_for(ended, 5)

    run(scene())


class Trouble:
    """A service, and its exchanges as well, whose time is up at once and whose end goes wrong."""

    deadline = 0.0
    status = 0

    def exchange(self, stream: Front, request: Request, *, has_body: bool) -> "Trouble":
        return self

    def body(self, piece: bytes) -> None: ...

    def end(self) -> None: ...

    def flush(self) -> None: ...

    def slow(self) -> None: ...

    def ready(self) -> None: ...

    def fail(self, refusal: Refusal) -> None: ...

    def gone(self) -> None: ...

    def expired(self) -> None:
        raise RuntimeError("trouble")


def test_the_trouble_of_one_is_not_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """A connection whose sweep fails is cut and told of; the deadlines of those behind it are kept."""

    async def scene() -> None:
        async with proxied(answering=lambda _: Trouble()) as scene:
            troubled = await scene.client()
            troubled.send(get())
            await until(lambda: scene.server.count() == (0, 1))
            idle = await scene.client()
            await until(lambda: scene.server.count() == (1, 1))
            scene.later(Timeouts().keepalive + 1)
            assert await troubled.rest() == b""
            assert await idle.rest() == b""

    run(scene())
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("tlsproxy", "ERROR")
    assert "<Front 127.0.0.1 " in record.getMessage()
    assert record.exc_info
    assert str(record.exc_info[1]) == "trouble"


def test_count() -> None:
    """Connections are idle or in a request, one whose head has begun included."""

    async def scene() -> None:
        async with proxied() as scene:
            await scene.client()
            half = await scene.client()
            half.send(get()[:5])
            await asked(scene, get())
            await until(lambda: scene.server.count() == (1, 2))
            assert "idle" in "".join(map(repr, scene.server.connections))

    run(scene())


def test_each_end_is_told_of_once() -> None:
    """Whoever counts connections hears of each that was opened, and of no other."""
    told: list[None] = []

    async def scene() -> None:
        async with proxied() as scene:
            server = Server(scene.server._make, ended=lambda: told.append(None))
            front = server()
            server.ended(front)  # type: ignore[arg-type]  # a Front, as the factory makes it
            assert told == []
            server.opened(front, asyncio.Transport())  # type: ignore[arg-type]  # likewise
            server.ended(front)  # type: ignore[arg-type]  # likewise
            server.ended(front)  # type: ignore[arg-type]  # likewise
            assert len(told) == 1

    run(scene())


def test_retiring() -> None:
    """Who is idle is told with the next answer or closed at the end; a response under way can't tell, the next does."""

    async def scene() -> None:
        async with proxied() as scene:
            idle = await scene.client()
            begun, begun_app = await asked(scene, get())
            begun_app.send(CHUNKED_OK + b"2\r\nok\r\n")
            await begun.head()
            waiting, waiting_app = await asked(scene, get())
            await until(lambda: scene.server.count() == (1, 2))
            start = monotonic()
            scene.server.retire(60)
            scene.server.sweep(start + 25)
            await scene.client()
            waiting_app.send(OK)
            assert b"Connection: close" in await answer(waiting)
            assert await waiting.rest() == b""
            begun_app.send(b"0\r\n\r\n")
            assert await begun.exactly(12) == b"2\r\nok\r\n0\r\n\r\n"
            await until(lambda: scene.server.count() == (3, 0))
            scene.server.sweep(start + 29)
            begun.send(get())
            await until(lambda: scene.pool.count()["lent"] == 1)
            for app in (begun_app, waiting_app):
                app.send(OK)
            assert b"Connection: close" in await answer(begun)
            await until(lambda: scene.server.count() == (2, 0))
            scene.server.sweep(start + 31)
            assert await idle.rest() == b""
            await until(lambda: scene.server.count() == (1, 0))

    run(scene())
