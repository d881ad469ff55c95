"""One source's HTTP client: bounded in size and time, without proxies, cookies or redirects to another origin.

aiohttp does the protocol; all that it raises is put into the operator's words here, once. What is asked and what the
answer means is not known here.
"""

import asyncio
import os
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp import hdrs
from yarl import URL

from tlsproxy import __version__
from tlsproxy.companions.configsync.sources.addresses import Origin
from tlsproxy.companions.configsync.sources.content import SourceError
from tlsproxy.companions.configsync.sources.credentials import Credentials, TlsContext

MOST_REDIRECTS = 5
# What a server says in its Retry-After at most, before it counts as nonsense: digits that an int takes its time for.
_MOST_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a source may cost."""

    size: int = 4 * 1024 * 1024
    """Bytes of the files, and of a response after it has been decoded."""
    connect: float = 10.0
    """Seconds for name, connection and handshake."""
    head: float = 20.0
    """Seconds for the head of a response, once connected; a held request's comes when it is let go."""
    total: float = 60.0
    """Seconds for a whole response that is not held open."""
    hold: float = 50.0
    """Seconds that a watch or a held request lasts before it is made anew: the age at which a silent one is found.
    Proxies in between end what is silent after 60."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read whole."""

    status: int
    fields: Mapping[str, str]
    """Any case of letters."""
    body: bytes


class Client:
    """Requests to one origin. To be closed.

    Args:
        origin: that no request leaves.
        credentials: sent with each request.
        bounds: on all that comes.
    """

    def __init__(self, origin: Origin, credentials: Credentials, bounds: Bounds) -> None:
        self._origin = origin
        self._credentials = credentials
        self._tls = TlsContext(credentials)
        self._bounds = bounds
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """End what is open; may be called twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def ask(
        self, method: str, url: str, fields: Mapping[str, str], body: bytes | None = None, most: int | None = None
    ) -> Answer:
        """One request and its whole response.

        Args:
            method: redirects are followed for GET alone.
            url: of the origin.
            fields: besides Authorization.
            body: JSON.
            most: bytes of the response once it is decoded; None: the bound for a source.

        Raises:
            SourceError: nothing whole came in time, or too much, or a redirect elsewhere.
        """
        most = self._bounds.size if most is None else most
        with self._in_plain_words():
            async with asyncio.timeout(self._bounds.total):
                fields = {hdrs.ACCEPT_ENCODING: "gzip", **fields}
                async with self._opened(method, url, fields, body, self._bounds.head) as response:
                    return Answer(response.status, response.headers, await _whole(response, most))

    @asynccontextmanager
    async def streaming(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str],
        body: bytes | None = None,
        head_within: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response whose head has come, to be read as it comes; it ends with the block.

        What is raised in the block is put into words as well. How long to read is the caller's to bound.

        Args:
            method: as for `ask`, and so on.
            url: the same.
            fields: the same.
            body: the same.
            head_within: seconds; None: as long as for any response.

        Raises:
            SourceError: as for `ask`.
        """
        fields = {hdrs.ACCEPT_ENCODING: "identity", **fields}
        with self._in_plain_words():
            async with self._opened(method, url, fields, body, head_within or self._bounds.head) as response:
                if response.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
                    raise SourceError("it compresses a stream though it was asked not to")
                yield response

    # ------------------------------------------------------------------ requests

    @asynccontextmanager
    async def _opened(
        self, method: str, url: str, fields: Mapping[str, str], body: bytes | None, head_within: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response that is no redirect."""
        for _ in range(MOST_REDIRECTS + 1):
            async with asyncio.timeout(head_within + self._bounds.connect):
                response = await self._requested(method, url, fields, body)
            # Closing at the end, where not all was read, closes the connection too.
            async with response:
                location = response.headers.get(hdrs.LOCATION)
                if method != hdrs.METH_GET or response.status not in {301, 302, 303, 307, 308} or not location:
                    yield response
                    return
                url = self._redirected(url, location)
        raise SourceError(f"more than {MOST_REDIRECTS} redirects")

    async def _requested(
        self, method: str, url: str, fields: Mapping[str, str], body: bytes | None
    ) -> aiohttp.ClientResponse:
        headers = dict(fields)
        authorization = self._credentials.authorization()
        if authorization is not None:
            headers.setdefault(hdrs.AUTHORIZATION, authorization)
        context = self._tls.current() if self._origin.scheme == "https" else True
        return await self._ready().request(
            method, URL(url, encoded=True), headers=headers, data=body, ssl=context, allow_redirects=False
        )

    def _redirected(self, url: str, location: str) -> str:
        target = urljoin(url, location)
        try:
            stays = Origin.of(target) == self._origin
        except ValueError:
            stays = False
        parts = urlsplit(target) if stays else None
        if parts is None:
            raise SourceError(
                f"it redirects to {_origin_shown(target)}, another origin: name the new URL in the setting"
            )
        # Somebody else's credentials are none.
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()

    def _ready(self) -> aiohttp.ClientSession:
        """Made with the first request: it belongs to the running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=4, ttl_dns_cache=10),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={hdrs.USER_AGENT: f"configsync/{__version__}"},
                timeout=aiohttp.ClientTimeout(total=None, connect=self._bounds.connect, sock_read=None),
                trust_env=False,
                auto_decompress=False,
            )
        return self._session

    # ------------------------------------------------------------------ what went wrong

    @contextmanager
    def _in_plain_words(self) -> Iterator[None]:
        try:
            yield
        except (aiohttp.ClientError, OSError, ValueError, zlib.error) as error:
            raise SourceError(_told(error)) from None


