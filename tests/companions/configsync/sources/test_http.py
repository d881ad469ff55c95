"""A file at a URL: fetched when it has changed, and heard of at once by a held request or an event."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from aiohttp import web

from tests.companions.configsync.sources.serving import QUICK, asking, served
from tlsproxy.companions.configsync.sources.content import Content, Source, SourceError


class Api:
    """A configuration API: one text with a version, conditional, held if asked to, with a stream of events."""

    def __init__(self) -> None:
        self.text, self.version = b"one", 1
        self.holds = True
        self.plain = False
        """Without validators."""
        self.greeting = b""
        """What an event stream begins with."""
        self.requests: list[web.Request] = []
        self.statuses: list[int] = []
        self.changed = asyncio.Event()
        self.held = asyncio.Event()

    def put(self, text: bytes) -> None:
        self.text, self.version = text, self.version + 1
        self.changed.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        response = await (self._stream(request) if request.path == "/events" else self._file(request))
        self.statuses.append(response.status)
        return response

    async def _file(self, request: web.Request) -> web.StreamResponse:
        if self.plain:
            return web.Response(body=self.text)
        fields = {"ETag": f'"{self.version}"', "Last-Modified": "Sat, 21 Nov 2026 19:00:00 GMT"}
        if request.headers.get("If-None-Match") != fields["ETag"]:
            return web.Response(body=self.text, headers=fields)
        if "Prefer" in request.headers and self.holds:
            self.held.set()
            await self.changed.wait()
            return web.Response(body=self.text, headers={"ETag": f'"{self.version}"'})
        return web.Response(status=304, headers=fields)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b": hello\n\n" + self.greeting)
        await self.changed.wait()
        self.changed.clear()
        await response.write(f"id: {self.version}\ndata: {self.version}\n\n".encode())
        if self.text == b"last":
            return response
        await asyncio.Event().wait()
        return response


def run(work: Callable[[Api, Source], Awaitable[None]], fragment: str = "", hold: float = 20.0) -> None:
    async def play() -> None:
        api = Api()
        bounds = replace(QUICK, hold=hold)
        async with served(api.handle) as url, asking(f"{url}/app.json?token=x{fragment}", bounds=bounds) as (source,):
            await work(api, source)

    asyncio.run(play(), debug=True)


async def content(source: Source) -> tuple[bytes, str] | None:
    fetched = await source.fetch()
    return None if fetched is None else (fetched.files["app.json"], fetched.version)


def test_a_file_is_fetched_once() -> None:
    """It comes with the server's version, and again only when it has changed; the server is asked conditionally."""

    async def work(api: Api, source: Source) -> None:
        assert await source.fetch() == Content({"app.json": b"one"}, '"1"')
        assert await source.fetch() is None
        assert api.statuses == [200, 304]
        assert api.requests[1].headers["If-Modified-Since"] == "Sat, 21 Nov 2026 19:00:00 GMT"
        api.put(b"two")
        assert await content(source) == (b"two", '"2"')

    run(work)


def test_the_same_bytes_are_no_change() -> None:
    """A server without validators, or with a new one for the same, gives nothing new."""

    async def work(api: Api, source: Source) -> None:
        assert await content(source) == (b"one", '"1"')
        api.put(b"one")
        assert await source.fetch() is None
        api.plain, api.text = True, b"two"
        assert await content(source) == (b"two", "sha256:3fc4ccfe745870e2")
        assert await source.fetch() is None

    run(work)


def test_the_name_has_no_query() -> None:
    """What tells of a source repeats nothing that may be a token."""

    async def work(api: Api, source: Source) -> None:
        await source.fetch()
        assert source.name == f"http://{api.requests[0].host}/app.json"

    run(work)


