"""One connection to the app as its borrower and its owner see it."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest

from tests.proxy.loopback import turns, until
from tlsproxy.proxy.heads import Field, Piece, Response
from tlsproxy.proxy.refusals import AppFault, AppInvalid, AppReset, AppTruncated
from tlsproxy.proxy.upstream import Upstream

OK = b"HTTP/1.1 200 OK\r\n"


class Owner:
    """Where the connection goes back to."""

    def __init__(self) -> None:
        self.news: list[str] = []

    def returned(self, upstream: Upstream) -> None:
        self.news.append("returned")

    def ended(self, upstream: Upstream) -> None:
        self.news.append("ended")


class Borrower:
    """Notes what it is told; ends the use when the response does."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.response: Response | None = None
        self.interims: list[int] = []
        self.body = b""
        self.calls: list[str] = []
        self.trailers: list[Field] = []
        self.ended = False
        self.fault: AppFault | None = None
        self.heard: bool | None = None

    def interim(self, response: Response) -> None:
        self.interims.append(response.status)

    def respond(self, response: Response, chunks: Sequence[Piece], *, end: bool, trailers: Sequence[Field]) -> None:
        assert self.response is None
        self.response = response
        self.calls.append("respond")
        self._take(chunks, end, trailers)

    def relay(self, chunks: Sequence[Piece], *, end: bool, trailers: Sequence[Field]) -> None:
        assert self.response is not None
        self.calls.append("relay")
        self._take(chunks, end, trailers)

    def _take(self, chunks: Sequence[Piece], end: bool, trailers: Sequence[Field]) -> None:
        assert not self.ended
        self.body += b"".join(chunks)
        if end:
            self.ended = True
            self.trailers = list(trailers)
            self.upstream.release()

    def lost(self, fault: AppFault, *, heard: bool) -> None:
        assert self.fault is None
        self.fault, self.heard = fault, heard

    def app_slow(self) -> None:
        self.calls.append("slow")

    def app_ready(self) -> None:
        self.calls.append("ready")


@dataclass
class Pair:
    """A connection and the app's end of it, a plain socket."""

    upstream: Upstream
    owner: Owner
    app: socket.socket

    def lend(self, *, for_head: bool = False) -> Borrower:
        borrower = Borrower(self.upstream)
        self.upstream.begin(borrower, for_head=for_head)
        return borrower

    def reset(self) -> None:
        self.app.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.app.close()


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[Pair]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        owner = Owner()
        loop = asyncio.get_running_loop()
        transport, upstream = await loop.create_connection(lambda: Upstream(owner), *listener.getsockname())
        app, _ = listener.accept()
        app.settimeout(5)
        try:
            with app:
                yield Pair(upstream, owner, app)
        finally:
            transport.abort()
            await until(lambda: "ended" in owner.news)


def test_head_and_body_of_one_read_come_in_one_call() -> None:
    """What came together is told together, and the connection goes back when the response is whole."""

    async def scene() -> None:
        async with connected() as pair:
            borrower = pair.lend()
            pair.upstream.write(b"GET / HTTP/1.1\r\n\r\n")
            assert pair.app.recv(100) == b"GET / HTTP/1.1\r\n\r\n"
            pair.app.sendall(b"HTTP/1.1 103 x\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello")
            await until(lambda: borrower.ended)
            assert (borrower.calls, borrower.body, borrower.interims) == (["respond"], b"hello", [103])
            assert pair.owner.news == ["returned"]

    asyncio.run(scene())


def test_a_connection_carries_one_request_after_the_other() -> None:
    """After a whole response it can be lent again."""

    async def scene() -> None:
        async with connected() as pair:
            for n in range(4):
                borrower = pair.lend(for_head=n % 2 == 0)
                pair.app.sendall(OK + (b"Content-Length: 0\r\n\r\n" if n % 2 == 0 else b"Content-Length: 1\r\n\r\nx"))
                await until(lambda: borrower.ended)  # noqa: B023  it is awaited in the same round
            assert pair.owner.news == ["returned"] * 4

    asyncio.run(scene())


