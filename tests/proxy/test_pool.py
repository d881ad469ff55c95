"""Connections to the app: who is lent which, in which order and within which bounds; and the pool on real sockets."""

import asyncio
import contextlib
import gc
import random
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from time import monotonic

import pytest
import uvloop

from tests.proxy.lending_walk import Walk
from tests.proxy.loopback import proxied, until
from tlsproxy.chassis.app_address import AppAddress
from tlsproxy.proxy.heads import Field, Piece, Response
from tlsproxy.proxy.limits import Limits, Timeouts
from tlsproxy.proxy.pool import Lending, Pool
from tlsproxy.proxy.refusals import (
    AppAbsent,
    AppConnectTimeout,
    AppFault,
    AppRefused,
    Overloaded,
    Refusal,
)
from tlsproxy.proxy.response_reader import ResponseReader
from tlsproxy.proxy.tally import Tally
from tlsproxy.proxy.upstream import Upstream

# ---------------------------------------------------------------------------- decisions


def play(limit: int, script: str) -> list[str]:
    """Play a script of decisions; what each one came to.

    `a` asks, `a!` asks for a fresh one, `+1` connection 1 is opened, `-` an opening failed, `1` is returned,
    `x1` has ended. Openings are begun after each step, as the pool does.
    """
    lending: Lending[str, str] = Lending(limit)
    outcomes = []
    for step in script.split():
        match step[0], step[1:]:
            case "+", connection:
                outcome = f"{connection}>{lending.opened(connection) or 'idle'}"
            case "-", _:
                lending.failed_to_open()
                outcome = "failed"
            case "x", connection:
                lending.ended(connection)
                outcome = "ended"
            case digit, _ if digit.isdigit():
                outcome = f"{step}>{lending.returned(step) or 'idle'}"
            case asker, fresh:
                connection_or_none = lending.ask(asker, fresh=bool(fresh))
                outcome = f"{connection_or_none or 'wait'}>{asker}"
        opened = 0
        while lending.next_to_open():
            opened += 1
        outcomes.append(outcome + "+" * opened)
    return outcomes


DECISIONS = [
    # what it shows, limit, script, outcomes (a + for each opening that follows)
    ("none idle: one is opened", 0, "a +1 1", "wait>a+ 1>a 1>idle"),
    ("an idle one is lent at once", 0, "a +1 1 b", "wait>a+ 1>a 1>idle 1>b"),
    ("last in, first out", 0, "a b +1 +2 1 2 c d", "wait>a+ wait>b+ 1>a 2>b 1>idle 2>idle 2>c 1>d"),
    ("whoever waits first is served first", 0, "a b +1 +2", "wait>a+ wait>b+ 1>a 2>b"),
    ("a returned one serves who waits", 0, "a b +1 1 +2", "wait>a+ wait>b+ 1>a 1>b 2>idle"),
    ("the limit holds", 1, "a b c +1 1 1 1", "wait>a+ wait>b wait>c 1>a 1>b 1>c 1>idle"),
    ("the limit holds for idle ones too", 1, "a b +1 1 1 c", "wait>a+ wait>b 1>a 1>b 1>idle 1>c"),
    ("an end makes room", 1, "a b +1 x1 +2", "wait>a+ wait>b 1>a ended+ 2>b"),
    ("a failure makes room", 1, "a b - +1", "wait>a+ wait>b failed+ 1>a"),
    ("fresh goes first", 1, "a b +1 x1 a! +2 2", "wait>a+ wait>b 1>a ended+ wait>a 2>a 2>b"),
    ("fresh is never given a used one", 0, "a b +1 +2 x1 a! 2 +3", "wait>a+ wait>b+ 1>a 2>b ended wait>a+ 2>idle 3>a"),
    ("fresh passes by idle ones", 0, "a +1 1 a! +2", "wait>a+ 1>a 1>idle wait>a+ 2>a"),
    ("nobody passes those who wait", 2, "a b +1 +2 c 1 d", "wait>a+ wait>b+ 1>a 2>b wait>c 1>c wait>d"),
    ("an idle one may end", 0, "a +1 1 x1 b", "wait>a+ 1>a 1>idle ended wait>b+"),
    ("an unknown one may end", 0, "x9 a", "ended wait>a+"),
]


@pytest.mark.parametrize(
    ("limit", "script", "outcomes"), [row[1:] for row in DECISIONS], ids=[row[0] for row in DECISIONS]
)
def test_decisions(limit: int, script: str, outcomes: str) -> None:
    """What the pool decides, as a table."""
    assert play(limit, script) == outcomes.split()


