"""A request's story between client, pool and app, where it forks: retries, 100, failures, and what is told of it."""

import asyncio
import socket
from collections.abc import Coroutine

import pytest

from tests.proxy.loopback import Scene, Wire, proxied, turns, until
from tlsproxy.proxy.fixes import Fixes
from tlsproxy.proxy.limits import Limits, Timeouts
from tlsproxy.proxy.upstream import Upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
EXPECTING = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def request(method: bytes, body: bytes | None = None) -> bytes:
    length = b"" if body is None else b"Content-Length: %d\r\n" % len(body)
    return b"%b / HTTP/1.1\r\nHost: h\r\n%b\r\n%b" % (method, length, body or b"")


def run(scene: Coroutine[None, None, None]) -> None:
    asyncio.run(scene)


async def asked(scene: Scene, data: bytes) -> tuple[Wire, Wire]:
    client = await scene.client()
    client.send(data)
    app = await scene.accept()
    await app.head()
    return client, app


async def served(scene: Scene) -> tuple[Wire, Wire]:
    """A client and an app that have had one request over their connections, which are idle."""
    client, app = await asked(scene, request(b"GET"))
    app.send(OK)
    await client.head()
    await client.exactly(2)
    return client, app


def fronts(scene: Scene, *marks: str) -> list[str]:
    """The connections that show all of these marks."""
    return [shown for shown in map(repr, scene.server.connections) if all(mark in shown for mark in marks)]


# ---------------------------------------------------------------------------- once more

RETRIES = [
    # method, body, whether it is sent again
    (b"GET", None, True),
    (b"HEAD", None, True),
    (b"OPTIONS", None, True),
    (b"TRACE", None, True),
    (b"PUT", None, True),
    (b"DELETE", None, True),
    (b"POST", None, False),
    (b"PATCH", None, False),
    (b"GET", b"body", False),
    (b"PUT", b"body", False),
]


@pytest.mark.parametrize(("method", "body", "again"), RETRIES)
def test_a_used_connection_that_ends_without_a_word(method: bytes, body: bytes | None, again: bool) -> None:
    """A request is sent again, on a fresh connection, if and only if it may be sent twice."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await served(scene)
            client.send(request(method, body))
            await app.head()
            app.close()
            if again:
                fresh = await scene.accept()
                assert (await fresh.head()).startswith(method)
                fresh.send(b"HTTP/1.1 204 Again\r\n\r\n")
                assert (await client.head()).startswith(b"HTTP/1.1 204 Again")
            else:
                assert (await client.head()).startswith(b"HTTP/1.1 502 ")
                assert scene.app.empty()
                assert scene.lines.told[1] == (502, "app_reset")

    run(scene())


def test_it_is_sent_again_once() -> None:
    """A fresh connection that ends in the same way is an answer."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await served(scene)
            client.send(request(b"GET"))
            await app.head()
            app.close()
            fresh = await scene.accept()
            await fresh.head()
            fresh.close()
            assert (await client.head()).startswith(b"HTTP/1.1 502 ")
            await turns()
            assert scene.app.empty()

    run(scene())


@pytest.mark.parametrize("word", [b"H", b"HTTP/1.1 103 x\r\n\r\n"])
def test_after_a_word_it_is_not_sent_again(word: bytes) -> None:
    """An app that has begun to answer has seen the request."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await served(scene)
            client.send(request(b"GET"))
            await app.head()
            app.send(word)
            await turns()
            app.close()
            assert b"HTTP/1.1 502 " in await client.head() + (b"" if word == b"H" else await client.head())
            assert scene.app.empty()

    run(scene())


# ---------------------------------------------------------------------------- 100, and other interims


def test_the_apps_100_is_passed_on() -> None:
    """A client that waits for it gets it, and its body goes to the app."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, EXPECTING)
            app.send(CONTINUE)
            assert await client.head() == CONTINUE
            client.send(b"ok")
            assert await app.exactly(2) == b"ok"
            app.send(OK)
            assert (await client.head()).startswith(b"HTTP/1.1 200 OK")

    run(scene())


def test_an_app_that_does_not_say_100_has_it_said() -> None:
    """After a second the client is told to go on; the app's own 100 afterwards is no news."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, EXPECTING)
            scene.later(0.5)
            await turns()
            assert scene.lines.told == []
            scene.later(1.5)
            assert await client.head() == CONTINUE
            app.send(CONTINUE)
            await turns()
            client.send(b"ok")
            assert await app.exactly(2) == b"ok"
            app.send(OK)
            assert (await client.head()).startswith(b"HTTP/1.1 200 OK")

    run(scene())


def test_a_body_that_does_not_wait_for_100_has_its_own_time() -> None:
    """The app's second to say 100 is over with the body's first byte; the rest may take as long as any body."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, EXPECTING)
            client.send(b"o")
            assert await app.exactly(1) == b"o"
            scene.later(5)
            await turns()
            assert scene.lines.told == []
            client.send(b"k")
            assert await app.exactly(1) == b"k"
            app.send(OK)
            assert (await client.head()).startswith(b"HTTP/1.1 200 OK")

    run(scene())


