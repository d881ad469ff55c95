"""Client connections over TCP: order, framing, holding, deadlines, ends, and aiohttp's server around them."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress

import pytest

from tests.proxy.loopback import Scene, Wire, proxied, turns, until
from tlsproxy.proxy.feed import _AT_ONCE
from tlsproxy.proxy.front import Front
from tlsproxy.proxy.limits import Limits, Timeouts

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED_OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSE_OK = b"HTTP/1.1 200 OK\r\n\r\n"
UPLOAD = b"POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n"


def get(target: bytes = b"/", version: bytes = b"1.1", *fields: bytes) -> bytes:
    return b"".join([b"GET %b HTTP/%b\r\nHost: h\r\n" % (target, version), *(f + b"\r\n" for f in fields), b"\r\n"])


def run(scene: Coroutine[None, None, None]) -> None:
    asyncio.run(scene, debug=False)


async def asked(scene: Scene, request: bytes) -> tuple[Wire, Wire]:
    """A client that has sent this, and the app's connection, on which the head has come."""
    client = await scene.client()
    client.send(request)
    app = await scene.accept()
    await app.head()
    return client, app


async def answer(client: Wire, body: int = 2) -> bytes:
    return await client.head() + await client.exactly(body)


# ---------------------------------------------------------------------------- order


def test_pipelined_requests_are_answered_in_order() -> None:
    """The app is given one request of a connection at a time, and each answer comes in its turn."""

    async def scene() -> None:
        async with proxied() as scene:
            client = await scene.client()
            client.send(*(get(b"/%d" % n) for n in range(5)))
            app = await scene.accept()
            for n in range(5):
                assert (await app.head()).startswith(b"GET /%d " % n)
                await turns()
                assert scene.app.empty()
                app.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % n)
            for n in range(5):
                assert (await answer(client, 1)).endswith(b"\r\n\r\n%d" % n)

    run(scene())


def test_pipelined_requests_with_bodies_keep_their_bodies() -> None:
    """What is read ahead is cut where the messages end."""

    async def scene() -> None:
        async with proxied() as scene:
            client = await scene.client()
            chunked = b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            client.send(UPLOAD, b"0123456789", chunked, get())
            app = await scene.accept()
            await app.head()
            assert await app.exactly(10) == b"0123456789"
            app.send(OK)
            await app.head()
            assert await app.exactly(13) == b"3\r\nabc\r\n0\r\n\r\n"
            app.send(OK)
            assert (await app.head()).startswith(b"GET / ")
            app.send(OK)
            for _ in range(3):
                await answer(client)

    run(scene())


def test_a_client_that_pipelines_without_end_is_held() -> None:
    """No more is read ahead than the tail may hold; what was held comes when its turn does."""

    async def scene() -> None:
        async with proxied() as scene:
            requests = 3000
            client, app = await asked(scene, get() * requests)
            (front,) = scene.server.connections
            await until(lambda: "held" in repr(front))
            app.send(OK)
            for _ in range(requests - 1):
                await app.head()
                app.send(OK)
            for _ in range(requests):
                await answer(client)
            await until(lambda: "idle" in repr(front))
            assert "held" not in repr(front)

    run(scene())


def test_what_was_put_off_waits_for_a_slow_app() -> None:
    """Where an app takes no more while small chunks are read in turns, the rest follows when it does again."""
    piece, count = b"x" * 50, 20_000

    async def scene() -> None:
        async with proxied() as scene:
            client = await scene.client()
            client.send(b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
            app = await scene.accept()
            await app.head()
            app.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a stream reads ahead on its own
            (upstream,) = scene.pool._lending.lent
            app.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            upstream._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece) * count + b"0\r\n\r\n")
            (front,) = scene.server._connections
            assert isinstance(front, Front)
            await until(lambda: "slow" in repr(upstream) and front._tail)
            await turns()
            assert front._tail, "it is read on though the app takes no more"
            app.reader._transport.resume_reading()  # type: ignore[attr-defined]  # see above
            body = b""
            while not body.endswith(b"\r\n0\r\n\r\n"):
                body += await asyncio.wait_for(app.reader.read(65536), 5)
            assert body.count(b"x") == len(piece) * count

    run(scene())