@pytest.mark.parametrize("status", [204, 401, 404, 500, 503])
def test_what_is_no_success_is_an_error(status: int) -> None:
    """Its status is named, and nothing is passed on; when to come back is heeded."""

    async def play() -> None:
        async def handle(_: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Retry-After": "17"})

        async with served(handle) as url, asking(f"{url}/x") as (source,):
            with pytest.raises(SourceError, match=str(status)) as failed:
                await source.fetch()
            assert failed.value.retry_after == 17.0

    asyncio.run(play(), debug=True)


def test_a_304_that_was_not_asked_for_is_an_error() -> None:
    """A broken cache does not pass for a file that has not changed."""

    async def play() -> None:
        async def handle(_: web.Request) -> web.Response:
            return web.Response(status=304)

        async with served(handle) as url, asking(f"{url}/x") as (source,):
            with pytest.raises(SourceError, match="304"):
                await source.fetch()

    asyncio.run(play(), debug=True)


# ---------------------------------------------------------------------------- held requests


def test_a_held_request_tells_of_a_change() -> None:
    """It is conditional and asks to be held; its end means that there is something to fetch."""

    async def work(api: Api, source: Source) -> None:
        await source.fetch()
        waiting = asyncio.create_task(source.wait())
        await asyncio.wait_for(api.held.wait(), 2)
        assert api.requests[1].headers["Prefer"] == "wait=20"
        assert not waiting.done()
        api.put(b"two")
        await asyncio.wait_for(waiting, 2)
        assert await content(source) == (b"two", '"2"')

    run(work, "#wait")


def test_a_fetch_is_never_held() -> None:
    """What is fetched besides a held request is asked for without a condition, since some hold any that has one."""

    async def work(api: Api, source: Source) -> None:
        await source.fetch()
        assert await source.fetch() is None
        assert "If-None-Match" not in api.requests[1].headers

    run(work, "#wait")


def test_a_server_that_does_not_hold() -> None:
    """It answers at once: that ends the wait, so that whoever follows the source sees how often it does."""

    async def work(api: Api, source: Source) -> None:
        api.holds = False
        await source.fetch()
        await asyncio.wait_for(source.wait(), 2)
        assert api.statuses == [200, 304]

    run(work, "#wait")


def test_a_held_request_wants_a_validator() -> None:
    """Without one nothing can be waited for, and the operator is told."""

    async def work(api: Api, source: Source) -> None:
        api.plain = True
        await source.fetch()
        with pytest.raises(SourceError, match="neither ETag nor Last-Modified"):
            await source.wait()

    run(work, "#wait")


def test_polling_alone_hears_of_nothing() -> None:
    """Without a fragment there is no request besides the fetches."""

    async def work(api: Api, source: Source) -> None:
        await source.fetch()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(source.wait(), 0.05)
        assert len(api.requests) == 1

    run(work)


# ---------------------------------------------------------------------------- server-sent events

EVENTS = "#events=/events"


def test_an_event_tells_of_a_change() -> None:
    """A stream's beginning means that something may have been missed; then each event is told, heartbeats are not."""

    async def work(api: Api, source: Source) -> None:
        await source.fetch()
        await asyncio.wait_for(source.wait(), 2)
        assert await source.fetch() is None
        waiting = asyncio.create_task(source.wait())
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        api.put(b"two")
        await asyncio.wait_for(waiting, 2)
        assert await content(source) == (b"two", '"2"')
        assert [request.path for request in api.requests].count("/events") == 1

    run(work, EVENTS)


def test_an_event_during_a_fetch_is_not_missed() -> None:
    """The stream is read while nobody waits, also after a wait that was cancelled."""

    async def work(api: Api, source: Source) -> None:
        await source.wait()
        waiting = asyncio.create_task(source.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        api.put(b"two")
        await source.fetch()
        await asyncio.wait_for(source.wait(), 2)

    run(work, EVENTS)


def test_a_stream_goes_on_where_it_ended() -> None:
    """After the pause that the server asked for it is asked for again, from the last event on."""

    async def work(api: Api, source: Source) -> None:
        api.greeting = b"retry: 10\n\n"
        await source.wait()
        api.put(b"last")
        await asyncio.wait_for(source.wait(), 2)
        await asyncio.wait_for(source.wait(), 2)
        await asyncio.wait_for(source.wait(), 2)
        streams = [request for request in api.requests if request.path == "/events"]
        assert [request.headers.get("Last-Event-ID") for request in streams] == [None, "2"]

    run(work, EVENTS)


def test_a_silent_stream_is_asked_for_again() -> None:
    """One that has said nothing for so long may be half dead."""

    async def work(api: Api, source: Source) -> None:
        api.greeting = b"retry: 10\n\n"
        for _ in range(3):
            await asyncio.wait_for(source.wait(), 2)
        assert [request.path for request in api.requests].count("/events") == 2

    run(work, EVENTS, hold=0.05)


@pytest.mark.parametrize("fault", ["silent", "compressed"])
def test_streams_that_can_not_be_read(fault: str) -> None:
    """One whose head does not come is left in time; one that is compressed against what was asked, at once."""

    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.headers["Accept-Encoding"] == "identity"
        if fault == "silent":
            await asyncio.Event().wait()
        return web.Response(headers={"Content-Type": "text/event-stream", "Content-Encoding": "gzip"})

    async def play() -> None:
        bounds = replace(QUICK, connect=0.1, head=0.1)
        async with served(handle) as url, asking(f"{url}/x#events", bounds=bounds) as (source,):
            with pytest.raises(SourceError, match="in time" if fault == "silent" else "compresses a stream"):
                await asyncio.wait_for(source.wait(), 2)

    asyncio.run(play(), debug=True)


def test_what_is_no_stream_is_an_error() -> None:
    """A URL without events is told of, and can be tried again."""

    async def work(api: Api, source: Source) -> None:
        for _ in range(2):
            with pytest.raises(SourceError, match="octet-stream where text/event-stream"):
                await asyncio.wait_for(source.wait(), 2)

    run(work, "#events=/other")