def test_who_withdraws_is_not_served() -> None:
    """A connection that is opened for one who has left goes to the next, or is idle."""
    lending: Lending[str, int] = Lending()
    lending.ask("a", fresh=False)
    assert lending.next_to_open()
    del lending.waiting["a"]
    assert lending.opened(1) is None
    assert list(lending.idle) == [1]


@pytest.mark.parametrize("limit", [0, 1, 2, 5])
@pytest.mark.parametrize("seed", range(10))
def test_a_random_walk(limit: int, seed: int) -> None:
    """Nobody is served out of order or above the limit, no connection has two lives, everybody is served in the end."""
    Walk(limit, random.Random(seed)).take(300)  # noqa: S311  a course of events is no secret


# ---------------------------------------------------------------------------- on real sockets

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REFUSED_AT_ONCE = Timeouts(app_wait=0)


class App:
    """An app on a listening socket, played by the test: it accepts when it is asked to."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.connections: list[socket.socket] = []

    async def accept(self) -> socket.socket:
        connection, _ = await asyncio.get_running_loop().sock_accept(self.listener)
        self.connections.append(connection)
        return connection

    def close(self) -> None:
        for sock in (self.listener, *self.connections):
            sock.close()


class Guest:
    """One who asks; notes in a common list when it is served."""

    def __init__(self, pool: Pool, served: list["Guest"] | None = None) -> None:
        self.pool = pool
        self.upstream: Upstream | None = None
        self.used: bool | None = None
        self.was_quiet: bool | None = None
        self.refusal: Refusal | None = None
        self.fault: AppFault | None = None
        self.whole = False
        self._served = [] if served is None else served

    def ask(self, *, repeatable: bool = True, fresh: bool = False) -> "Guest":
        self.pool.ask(self, repeatable=repeatable, fresh=fresh)
        return self

    def lent(self, upstream: Upstream, *, used: bool) -> None:
        assert self.upstream is None
        self.upstream, self.used, self.was_quiet = upstream, used, upstream.is_quiet()
        upstream.begin(self, for_head=False)
        self._served.append(self)

    def unavailable(self, refusal: Refusal) -> None:
        assert self.refusal is None
        self.refusal = refusal

    async def use(self, app: socket.socket) -> None:
        """Have the app answer, which gives the connection back."""
        app.sendall(OK)
        await until(lambda: self.whole)

    def respond(self, response: Response, chunks: Sequence[Piece], *, end: bool, trailers: Sequence[Field]) -> None:
        self.relay(chunks, end=end, trailers=trailers)

    def relay(self, chunks: Sequence[Piece], *, end: bool, trailers: Sequence[Field]) -> None:
        if end:
            assert self.upstream is not None
            self.whole = True
            self.upstream.release()

    def lost(self, fault: AppFault, *, heard: bool) -> None:
        self.fault = fault

    def interim(self, response: Response) -> None: ...

    def app_slow(self) -> None: ...

    def app_ready(self) -> None: ...


def listening(address: tuple[str, int] = ("127.0.0.1", 0), backlog: int = 100) -> socket.socket:
    listener = socket.create_server(address, backlog=backlog)
    listener.setblocking(False)
    return listener


@contextlib.asynccontextmanager
async def in_front_of_an_app(
    app_connections: int = 0, timeouts: Timeouts = REFUSED_AT_ONCE
) -> AsyncIterator[tuple[Pool, App]]:
    app = App(listening())
    pool = Pool(AppAddress(*app.listener.getsockname()), Limits(app_connections=app_connections), timeouts, Tally())
    try:
        yield pool, app
    finally:
        await finish(pool)
        app.close()


async def finish(pool: Pool) -> None:
    """End everything of the pool, so that no transport outlives its loop."""
    for upstream in list(pool._lending.lent):
        upstream.drop()
    await pool.close()
    for _ in range(3):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def in_front_of(address: AppAddress, timeouts: Timeouts) -> AsyncIterator[Pool]:
    pool = Pool(address, Limits(), timeouts, Tally())
    try:
        yield pool
    finally:
        await finish(pool)


def unused_address() -> AppAddress:
    with listening() as listener:
        return AppAddress(*listener.getsockname())


def test_a_connection_is_opened_lent_and_used_again() -> None:
    """The first who asks waits for a new connection; the next one gets it at once."""

    async def scene() -> None:
        async with in_front_of_an_app() as (pool, app):
            first = Guest(pool).ask()
            assert pool.count() == {"idle": 0, "lent": 0, "opening": 1, "waiting": 1}
            connection = await app.accept()
            await until(lambda: first.upstream)
            assert (first.used, pool.count()["lent"]) == (False, 1)
            await first.use(connection)
            assert pool.count() == {"idle": 1, "lent": 0, "opening": 0, "waiting": 0}
            second = Guest(pool).ask()
            assert (second.upstream, second.used) == (first.upstream, True)
            assert sum(pool._tally.app_connects.counts) == 1

    asyncio.run(scene())


def test_a_unix_socket(tmp_path: Path) -> None:
    """An app may listen on a path."""

    async def scene() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "app"))
            listener.listen()
            async with in_front_of(AppAddress(socket=str(tmp_path / "app")), REFUSED_AT_ONCE) as pool:
                guest = Guest(pool).ask()
                await until(lambda: guest.upstream)
            async with in_front_of(AppAddress(socket=str(tmp_path / "nobody")), REFUSED_AT_ONCE) as pool:
                guest = Guest(pool).ask()
                await until(lambda: guest.refusal)
                assert "nobody" in str(guest.refusal)

    asyncio.run(scene())


def test_without_a_wait_everyone_is_turned_away_at_once() -> None:
    """With app_wait 0 each request is told 502 as soon as the app has refused."""

    async def scene() -> None:
        address = unused_address()
        async with in_front_of(address, REFUSED_AT_ONCE) as pool:
            guests = [Guest(pool).ask() for _ in range(5)]
            await until(lambda: all(guest.refusal for guest in guests))
            for guest in guests:
                assert isinstance(guest.refusal, AppRefused)
                assert str(address) in guest.refusal.detail
            assert pool.count() == {"idle": 0, "lent": 0, "opening": 0, "waiting": 0}

    asyncio.run(scene())


def test_what_was_made_for_a_refused_attempt_goes_by_itself() -> None:
    """uvloop makes the protocol before it connects and never tells it of a failure; a cycle would pile up for hours."""

    async def scene() -> None:
        async with in_front_of(unused_address(), REFUSED_AT_ONCE) as pool:
            guest = Guest(pool).ask()
            await until(lambda: guest.refusal)

    gc.collect()
    gc.disable()
    try:
        before = readers()
        uvloop.run(scene())
        assert readers() == before
    finally:
        gc.enable()


def readers() -> int:
    """How many readers of responses there are, garbage included."""
    return sum(type(thing) is ResponseReader for thing in gc.get_objects())


def test_requests_are_held_until_the_app_comes() -> None:
    """While the app refuses, requests wait, and are served in their order when it listens."""

    async def scene() -> None:
        address = unused_address()
        async with in_front_of(address, Timeouts(app_wait=30)) as pool:
            served: list[Guest] = []
            guests = [Guest(pool, served).ask() for _ in range(3)]
            await until(lambda: pool._refusal)
            pool.sweep(monotonic() + 29)
            assert all(guest.refusal is None for guest in guests)
            with listening((address.host, address.port)):
                await until(lambda: len(served) == 3)
                assert served == guests

    asyncio.run(scene())


def test_who_has_been_held_for_too_long_is_turned_away() -> None:
    """After app_wait a held request is told 503, and those who came later wait on."""

    async def scene() -> None:
        async with in_front_of(unused_address(), Timeouts(app_wait=3)) as pool:
            early = Guest(pool).ask()
            await until(lambda: pool._refusal)
            pool._since[early] -= 2
            pool._refused_at -= 2
            late = Guest(pool).ask()
            pool.sweep(monotonic() + 0.5)
            assert (early.refusal, late.refusal) == (None, None)
            pool.sweep(monotonic() + 1.5)
            assert isinstance(early.refusal, AppAbsent)
            assert late.refusal is None
            pool.sweep(monotonic() + 3.5)
            assert isinstance(late.refusal, AppAbsent)

    asyncio.run(scene())


def test_a_refusing_app_is_asked_by_one_attempt_at_a_time() -> None:
    """However many requests are held, the app's port is knocked on once every RETRY_PERIOD."""

    async def scene() -> None:
        async with in_front_of(unused_address(), Timeouts(app_wait=30)) as pool:
            Guest(pool).ask()
            await until(lambda: pool._refusal)
            for _ in range(20):
                Guest(pool).ask()
            assert pool.count()["opening"] == 0
            await until(lambda: pool.count()["opening"])
            assert (pool.count()["opening"], pool.count()["waiting"]) == (1, 21)

    asyncio.run(scene())