@pytest.mark.parametrize("ends", [False, True], ids=["goes on", "ends"])
def test_many_small_chunks_are_read_in_turns(ends: bool) -> None:
    """Others have their turn between them, and every one arrives, though the client ends behind the last."""
    count = 4000

    async def scene() -> None:
        async with proxied() as scene:
            client = await scene.client()
            client.send(b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
            app = await scene.accept()
            await app.head()
            others, over = 0, False

            async def take_turns() -> None:
                nonlocal others
                while not over:
                    await asyncio.sleep(0)
                    others += 1

            taking = asyncio.create_task(take_turns())
            client.send(b"1\r\nx\r\n" * count + b"0\r\n\r\n")
            if ends:
                client.end()
            body = await asyncio.wait_for(app.reader.readuntil(b"\r\n0\r\n\r\n"), 5)
            over = True
            assert body.count(b"x") == count
            await taking
            assert others > count / _AT_ONCE
            if not ends:
                app.send(OK)
                await answer(client)

    run(scene())


# ---------------------------------------------------------------------------- framing

FRAMINGS = [
    # the app's answer, HTTP version of the client, how the answer's body comes
    (OK, b"1.1", b"ok"),
    (CHUNKED_OK + b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n", b"1.1", b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n"),
    (CHUNKED_OK + b"2\r\nok\r\n0\r\nSum: 1\r\n\r\n", b"1.1", b"2\r\nok\r\n0\r\nSum: 1\r\n\r\n"),
    (CLOSE_OK + b"ok", b"1.1", b"2\r\nok\r\n0\r\n\r\n"),
    (OK, b"1.0", b"ok"),
    (CHUNKED_OK + b"1\r\no\r\n1\r\nk\r\n0\r\nSum: 1\r\n\r\n", b"1.0", b"ok"),
    (CLOSE_OK + b"ok", b"1.0", b"ok"),
]


@pytest.mark.parametrize(("said", "version", "body"), FRAMINGS)
def test_bodies_are_framed_for_the_client(said: bytes, version: bytes, body: bytes) -> None:
    """A client of HTTP/1.1 gets a length or chunks; one of HTTP/1.0 a length or the end of the connection."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, get(b"/", version, b"Connection: close"))
            app.send(said)
            app.close()
            head = await client.head()
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert (b"Transfer-Encoding: chunked" in head) is body.startswith((b"1\r\n", b"2\r\n"))
            assert b"Connection: close" in head
            assert await client.rest() == body

    run(scene())


CONNECTIONS = [
    # version, Connection, the app's answer, what the client is told, whether the connection goes on
    (b"1.1", b"", OK, b"", True),
    (b"1.1", b"close", OK, b"close", False),
    (b"1.0", b"", OK, b"close", False),
    (b"1.0", b"keep-alive", OK, b"keep-alive", True),
    (b"1.0", b"keep-alive", CHUNKED_OK + b"0\r\n\r\n", b"close", False),
    (b"1.1", b"", OK.replace(b"OK", b"OK\r\nConnection: close", 1), b"", True),
]


@pytest.mark.parametrize(("version", "connection", "said", "told", "goes_on"), CONNECTIONS)
def test_a_connection_goes_on(version: bytes, connection: bytes, said: bytes, told: bytes, goes_on: bool) -> None:
    """It ends when the client asked for it or its framing needs it, never because the app's does."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, get(b"/", version, b"Connection: " + connection))
            app.send(said)
            head = await client.head()
            assert [line for line in head.split(b"\r\n") if line.startswith(b"Connection")] == (
                [b"Connection: " + told] if told else []
            )
            if goes_on:
                await client.exactly(2)
                client.send(get(b"/2"))
                await until(lambda: scene.server.count() == (0, 1))
            else:
                await client.rest()

    run(scene())


# ---------------------------------------------------------------------------- ends


def test_an_early_answer_ends_the_connection() -> None:
    """An app that answers before the body has come is believed; what still comes is thrown away."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, UPLOAD + b"012")
            app.send(b"HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno")
            head = await answer(client)
            assert head.startswith(b"HTTP/1.1 413 Too Much\r\n")
            assert b"Connection: close" in head
            assert await client.rest() == b""
            client.send(b"3456789", get(b"/never"))
            await turns()
            assert scene.app.empty()
            assert scene.lines.told == [(413, "")]
            assert len(scene.server.connections) == 1
            scene.later(3)
            await until(lambda: not scene.server.connections)

    run(scene())


def test_a_half_closed_client_is_answered() -> None:
    """A client that sends no more reads on: all its requests are answered, then the connection ends."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, get() + get())
            client.end()
            await turns()
            app.send(OK)
            await app.head()
            app.send(OK)
            assert (await client.rest()).count(b"HTTP/1.1 200 OK") == 2
            await until(lambda: not scene.server.connections)

    run(scene())


def test_a_half_closed_client_that_left_half_a_request() -> None:
    """What can never become a request is not waited for."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, get() + get()[:9])
            client.end()
            await turns()
            app.send(OK)
            assert (await client.rest()).count(b"HTTP/1.1 ") == 1
            assert scene.lines.told == [(200, "")]

    run(scene())


@pytest.mark.parametrize("sent", [b"", b"GET / HT", get()[:-1], UPLOAD + b"0123"])
def test_a_client_that_ends_half_way_is_gone(sent: bytes) -> None:
    """An end inside a request is no request."""

    async def scene() -> None:
        async with proxied() as scene:
            client = await scene.client()
            client.send(sent)
            await turns()
            client.end()
            assert await client.rest() == b""
            await until(lambda: not scene.server.connections)
            assert scene.lines.told == ([(499, "client_gone")] if b"0123" in sent else [])

    run(scene())


@pytest.mark.parametrize("said", [b"", CHUNKED_OK + b"2\r\nok\r\n"])
def test_a_client_that_leaves_ends_the_apps_work(said: bytes) -> None:
    """The app's connection is cut at once, and the request is told of as the client's."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, get())
            app.send(said)
            if said:
                await client.head()
            client.reset()
            assert await app.rest() == b""
            assert scene.lines.told == [(200 if said else 499, "client_gone")]
            assert scene.pool.count()["lent"] == 0

    run(scene())


@pytest.mark.parametrize("said", [CHUNKED_OK + b"2\r\nok\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"])
@pytest.mark.parametrize("ending", [Wire.close, Wire.reset])
def test_a_response_that_breaks_off_is_cut(said: bytes, ending: Callable[[Wire], None]) -> None:
    """The client sees that there was more: no last chunk, no whole length."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, get())
            app.send(said)
            await client.head()
            await client.exactly(2)
            ending(app)
            assert b"0\r\n\r\n" not in await client.rest()
            assert scene.lines.told == [(200, "app_truncated")]

    run(scene())


def test_a_body_that_ends_with_a_reset_is_cut() -> None:
    """A body whose only end is the connection's has none when that was reset."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, get())
            app.send(CLOSE_OK + b"ok")
            await client.head()
            assert await client.exactly(7) == b"2\r\nok\r\n"
            app.reset()
            assert await client.rest() == b""
            assert scene.lines.told == [(200, "app_truncated")]

    run(scene())


async def slow_reader(scene: Scene) -> Wire:
    """A client that takes a few kilobytes and then nothing until its transport is told to read on."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", scene.port))
    client = Wire(*await asyncio.open_connection(sock=sock))
    scene.clients.append(client)
    client.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a stream reads ahead on its own
    await until(lambda: scene.server._connections)
    (transport,) = scene.server._connections.values()
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return client


@pytest.mark.parametrize(
    "sent",
    [UPLOAD + b"012", get(b"/", b"1.1", b"Connection: close") + get(b"/never")],
    ids=["an early answer", "more than was to come"],
)
@pytest.mark.parametrize("reads", [True, False])
def test_a_whole_answer_goes_out_before_the_end(sent: bytes, reads: bool) -> None:
    """A client that still sends may read its answer slowly, in the time that one has who does not read."""

    async def scene() -> None:
        async with proxied(timeouts=TIMES) as scene:
            client, size = await slow_reader(scene), 50_000
            client.send(sent)
            app = await scene.accept()
            await app.head()
            app.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, b"x" * size)
            await until(lambda: scene.lines.told == [(200, "")])
            ((front, transport),) = scene.server._connections.items()
            assert "lingering" in repr(front)
            assert transport.get_write_buffer_size()
            scene.later(3)
            scene.later(TIMES.body - 1)
            if not reads:
                scene.later(TIMES.body + 1)
            client.reader._transport.resume_reading()  # type: ignore[attr-defined]  # see above
            whole = (await client.rest()).endswith(b"\r\n\r\n" + b"x" * size)
            assert whole is reads

    run(scene())


def test_a_lone_end_of_line_is_not_lingered_for() -> None:
    """An old client's empty line behind its last body is no request: the connection closes with the answer."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, UPLOAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            client.send(b"0123456789\r\n")
            assert await app.exactly(10) == b"0123456789"
            app.send(OK)
            await answer(client)
            assert await client.rest() == b""
            await until(lambda: not scene.server.connections, 1)

    run(scene())


# ---------------------------------------------------------------------------- refusals

REFUSED = [
    (b"garbage\r\n\r\n", 400, "bad_request"),
    (get(b"/" + b"x" * 40000), 414, "head_too_large"),
    (get(b"/", b"1.1", b"X: " + b"x" * 40000), 431, "head_too_large"),
    (b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", 405, "bad_request"),
    (get(b"/", b"2.0"), 400, "bad_request"),
    (UPLOAD.replace(b"10", b"11"), 413, "body_too_large"),
    (UPLOAD.replace(b"10", b"0" * 5000 + b"5"), 400, "bad_request"),
]


@pytest.mark.parametrize(("request_bytes", "status", "reason"), REFUSED, ids=[str(row[1]) for row in REFUSED])
def test_refusals(request_bytes: bytes, status: int, reason: str) -> None:
    """What is not forwarded is answered with its status and an id, told of once, and ends the connection."""

    async def scene() -> None:
        async with proxied(Limits(body=10)) as scene:
            client = await scene.client()
            client.send(request_bytes)
            said = await client.rest()
            head, _, body = said.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert b"Connection: close" in head
            assert b"Proxy-Status: tlsproxy; error=http_request_error" in head
            record, told = scene.lines.ended[0]
            assert (record.status, told, record.sent) == (status, reason, len(body))
            assert len(scene.lines.ended) == 1
            assert record.request_id
            assert record.request_id in body
            assert scene.app.empty()

    run(scene())


def test_a_good_request_before_garbage_is_answered_first() -> None:
    """The refusal waits for its turn."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, get() + b"garbage\r\n\r\n")
            app.send(OK)
            said = await client.rest()
            assert said.startswith(b"HTTP/1.1 200 OK")
            assert said.count(b"HTTP/1.1 400 Bad Request") == 1

    run(scene())


def test_a_bad_chunk_ends_the_request() -> None:
    """The app's connection is cut, so that it can't take half of a body for all of it."""

    async def scene() -> None:
        async with proxied() as scene:
            head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            client, app = await asked(scene, head + b"2\r\nok\r\n")
            client.send(b"zz\r\n")
            assert (await client.rest()).startswith(b"HTTP/1.1 400 ")
            assert await app.rest() == b"2\r\nok\r\n"
            assert scene.lines.told == [(400, "bad_request")]

    run(scene())


# ---------------------------------------------------------------------------- holding


async def fill(wire: Wire, scene: Scene, mark: str) -> int:
    """Send until the front shows that mark; how many bytes that took."""
    (front,) = scene.server.connections
    sent = 0
    while mark not in repr(front):
        with suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                wire.send(b"x" * 65536)
                sent += 65536
                await wire.writer.drain()
        assert sent < 1 << 27
    return sent


def test_an_app_that_does_not_read_holds_the_client() -> None:
    """An upload stops when the app takes no more, and goes on when it does; nothing is lost."""

    async def scene() -> None:
        async with proxied() as scene:
            size = 1 << 27
            client, app = await asked(scene, UPLOAD.replace(b"10", b"%d" % size))
            app.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a stream reads ahead on its own
            sent = await fill(client, scene, "held")
            (front,) = scene.server.connections
            app.reader._transport.resume_reading()  # type: ignore[attr-defined]  # see above
            assert await app.exactly(sent) == b"x" * sent
            await until(lambda: "held" not in repr(front))

    run(scene())


def test_a_client_that_does_not_read_holds_the_app() -> None:
    """A download stops when the client takes no more, and goes on when it does; nothing is lost."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, get())
            client.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a stream reads ahead on its own
            app.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 27))
            sent = await fill(app, scene, "slow")
            assert "held" in repr(next(iter(scene.pool._lending.lent)))
            client.reader._transport.resume_reading()  # type: ignore[attr-defined]  # see above
            await client.head()
            assert await client.exactly(sent) == b"x" * sent

    run(scene())