def test_a_final_answer_in_place_of_100() -> None:
    """An app may refuse the body before it is sent: the client gets that answer, and no 100."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, EXPECTING)
            app.send(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
            assert (await client.head()).startswith(b"HTTP/1.1 401 No")
            assert await client.rest() == b""

    run(scene())


INTERIMS = [
    # version of the client, what the app says first, whether the client gets it
    (b"1.1", b"HTTP/1.1 103 Early\r\nLink: </x>\r\n\r\n", True),
    (b"1.1", b"HTTP/1.1 102 Wait\r\n\r\n", True),
    (b"1.1", CONTINUE, False),
    (b"1.0", b"HTTP/1.1 103 Early\r\nLink: </x>\r\n\r\n", False),
    (b"1.0", CONTINUE, False),
]


@pytest.mark.parametrize(("version", "interim", "passed"), INTERIMS)
def test_interims(version: bytes, interim: bytes, passed: bool) -> None:
    """A 1xx goes on to a client that knows of them; 100 only to one that waits for it."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, b"GET / HTTP/%b\r\nHost: h\r\n\r\n" % version)
            app.send(interim, OK)
            first = await client.head()
            assert first == interim if passed else first.startswith(b"HTTP/1.1 200 OK")

    run(scene())


# ---------------------------------------------------------------------------- answers of ours


def test_the_answer_to_head_has_no_body() -> None:
    """Nor has ours: its fields are those that GET would get."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, request(b"HEAD"))
            app.send(b"garbage\r\n\r\n")
            head = await client.head()
            assert head.startswith(b"HTTP/1.1 502 ")
            assert b"Content-Length: " in head
            client.send(request(b"GET"))
            app = await scene.accept()
            app.send(OK)
            assert (await client.head()).startswith(b"HTTP/1.1 200 OK")
            assert scene.lines.ended[0][0].sent == 0

    run(scene())


def test_a_connection_goes_on_after_an_answer_of_ours() -> None:
    """The app's failure is not the client's: its connection serves the next request."""

    async def scene() -> None:
        async with proxied() as scene:
            client, app = await asked(scene, request(b"GET"))
            app.close()
            head = await client.head()
            assert b"Connection" not in head
            assert b"Proxy-Status: tlsproxy; error=connection_terminated" in head
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
            body = await client.exactly(length)
            record = scene.lines.ended[0][0]
            assert record.request_id in body
            assert record.sent == length
            client.send(request(b"GET"))
            app = await scene.accept()
            app.send(OK)
            assert (await client.head()).startswith(b"HTTP/1.1 200 OK")

    run(scene())


def test_a_request_that_waits_holds_its_body() -> None:
    """While no connection is to be had, no more of the body is taken than has come with the head."""

    async def scene() -> None:
        async with proxied(Limits(app_connections=1)) as scene:
            first, app = await asked(scene, request(b"GET"))
            second = await scene.client()
            second.send(b"POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\no")
            await until(lambda: any("held" in repr(front) for front in scene.server.connections))
            second.send(b"k")
            scene.later(59)
            assert scene.lines.told == []
            app.send(OK)
            await first.head()
            assert (await app.head()).startswith(b"POST /2 ")
            assert await app.exactly(2) == b"ok"
            app.send(OK)
            assert (await second.head()).startswith(b"HTTP/1.1 200 OK")

    run(scene())


def test_an_app_that_is_slow_at_once_holds_the_client_again() -> None:
    """A client that was held until its turn came stays held when the app takes no more than its first bytes."""

    async def scene() -> None:
        async with proxied(Limits(app_connections=1)) as scene:
            first, app = await asked(scene, request(b"GET"))
            app.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a stream reads ahead on its own
            (upstream,) = scene.pool._lending.lent
            assert isinstance(upstream, Upstream)
            app.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
            upstream._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            body = b"x" * 220_000
            second = await scene.client()
            second.send(request(b"POST", body))
            await until(lambda: fronts(scene, "POST", "waiting", "held"))
            app.send(OK)
            await first.head()
            await until(lambda: "slow" in repr(upstream))
            await turns()
            assert fronts(scene, "POST", "lent", "held")
            app.reader._transport.resume_reading()  # type: ignore[attr-defined]  # see above
            await app.head()
            assert await app.exactly(len(body)) == body
            app.send(OK)
            assert (await second.head()).startswith(b"HTTP/1.1 200 OK")

    run(scene())


def test_who_leaves_while_it_waits_is_forgotten() -> None:
    """The app never hears of a request whose client left before its turn."""

    async def scene() -> None:
        async with proxied(Limits(app_connections=1)) as scene:
            first, app = await asked(scene, request(b"GET"))
            second = await scene.client()
            second.send(request(b"GET"))
            await until(lambda: scene.pool.count()["waiting"] == 1)
            second.reset()
            await until(lambda: scene.pool.count()["waiting"] == 0)
            assert scene.lines.told == [(499, "client_gone")]
            app.send(OK)
            await first.head()
            await until(lambda: scene.pool.count()["idle"] == 1)

    run(scene())


# ---------------------------------------------------------------------------- what is told


def test_a_record_is_filled_in() -> None:
    """Sizes, status, times and names are those of the request, whatever its framing."""

    async def scene() -> None:
        async with proxied() as scene:
            head = b"POST /t?q HTTP/1.1\r\nHost: h\r\nUser-Agent: a\r\nReferer: r\r\nTransfer-Encoding: chunked\r\n\r\n"
            client, app = await asked(scene, head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
            app.send(b"HTTP/1.1 201 x\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n0123456\r\n0\r\n\r\n")
            answer = await client.head()
            await until(lambda: scene.lines.ended)
            ((record, reason),) = scene.lines.ended
            assert (record.method, record.target, record.version) == ("POST", "/t?q", (1, 1))
            assert (record.status, record.received, record.sent, reason) == (201, 5, 7, "")
            assert (record.agent, record.referer, record.address) == (b"a", b"r", "127.0.0.1")
            assert b"X-Request-ID: " + record.request_id in answer
            assert record.started <= record.app_started
            tally = scene.journal.tally
            assert (tally.requests["POST", 201], tally.received, tally.sent) == (1, 5, 7)

    run(scene())


def test_ids_differ() -> None:
    """Each request has an id of its own, over all connections, which the app and the client see alike."""

    async def scene() -> None:
        async with proxied() as scene:
            ids = set()
            first, app = await served(scene)
            for client in (first, await scene.client()):
                client.send(request(b"GET") * 2)
                for _ in range(2):
                    told = (await app.head()).partition(b"X-Request-ID: ")[2].partition(b"\r\n")[0]
                    app.send(OK)
                    assert b"X-Request-ID: %b\r\n" % told in await client.head()
                    await client.exactly(2)
                    ids.add(told)
            assert len(ids) == 4

    run(scene())


def test_fixes_are_applied() -> None:
    """The app's redirects lead to the host that the client asked for."""

    async def scene() -> None:
        async with proxied(fixes=Fixes(transport_security=b"max-age=1")) as scene:
            client, app = await asked(scene, request(b"GET"))
            app.send(b"HTTP/1.1 302 x\r\nLocation: http://h/x\r\nContent-Length: 0\r\n\r\n")
            head = await client.head()
            assert b"Location: https://h/x\r\n" in head
            assert b"Strict-Transport-Security: max-age=1\r\n" in head

    run(scene())