def test_a_connection_that_nobody_takes_times_out() -> None:
    """An app whose backlog is full neither takes nor refuses: after connect_timeout that is a 504."""

    async def scene() -> None:
        with contextlib.ExitStack() as full:
            listener = full.enter_context(listening(backlog=0))
            address = listener.getsockname()
            for _ in range(3):
                knock = full.enter_context(socket.socket())
                knock.setblocking(False)
                knock.connect_ex(address)
            async with in_front_of(AppAddress(*address), Timeouts(connect=0.2, app_wait=0)) as pool:
                guest = Guest(pool).ask()
                await until(lambda: guest.refusal or guest.upstream)
                assert isinstance(guest.refusal, AppConnectTimeout)
                assert "0.2s" in guest.refusal.detail
                assert pool.count()["opening"] == 0

    asyncio.run(scene())


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example"])
def test_a_host_that_is_no_name(host: str) -> None:
    """A name that can't even be looked up is an app that can't be reached, not one that is waited for in vain."""

    async def scene() -> None:
        async with in_front_of(AppAddress(host, 80), REFUSED_AT_ONCE) as pool:
            guest = Guest(pool).ask()
            await until(lambda: guest.refusal, 2)
            assert pool.count()["opening"] == 0

    asyncio.run(scene())


def test_the_limit_makes_them_wait_in_order() -> None:
    """With app_connections 1 one request has the app, and the others get the same connection in their order."""

    async def scene() -> None:
        async with in_front_of_an_app(app_connections=1) as (pool, app):
            served: list[Guest] = []
            guests = [Guest(pool, served).ask() for _ in range(4)]
            connection = await app.accept()
            for n, guest in enumerate(guests):
                await until(lambda: guest.upstream)  # noqa: B023  it is awaited in the same round
                assert served == guests[: n + 1]
                assert pool.count() == {"idle": 0, "lent": 1, "opening": 0, "waiting": 3 - n}
                await guest.use(connection)
            assert pool.count()["idle"] == 1

    asyncio.run(scene())