ENDS: list[tuple[str, bytes, type[AppFault] | None, bool | None]] = [
    # what the app sends before it closes, the fault, whether something was heard
    ("nothing", b"", AppReset, False),
    ("half a head", b"HTTP/1.1 200", AppReset, True),
    ("an interim", b"HTTP/1.1 103 x\r\n\r\n", AppReset, True),
    ("a head", OK + b"Content-Length: 5\r\n\r\n", AppTruncated, True),
    ("half a body", OK + b"Content-Length: 5\r\n\r\nhe", AppTruncated, True),
    ("half of the chunks", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", AppTruncated, True),
    ("a body that ends so", OK + b"\r\nhello", None, None),
]


@pytest.mark.parametrize(("data", "fault", "heard"), [row[1:] for row in ENDS], ids=[row[0] for row in ENDS])
def test_a_close_within_a_response(data: bytes, fault: type[AppFault] | None, heard: bool | None) -> None:
    """A borrower is told that the response is not whole, and whether any of it was heard; no connection goes back."""

    async def scene() -> None:
        async with connected() as pair:
            borrower = pair.lend()
            pair.app.sendall(data)
            pair.app.close()
            await until(lambda: borrower.ended or borrower.fault is not None)
            assert (type(borrower.fault) if borrower.fault else None, borrower.heard) == (fault, heard)
            assert "returned" not in pair.owner.news

    asyncio.run(scene())


def test_a_reset_never_completes_a_body() -> None:
    """A body that ends with the connection is not whole when that was reset."""

    async def scene() -> None:
        async with connected() as pair:
            borrower = pair.lend()
            pair.app.sendall(OK + b"\r\nhello")
            await until(lambda: borrower.body == b"hello")
            pair.reset()
            await until(lambda: borrower.fault is not None)
            assert isinstance(borrower.fault, AppTruncated)
            assert not borrower.ended

    asyncio.run(scene())


def test_an_invalid_response_is_told_once() -> None:
    """The borrower is told, the connection is gone at once, and nothing more is said."""

    async def scene() -> None:
        async with connected() as pair:
            borrower = pair.lend()
            pair.app.sendall(b"garbage\r\n\r\n")
            await until(lambda: borrower.fault is not None)
            assert isinstance(borrower.fault, AppInvalid)
            assert pair.upstream._transport.is_closing()

    asyncio.run(scene())


def test_bytes_on_an_idle_connection_end_it() -> None:
    """What nobody asked for would be taken for the next answer."""

    async def scene() -> None:
        async with connected() as pair:
            borrower = pair.lend()
            pair.app.sendall(OK + b"Content-Length: 0\r\n\r\n")
            await until(lambda: borrower.ended)
            pair.app.sendall(OK + b"Content-Length: 0\r\n\r\n")
            await until(lambda: "ended" in pair.owner.news)
            assert pair.upstream._transport.is_closing()

    asyncio.run(scene())


@pytest.mark.parametrize("size", [3, 1 << 20])
def test_who_speaks_first_is_heard_by_who_it_was_opened_for(size: int) -> None:
    """What the app says before it is asked waits for the first borrower, and is bounded until then."""

    async def scene() -> None:
        async with connected() as pair:
            head = OK + b"Content-Length: %d\r\n\r\n" % size
            sender = asyncio.ensure_future(asyncio.to_thread(pair.app.sendall, head + b"x" * size))
            await until(lambda: pair.upstream._early)
            assert len(pair.upstream._early) <= 1 << 16
            borrower = pair.lend()
            await sender
            await until(lambda: borrower.ended)
            assert borrower.body == b"x" * size
            assert borrower.fault is None

    asyncio.run(scene())


def test_who_speaks_first_may_be_held() -> None:
    """A borrower whose client is slow holds what comes behind the first words."""

    async def scene() -> None:
        async with connected() as pair:
            pair.app.sendall(OK + b"Content-Length: 6\r\n\r\nabc")
            await until(lambda: pair.upstream._early)
            borrower = pair.lend()
            pair.upstream.hold()
            pair.app.sendall(b"def")
            await until(lambda: borrower.body == b"abc")
            await turns()
            assert borrower.body == b"abc"
            pair.upstream.let()
            await until(lambda: borrower.body == b"abcdef")

    asyncio.run(scene())


def test_who_ends_first_is_not_closed_before_somebody_has_it() -> None:
    """An app that says nothing may still listen, which a tunnel's client is to find out; a request has no answer."""

    async def scene() -> None:
        async with connected() as pair:
            pair.app.shutdown(socket.SHUT_WR)
            await until(lambda: pair.upstream.ended_early)
            await turns()
            assert not pair.upstream.is_closing
            borrower = pair.lend()
            await until(lambda: borrower.fault)
            assert isinstance(borrower.fault, AppReset)
        async with connected() as pair:
            pair.app.shutdown(socket.SHUT_WR)
            await until(lambda: pair.upstream.ended_early)
            pair.upstream.unclaimed(1.0)
            assert pair.upstream.is_closing

    asyncio.run(scene())


def test_who_speaks_to_nobody_is_not_kept() -> None:
    """First words that come before the connection has become an idle one are nobody's answer."""

    async def scene() -> None:
        async with connected() as pair:
            pair.app.sendall(OK + b"Content-Length: 0\r\n\r\n")
            await until(lambda: pair.upstream._early)
            pair.upstream.unclaimed(1.0)
            assert pair.upstream.is_closing

    asyncio.run(scene())


def test_an_idle_connection_that_nobody_has_had_is_silent_or_ends() -> None:
    """It is lent to anybody from then on, and what it says is not meant for them."""

    async def scene() -> None:
        async with connected() as pair:
            pair.upstream.unclaimed(1.0)
            assert not pair.upstream.is_closing
            pair.app.sendall(OK + b"Content-Length: 0\r\n\r\n")
            await until(lambda: "ended" in pair.owner.news)
            assert pair.upstream.is_closing

    asyncio.run(scene())


def test_a_dropped_connection_is_cut_and_silent() -> None:
    """After `drop` the app sees the end at once, and the borrower hears no more."""

    async def scene() -> None:
        async with connected() as pair:
            borrower = pair.lend()
            pair.app.sendall(OK + b"Content-Length: 100\r\n\r\n")
            await until(lambda: borrower.response is not None)
            pair.upstream.drop()
            assert pair.owner.news == ["ended"]
            await asyncio.sleep(0)
            with contextlib.suppress(ConnectionResetError):
                assert pair.app.recv(1) == b""
            assert (borrower.fault, borrower.ended) == (None, False)

    asyncio.run(scene())


def test_quiet() -> None:
    """A connection on which the kernel knows of news is not quiet, though the loop has not been told of them."""

    async def scene() -> None:
        async with connected() as pair:
            assert pair.upstream.is_quiet()
            pair.app.close()
            assert not pair.upstream.is_quiet()

    asyncio.run(scene())


def test_hold_and_let() -> None:
    """A held connection reads nothing, and goes on when it is let; both may be said twice."""

    async def scene() -> None:
        async with connected() as pair:
            borrower = pair.lend()
            pair.upstream.hold()
            pair.upstream.hold()
            pair.app.sendall(OK + b"Content-Length: 5\r\n\r\nhello")
            for _ in range(20):
                await asyncio.sleep(0)
            assert borrower.calls == []
            pair.upstream.let()
            pair.upstream.let()
            await until(lambda: borrower.ended)

    asyncio.run(scene())


def test_a_slow_app_is_told_of() -> None:
    """Its borrower hears that the app takes no more, and when it does again."""

    async def scene() -> None:
        async with connected() as pair:
            borrower = pair.lend()
            pair.app.setblocking(False)
            sent = 0
            while "slow" not in borrower.calls:
                pair.upstream.write(b"x" * 65536)
                sent += 65536
                await asyncio.sleep(0)
            loop = asyncio.get_running_loop()
            while sent:
                sent -= len(await loop.sock_recv(pair.app, 1 << 20))
            await until(lambda: "ready" in borrower.calls)
            assert borrower.calls == ["slow", "ready"]

    asyncio.run(scene())


def test_last_words_are_heard() -> None:
    """An app that answers and hangs up while the body is still coming has its answer heard, though a write failed."""

    async def scene() -> None:
        async with connected() as pair:
            borrower = pair.lend()
            pair.upstream.hold()
            pair.upstream.write(b"x")
            await asyncio.sleep(0)
            pair.app.sendall(b"HTTP/1.1 413 x\r\nContent-Length: 3\r\n\r\nbig")
            pair.app.close()
            while not pair.upstream._transport.is_closing() and not borrower.ended:
                pair.upstream.write(b"x" * 1000)
                await asyncio.sleep(0)
            await until(lambda: borrower.ended or borrower.fault is not None)
            assert borrower.response is not None, borrower.fault
            assert (borrower.response.status, borrower.body) == (413, b"big")

    asyncio.run(scene())


def test_the_place_is_free_again_even_where_memory_has_run_out() -> None:
    """What fails while last words are passed on neither keeps the connection in the pool nor the borrower waiting."""

    class Exhausted(Borrower):
        def _take(self, chunks: Sequence[Piece], end: bool, trailers: Sequence[Field]) -> None:
            raise MemoryError

    async def scene() -> None:
        async with connected() as pair:
            borrower = Exhausted(pair.upstream)
            pair.upstream.begin(borrower, for_head=False)
            pair.app.sendall(OK + b"Content-Length: 3\r\n\r\nabc")
            with pytest.raises(MemoryError):
                pair.upstream.connection_lost(ConnectionResetError())
            assert isinstance(borrower.fault, AppTruncated)
            assert pair.owner.news == ["ended"]

    asyncio.run(scene())


def test_repr() -> None:
    """It says what the connection is doing."""

    async def scene() -> None:
        async with connected() as pair:
            assert repr(pair.upstream) == "<Upstream idle>"
            pair.lend()
            pair.upstream.hold()
            assert "lent" in repr(pair.upstream)
            assert "held" in repr(pair.upstream)

    asyncio.run(scene())