# --- Reading -----------------------------------------------------------------------------------------------


async def _whole(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body, decoded; too much is seen before it is there, and what broke off is none."""
    if response.status in {204, 304}:
        return b""
    fields = response.headers
    if hdrs.CONTENT_LENGTH not in fields and "chunked" not in fields.get(hdrs.TRANSFER_ENCODING, "").lower():
        raise SourceError("its response has neither a length nor chunks, so that nothing would tell a torn one")
    if (response.content_length or 0) > most:
        raise too_large()
    unpacking = _unpacking(fields.get(hdrs.CONTENT_ENCODING, "identity").lower())
    body = bytearray()
    async for part in response.content.iter_any():
        body += unpacking.decompress(part, most + 1 - len(body)) if unpacking else part
        if len(body) > most:
            raise too_large()
    if unpacking and (not unpacking.eof or unpacking.unused_data):
        raise SourceError(_TORN)
    return bytes(body)


def _unpacking(coding: str) -> "zlib._Decompress | None":
    """What undoes a content coding step by step; aiohttp's own lets pass what broke off in the middle."""
    if coding == "identity":
        return None
    if coding not in {"gzip", "x-gzip"}:
        raise SourceError(f"its response is in a coding that was not asked for ({coding})")
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)


async def lines(response: aiohttp.ClientResponse, most: int) -> AsyncIterator[bytes]:
    """The lines of a stream as they come, without their ends; the last one counts only with its end.

    Args:
        response: as it comes.
        most: bytes of a line.

    Raises:
        SourceError: a line is longer.
    """
    rest = bytearray()
    async for part in response.content.iter_any():
        *whole, last = part.split(b"\n")
        for line in whole:
            yield bytes(rest + line)
            rest.clear()
        rest += last
        if len(rest) > most:
            raise too_large()


def too_large() -> SourceError:
    """Of what is above a bound, which for JSON around files is a multiple of theirs."""
    return SourceError("it gives more than CONFIGSYNC_MAX_SIZE: raise that if so much is meant")


def refused(status: int, fields: Mapping[str, str]) -> SourceError:
    """Of a response that is no success."""
    return SourceError(_STATUSES.get(status, f"it answers with status {status}"), _retry_after(fields))


_STATUSES = {
    401: "it does not accept the credentials (status 401)",
    403: "the credentials do not allow it to be read (status 403)",
    404: "there is nothing at that address (status 404)",
    429: "it asks to be asked less often (status 429)",
}


def _retry_after(fields: Mapping[str, str]) -> float | None:
    """RFC 9110 section 10.2.3: seconds or a date; None: neither."""
    text = fields.get(hdrs.RETRY_AFTER, "").strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= _MOST_DIGITS else None
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max((date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)


# --- Words -------------------------------------------------------------------------------------------------


def _origin_shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _told(error: Exception) -> str:
    """In one sentence, without what a server or a URL may hold."""
    tell = next((tell for kind, tell in _FAULTS.items() if isinstance(error, kind)), None)
    return tell(error) if tell else f"the request failed: {type(error).__name__}"


def _attribute(error: Exception, *names: str) -> str:
    """The first of these that says something."""
    return next((str(told) for name in names if (told := getattr(error, name, None))), type(error).__name__)


def _refusal(error: Exception) -> str:
    """The system's word: asyncio's own has the address in it once more, and of several all."""
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if isinstance(number, int) and number > 0 else _attribute(error, "strerror")


def _verdict(error: Exception) -> str:
    """OpenSSL's, on a certificate."""
    return _attribute(getattr(error, "certificate_error", error), "verify_message")


_TORN = "its response broke off or can't be decoded"
# The first that fits counts: some are kinds of others.
_FAULTS: Mapping[type[Exception], Callable[[Exception], str]] = {
    aiohttp.ClientConnectorCertificateError: lambda e: f"its certificate is not trusted: {_verdict(e)}",
    aiohttp.ClientConnectorDNSError: lambda e: f"the name {_attribute(e, 'host')} can't be resolved",
    aiohttp.ClientConnectorSSLError: lambda e: f"TLS can't be established: {_attribute(e, 'reason', 'strerror')}",
    aiohttp.ClientConnectorError: lambda e: f"no connection to port {_attribute(e, 'port')}: {_refusal(e)}",
    aiohttp.ConnectionTimeoutError: lambda _: "no connection in time",
    TimeoutError: lambda _: "nothing came in time",
    aiohttp.ClientPayloadError: lambda _: _TORN,
    zlib.error: lambda _: _TORN,
    aiohttp.ServerDisconnectedError: lambda _: "it closed the connection without a response",
    ConnectionError: lambda _: "it closed the connection",
    aiohttp.ClientResponseError: lambda _: "its response is no HTTP",
}