def test_an_app_that_closes_is_connected_anew_for_who_waits() -> None:
    """With app_connections 1 and an app that closes after each answer, everybody is served."""

    async def scene() -> None:
        async with in_front_of_an_app(app_connections=1) as (pool, app):
            guests = [Guest(pool).ask() for _ in range(3)]
            for guest in guests:
                connection = await app.accept()
                await until(lambda: guest.upstream)  # noqa: B023  it is awaited in the same round
                connection.sendall(OK.replace(b"OK", b"OK\r\nConnection: close", 1))
                connection.close()
                await until(lambda: guest.whole)  # noqa: B023
            assert pool.count() == {"idle": 0, "lent": 0, "opening": 0, "waiting": 0}

    asyncio.run(scene())


def test_who_waits_in_vain_is_told_so() -> None:
    """Whoever gets no turn within response_timeout is told that the app is overloaded."""

    async def scene() -> None:
        async with in_front_of_an_app(app_connections=1, timeouts=Timeouts(response=10)) as (pool, app):
            first = Guest(pool).ask()
            await app.accept()
            await until(lambda: first.upstream)
            second = Guest(pool).ask()
            pool.sweep(monotonic() + 9)
            assert pool.count()["waiting"] == 1
            pool.sweep(monotonic() + 11)
            assert isinstance(second.refusal, Overloaded)
            assert (first.refusal, pool.count()["waiting"]) == (None, 0)

    asyncio.run(scene())


def test_idle_connections_grow_old() -> None:
    """The sweep closes what has been idle for longer than app_keepalive, and nothing younger."""

    async def scene() -> None:
        async with in_front_of_an_app(timeouts=Timeouts(app_keepalive=10)) as (pool, app):
            guests = [Guest(pool).ask() for _ in range(2)]
            for guest in guests:
                connection = await app.accept()
                await until(lambda: guest.upstream)  # noqa: B023  it is awaited in the same round
            for guest, connection in zip(guests, app.connections, strict=True):
                await guest.use(connection)
            first = guests[0].upstream
            assert first is not None
            first.idle_since -= 5
            pool.sweep(monotonic() + 6)
            assert pool.count()["idle"] == 1
            assert first._transport.is_closing()
            pool.sweep(monotonic() + 11)
            assert pool.count()["idle"] == 0

    asyncio.run(scene())


