"""A key of etcd v3, or all beneath a prefix, over the JSON gateway that etcd serves beside gRPC.

Keys and values are base64 there, and 64-bit numbers are text. What is watched for begins with the revision after the
one that was fetched, so that nothing falls between the two; where that is compacted already, all is fetched anew.
"""

import asyncio
import json
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress

from tlsproxy.companions.configsync.sources.addresses import EtcdAddress
from tlsproxy.companions.configsync.sources.client import Answer, Bounds, Client, lines, refused, too_large
from tlsproxy.companions.configsync.sources.content import Content, SourceError, laid_out
from tlsproxy.companions.configsync.sources.credentials import Credentials
from tlsproxy.companions.configsync.sources.shapes import Shape

# Of a value's base64, the keys and numbers around it: what a response may have in excess of the files.
_JSON_EXCESS = 2
_JSON_AROUND = 64 * 1024
_LONGEST_REASON = 200


class EtcdSource:
    """One key or prefix.

    Args:
        address: which.
        client: for the address's endpoint, without credentials; closed with this.
        credentials: user and password, for which etcd gives a token; or a token of its own (JWT).
        bounds: as the client's.
    """

    def __init__(self, address: EtcdAddress, client: Client, credentials: Credentials, bounds: Bounds) -> None:
        self._address = address
        self._client = client
        self._credentials = credentials
        self._bounds = bounds
        self._token = ""
        """For user and password; etcd forgets it five minutes after its last use."""
        self._revision = 0
        """Of the store, at the last fetch."""
        self._files: Mapping[str, bytes] = {}
        self._range = _range(address.key)
        self._marker = self._range["key"] if address.several else None

    @property
    def name(self) -> str:
        """As it is written in the setting, without the target."""
        return f"etcd+{self._address.endpoint}{self._address.key}"

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()

    # ------------------------------------------------------------------ fetching

    async def fetch(self) -> Content | None:
        """The key, or all beneath the prefix; see `Source`."""
        answer = await self._asked("/v3/kv/range", self._range)
        self._revision = answer.shape("header").number("revision")
        # The prefix itself may be a key, made to mark a directory.
        pairs = [pair for pair in answer.shapes("kvs") if pair.text("key") != self._marker]
        if not pairs:
            raise SourceError("it was deleted" if self._files else "there is nothing at that key")
        files = self._laid_out(pairs)
        if sum(map(len, files.values())) > self._bounds.size:
            raise too_large()
        if files == self._files:
            return None
        self._files = files
        version = self._revision if self._address.several else pairs[0].number("mod_revision")
        return Content(files, str(version))

    def _laid_out(self, pairs: list[Shape]) -> dict[str, bytes]:
        if not self._address.several:
            return {self._address.target: pairs[0].decoded("value")}
        above = len(self._address.key)
        files = {pair.decoded("key").decode("utf-8", "replace")[above:]: pair.decoded("value") for pair in pairs}
        return laid_out(self._address.target, files)

    # ------------------------------------------------------------------ hearing of changes

    async def wait(self) -> None:
        """Until something has been put or deleted since the last fetch; see `Source`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._bounds.hold):
                await self._watch()

    async def _watch(self) -> None:
        request = {"create_request": {**self._range, "start_revision": str(self._revision + 1)}}
        fields, url = await self._fields(), f"{self._address.endpoint}/v3/watch"
        async with self._client.streaming("POST", url, fields, _body(request)) as response:
            if response.status != 200:
                raise refused(response.status, response.headers)
            async for line in lines(response, self._most()):
                if line and self._tells(Shape.of(line)):
                    return
        # The server has ended the watch: whether it will have another one, the next will see.

    def _tells(self, message: Shape) -> bool:
        """Whether there may be something new."""
        result = message.shape("result")
        if "error" in message:
            raise SourceError(f"the watch ended: {message.shape('error').text('message')[:_LONGEST_REASON]}")
        if "compact_revision" in result:
            return True
        if "canceled" in result:
            # The token may have gone stale, and the next fetch asks for another one.
            self._token = ""
            raise SourceError(f"the watch was canceled: {result.text('cancel_reason')[:_LONGEST_REASON]}")
        return "events" in result

    # ------------------------------------------------------------------ requests

    async def _asked(self, path: str, request: Mapping[str, object]) -> Shape:
        answer = await self._posted(path, request, await self._fields())
        if answer.status == 401 and self._token:
            self._token = ""
            answer = await self._posted(path, request, await self._fields())
        if answer.status != 200:
            raise _refused(answer)
        return Shape.of(answer.body)

    async def _fields(self) -> dict[str, str]:
        """Those of any request: JSON, and what lets it in."""
        token = self._credentials.asked_token() or self._token or await self._authenticated()
        return {"Content-Type": "application/json", **({"Authorization": token} if token else {})}

    async def _authenticated(self) -> str:
        """A token for user and password; empty: there are none."""
        login = self._credentials.asked_login()
        if login is None:
            return ""
        request = {"name": login[0], "password": login[1]}
        answer = await self._posted("/v3/auth/authenticate", request, {"Content-Type": "application/json"})
        if answer.status != 200:
            raise _refused(answer)
        self._token = Shape.of(answer.body).text("token")
        return self._token

    async def _posted(self, path: str, request: Mapping[str, object], fields: Mapping[str, str]) -> Answer:
        return await self._client.ask("POST", self._address.endpoint + path, fields, _body(request), self._most())

    def _most(self) -> int:
        return self._bounds.size * _JSON_EXCESS + _JSON_AROUND


def _range(key: str) -> dict[str, str]:
    """A key; or, for one that ends in `/`, all that begin so: up to the one in which the last byte is one more."""
    name = key.encode()
    if not key.endswith("/"):
        return {"key": _base64(name)}
    return {"key": _base64(name), "range_end": _base64(name[:-1] + bytes([name[-1] + 1]))}


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def _body(request: Mapping[str, object]) -> bytes:
    return json.dumps(request).encode()


def _refused(answer: Answer) -> SourceError:
    """In etcd's own words where it has any: they name what is missing."""
    general = refused(answer.status, answer.fields)
    with suppress(SourceError):
        if reason := Shape.of(answer.body).text("error"):
            return SourceError(f"{reason[:_LONGEST_REASON]} (status {answer.status})", general.retry_after)
    return general