def test_a_slow_client_gets_no_second_response() -> None:
    """While a client does not read the end of one response, its next request is not begun."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, get())
            client.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a stream reads ahead on its own
            size = 16 << 20
            app.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, b"x" * size)
            (front,) = scene.server._connections
            await until(lambda: " slow" in repr(front))
            client.send(get(b"/second"))
            drained = asyncio.ensure_future(app.head())
            await turns(50)
            assert not drained.done()
            client.reader._transport.resume_reading()  # type: ignore[attr-defined]  # see above
            await client.head()
            await client.exactly(size)
            assert (await drained).startswith(b"GET /second ")

    run(scene())


# ---------------------------------------------------------------------------- deadlines

TIMES = Timeouts(head=10, body=20, keepalive=40, response=80, app_wait=0, app_keepalive=1000)
PART = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"
DEADLINES = [
    # what it is, what the client sends, what the app says, the deadline, how it ends, status and reason
    ("idle", b"", b"", 40, b"", None),
    ("a lone end of line", b"\r\n", b"", 40, b"", None),
    ("half a head", get()[:5], b"", 10, b"HTTP/1.1 408 ", (408, "head_timeout")),
    ("half a body", UPLOAD + b"0123", b"", 20, b"HTTP/1.1 408 ", (408, "body_timeout")),
    ("a silent app", get(), b"", 80, b"HTTP/1.1 504 ", (504, "app_timeout")),
    ("a silent app, after an upload", UPLOAD + b"0123456789", b"", 80, b"HTTP/1.1 504 ", (504, "app_timeout")),
    ("an app that stops half-way", get(), PART, 80, b"HTTP/1.1 200 ", (200, "app_timeout")),
    ("an interim is no answer", get(), b"HTTP/1.1 103 x\r\n\r\n", 80, b"HTTP/1.1 103 ", (504, "app_timeout")),
]


@pytest.mark.parametrize(
    ("sent", "said", "deadline", "seen", "told"), [row[1:] for row in DEADLINES], ids=[row[0] for row in DEADLINES]
)
def test_deadlines(sent: bytes, said: bytes, deadline: float, seen: bytes, told: tuple[int, str] | None) -> None:
    """Each wait ends after its own time, and not before."""

    async def scene() -> None:
        async with proxied(timeouts=TIMES) as scene:
            client = await scene.client()
            client.send(sent)
            if b"\r\n\r\n" in sent:
                app = await scene.accept()
                await app.head()
                app.send(said)
                if said:
                    await until(lambda: scene.clients[0].reader._buffer)  # type: ignore[attr-defined]  # what has come
            await turns()
            scene.later(deadline - 1)
            await turns()
            assert len(scene.server.connections) == 1
            assert scene.lines.told == []
            scene.later(deadline + 1)
            assert scene.lines.told == ([told] if told else [])
            if told and told[0] == 504:
                scene.later(deadline + 1 + TIMES.keepalive)
            assert (await client.rest()).startswith(seen)

    run(scene())


def test_the_idle_time_begins_with_the_last_response() -> None:
    """A connection that served a request is idle from then on."""

    async def scene() -> None:
        async with proxied(timeouts=TIMES) as scene:
            client, app = await asked(scene, get())
            scene.later(41)
            app.send(OK)
            await answer(client)
            scene.later(39)
            client.send(get())
            await app.head()
            app.send(OK)
            await answer(client)
            scene.later(41)
            assert await client.rest() == b""

    run(scene())


def test_empty_lines_do_not_renew_the_idle_time() -> None:
    """A client that sends nothing but ends of lines is idle, and is closed like one that sends nothing."""

    async def scene() -> None:
        async with proxied(timeouts=Timeouts(keepalive=0.1)) as scene:
            client = await scene.client()

            def is_closed() -> bool:
                client.send(b"\r\n")
                scene.later(0)
                return not scene.server.connections

            await until(is_closed, 1)

    run(scene())


def test_a_client_that_does_not_read_is_cut() -> None:
    """While it takes nothing it has the time of a body, then it is gone."""

    async def scene() -> None:
        async with proxied(timeouts=TIMES) as scene:
            client, app = await asked(scene, get())
            client.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a stream reads ahead on its own
            app.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 27))
            await fill(app, scene, "slow")
            await turns(50)
            scene.later(19)
            assert scene.lines.told == []
            scene.later(21)
            assert scene.lines.told == [(200, "body_timeout")]
            await until(lambda: not scene.server.connections)

    run(scene())


# ---------------------------------------------------------------------------- on aiohttp's server
