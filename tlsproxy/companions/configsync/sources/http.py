"""A file at any HTTP(S) URL: conditional requests, and three ways to hear of a change.

- poll: only by asking, with If-None-Match and If-Modified-Since (RFC 9110 section 13).
- wait: a conditional request that the server holds until something has changed, asked for by `Prefer: wait=N`
  (RFC 7240 section 4.3). What is fetched besides is asked for without a condition, so that it is never held.
- events: server-sent events, of which each means that there is something to fetch.

Consul's blocking queries, with an index in the URL, are none of them: poll them, or have them answer with an ETag.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from time import monotonic
from urllib.parse import urlsplit

import aiohttp
from aiohttp import hdrs

from tlsproxy.companions.configsync.sources.addresses import HttpAddress
from tlsproxy.companions.configsync.sources.client import Bounds, Client, refused
from tlsproxy.companions.configsync.sources.content import Content, SourceError
from tlsproxy.companions.configsync.sources.events import EventStream

# A held request that is let go sooner, without a change, was not held: the server does not know how.
_HELD = 1.0
# Until a closed event stream is asked for again, where the server does not say; browsers take 3 to 5 s.
_RECONNECT, _LONGEST_RECONNECT = 3.0, 60.0
# A server or proxy in between that takes a little longer than it was asked to.
_LATE = 15.0
_EVENTS = "text/event-stream"


class HttpSource:
    """One URL.

    Args:
        address: where, as what, and how changes are heard of.
        client: for the address's origin; closed with this.
        bounds: as the client's.
    """

    def __init__(self, address: HttpAddress, client: Client, bounds: Bounds) -> None:
        self._address = address
        self._client = client
        self._bounds = bounds
        self._validators: dict[str, str] = {}
        self._digest = b""
        self._events = EventStream()
        self._listening: asyncio.Task[None] | None = None
        """Reads the event stream, from one wait to the next."""
        self._told = asyncio.Event()
        """Whether the stream has told of anything, its end included, since the last wait."""
        parts = urlsplit(address.url)
        self._name = f"{parts.scheme}://{parts.netloc}{parts.path}"

    @property
    def name(self) -> str:
        """The URL without its query."""
        return self._name

    async def aclose(self) -> None:
        """Close the stream and the client."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await self._client.aclose()

    # ------------------------------------------------------------------ fetching

    async def fetch(self) -> Content | None:
        """The file; see `Source`."""
        conditions = {} if self._address.notice == "wait" else _conditions(self._validators)
        answer = await self._client.ask("GET", self._address.url, {hdrs.CACHE_CONTROL: "no-cache", **conditions})
        if answer.status == 304 and conditions:
            return None
        if answer.status != 200:
            raise refused(answer.status, answer.fields)
        self._validators = {name: answer.fields[name] for name in _VALIDATORS if name in answer.fields}
        digest = sha256(answer.body).digest()
        if digest == self._digest:
            return None
        self._digest = digest
        version = next(iter(self._validators.values()), f"sha256:{digest.hex()[:16]}")
        return Content({self._address.target: answer.body}, version)

    # ------------------------------------------------------------------ hearing of changes

    async def wait(self) -> None:
        """Until a change is heard of; see `Source`."""
        match self._address.notice:
            case "poll":
                await asyncio.Event().wait()
            case "wait":
                await self._held()
            case "events":
                await self._event()

    async def _held(self) -> None:
        """One request after the other, each held by the server, until one is answered with a change."""
        if not self._validators:
            raise SourceError(
                "it gives neither ETag nor Last-Modified, without which nothing can be waited for (#wait)"
            )
        hold = self._bounds.hold
        fields = {"Prefer": f"wait={hold:.0f}", **_conditions(self._validators)}
        while True:
            asked = monotonic()
            async with self._client.streaming("GET", self._address.url, fields, head_within=hold + _LATE) as response:
                if response.status not in {200, 304}:
                    raise refused(response.status, response.headers)
                if response.status == 200 or monotonic() - asked < _HELD:
                    return

    async def _event(self) -> None:
        """The next event; or the beginning of a stream, before which one may have been missed."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name=f"events of {self._name}")
        await self._told.wait()
        self._told.clear()
        if self._listening.done():
            ended, self._listening = self._listening, None
            await ended

    async def _listen(self) -> None:
        """One event stream to its end; it is read while others fetch, so that nothing is missed meanwhile."""
        try:
            fields: dict[str, str] = {hdrs.ACCEPT: _EVENTS, hdrs.CACHE_CONTROL: "no-cache"}
            if self._events.last_id:
                fields["Last-Event-ID"] = self._events.last_id
            async with self._client.streaming("GET", self._address.events_url, fields) as response:
                if response.status != 200:
                    raise refused(response.status, response.headers)
                if response.content_type != _EVENTS:
                    raise SourceError(f"it gives {response.content_type} where {_EVENTS} was asked for (#events)")
                self._told.set()
                await self._hear(response)
            await asyncio.sleep(min(self._events.retry or _RECONNECT, _LONGEST_RECONNECT))
        finally:
            self._told.set()

    async def _hear(self, response: aiohttp.ClientResponse) -> None:
        """Until the stream ends, or was silent for so long that it may be half dead."""
        self._events.connected()
        with suppress(TimeoutError):
            while True:
                async with asyncio.timeout(self._bounds.hold):
                    part = await response.content.readany()
                if not part:
                    return
                if self._events.feed(part):
                    self._told.set()


_VALIDATORS: Mapping[str, str] = {hdrs.ETAG: hdrs.IF_NONE_MATCH, hdrs.LAST_MODIFIED: hdrs.IF_MODIFIED_SINCE}


def _conditions(validators: Mapping[str, str]) -> dict[str, str]:
    return {_VALIDATORS[name]: value for name, value in validators.items()}