def test_an_app_that_closes_an_idle_connection_is_believed() -> None:
    """A connection that the app has closed while it was idle is not lent again."""

    async def scene() -> None:
        async with in_front_of_an_app() as (pool, app):
            guest = Guest(pool).ask()
            connection = await app.accept()
            await until(lambda: guest.upstream)
            await guest.use(connection)
            connection.close()
            await until(lambda: pool.count()["idle"] == 0)

    asyncio.run(scene())


def test_what_may_not_be_repeated_gets_no_closed_connection() -> None:
    """The kernel is asked whether the app has closed before a request is sent that can't be sent twice."""

    async def scene() -> None:
        async with in_front_of_an_app() as (pool, app):
            first = Guest(pool).ask()
            connection = await app.accept()
            await until(lambda: first.upstream)
            await first.use(connection)
            connection.close()
            unsafe = Guest(pool).ask(repeatable=False)
            assert unsafe.upstream is None
            await app.accept()
            await until(lambda: unsafe.upstream)
            assert unsafe.used is False

    asyncio.run(scene())


def test_nor_does_it_when_it_has_waited() -> None:
    """So it is when the connection comes straight from the request before, whose answer the app ended by closing."""

    async def scene() -> None:
        async with in_front_of_an_app(app_connections=1) as (pool, app):
            first = Guest(pool).ask(repeatable=False)
            connection = await app.accept()
            await until(lambda: first.upstream)
            unsafe = Guest(pool).ask(repeatable=False)
            connection.sendall(OK)
            connection.close()
            await until(lambda: unsafe.upstream)
            assert unsafe.was_quiet, "it was given a connection that the app had closed"

    asyncio.run(scene())


def test_a_fresh_connection_is_a_new_one() -> None:
    """Whoever's connection broke gets one that was never used, though idle ones are there."""

    async def scene() -> None:
        async with in_front_of_an_app() as (pool, app):
            first = Guest(pool).ask()
            connection = await app.accept()
            await until(lambda: first.upstream)
            await first.use(connection)
            again = Guest(pool).ask(fresh=True)
            await until(lambda: again.upstream)
            assert again.used is False
            assert again.upstream is not first.upstream

    asyncio.run(scene())


def test_who_withdraws_is_forgotten() -> None:
    """The connection that was opened for a client who left is kept for the next one."""

    async def scene() -> None:
        async with in_front_of_an_app() as (pool, _):
            guest = Guest(pool).ask()
            pool.withdraw(guest)
            pool.withdraw(guest)
            await until(lambda: pool.count()["idle"] == 1)
            assert (guest.upstream, guest.refusal) == (None, None)
            pool.sweep(monotonic() + 1000)

    asyncio.run(scene())


def test_close_ends_what_is_idle() -> None:
    """The app sees the end of idle connections; a second close does nothing."""

    async def scene() -> None:
        async with in_front_of_an_app() as (pool, app):
            guest = Guest(pool).ask()
            connection = await app.accept()
            await until(lambda: guest.upstream)
            await guest.use(connection)
            await pool.close()
            connection.settimeout(5)
            assert await asyncio.to_thread(connection.recv, 1) == b""
            await pool.close()

    asyncio.run(scene())


def test_it_tells_of_itself() -> None:
    """State and counts are shown, and measured."""

    async def scene() -> None:
        async with in_front_of_an_app() as (pool, _):
            Guest(pool).ask()
            assert repr(pool) == f"<Pool {pool.address}: 0 idle, 0 lent, 1 opening, 1 waiting>"
            (measure,) = pool.measures()
            assert measure.name == "tlsproxy_app_connections"
            assert measure.samples == {("idle",): 0, ("lent",): 0, ("opening",): 1, ("waiting",): 1}

    asyncio.run(scene())


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("polite", [True, False])
def test_an_app_that_closes_at_once(loop_factory: Callable[[], asyncio.AbstractEventLoop], polite: bool) -> None:
    """However early an app ends a connection, who waits for it is told."""

    async def scene() -> None:
        async with proxied() as at:
            client = await at.client()
            for _ in range(30):
                client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                app = await at.accept()
                app.close() if polite else app.reset()
                head = await client.head()
                assert head.startswith(b"HTTP/1.1 502 ")
                await client.exactly(int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]))
            assert at.lines.told == [(502, "app_reset")] * 30
            assert at.pool.count() == {"idle": 0, "lent": 0, "opening": 0, "waiting": 0}

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scene())