def test_an_app_that_takes_no_body_has_a_deadline() -> None:
    """An upload that the app stops reading ends after a response's time."""

    async def scene() -> None:
        async with proxied(timeouts=Timeouts(app_wait=0, response=10)) as scene:
            size = 1 << 27
            client, app = await asked(scene, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size)
            app.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a stream reads ahead on its own
            while not any("held" in repr(front) for front in scene.server.connections):
                client.send(b"x" * 65536)
                await asyncio.sleep(0)
            scene.later(9)
            assert scene.lines.told == []
            scene.later(11)
            assert scene.lines.told == [(504, "app_timeout")]

    run(scene())


def test_an_app_that_neither_reads_nor_answers_on_has_a_deadline() -> None:
    """A response that was begun does not excuse an app that takes no more of the body and sends no more either."""

    async def scene() -> None:
        async with proxied(timeouts=Timeouts(app_wait=0, response=10)) as scene:
            client, app = await asked(scene, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (1 << 27))
            app.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a stream reads ahead on its own
            while not fronts(scene, "held"):
                client.send(b"x" * 65536)
                await asyncio.sleep(0)
            app.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")
            await client.head()
            scene.later(9)
            assert scene.lines.told == []
            scene.later(11)
            assert scene.lines.told == [(200, "app_timeout")]
            assert scene.pool.count()["lent"] == 0
            assert await client.rest() in (b"", b"ok")

    run(scene())


def test_repr() -> None:
    """It says which request it is and where it stands."""

    async def scene() -> None:
        async with proxied() as scene:
            await asked(scene, request(b"GET"))
            (front,) = scene.server.connections
            await until(lambda: "lent" in repr(front))
            assert "GET" in repr(front)

    run(scene())
