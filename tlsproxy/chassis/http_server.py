"""A port of a sidecar's own over plain HTTP: few paths, bounds on everything that a stranger could make grow.

Knows nothing of what is answered. Nothing of a request comes back in an answer that is made here.

Of aiohttp, four things are used beyond its documentation, each with a test: `RequestHandler.handle_error`
(its own answers a request that it cannot parse with the offending bytes) and `data_received` (which keeps whatever
comes behind such a request), `Response._prepare_headers` (which adds a `Server` field), and `Server.__call__` and
`connection_made`, where connections are made and counted.
"""

import asyncio
import hmac
import logging
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterable, Mapping
from socket import socket
from typing import cast

from aiohttp import web

from tlsproxy.chassis.accepting import Accepting
from tlsproxy.chassis.secrets import SecretFileError

_log = logging.getLogger("tlsproxy.http")

_KEEPALIVE = 75.0  # seconds; longer than Prometheus' default scrape interval of 60
_LINGERING = 1.0  # seconds for a body that nobody asked for
_STOPPING = 1.0  # seconds for answers under way
_MAX_CONNECTIONS = 64
_MAX_LINE = 2048
_MAX_FIELD = 8190
_MAX_FIELDS = 64
_READ_BUFFER = 8 * 1024
_MAX_UNANSWERED = 64 * 1024  # bytes besides a body that a client may send before it is answered

Request = web.BaseRequest
Answer = web.StreamResponse
Handler = Callable[[Request], Awaitable[Answer]]
Paths = Mapping[str, Mapping[str, Handler]]
"""By path, what answers each method; GET answers HEAD too. A path that ends in / stands for all below it."""
Guard = Callable[[Request], Answer | None]
"""Says what a request is refused with; None: it is let in."""


class HttpServer:
    """Some paths; all else is 404 or 405.

    Args:
        paths: each handler runs on the event loop and may not block. When one raises, the client gets 500 and a plain
            line, and the log says why.
        guard: asked before anything else of a request is looked at.
        max_body: bytes of a request's body; 413 above it, when it is read.
        log: told of what went wrong.
        what: is accepted, for the log.
    """

    def __init__(
        self,
        paths: Paths,
        guard: Guard = lambda _: None,
        max_body: int = 64 * 1024,
        log: logging.Logger = _log,
        what: str = "connections",
    ) -> None:
        self._paths = paths
        self._guard = guard
        self._max_body = max_body
        self._log = log
        self._accepting = Accepting(what)
        self._runner: web.ServerRunner | None = None

    async def start(self, sockets: Iterable[socket]) -> None:
        """Serve on these sockets, which listen and do not block, and are closed by `stop`."""
        server = _Server(
            _MAX_UNANSWERED + self._max_body,
            self._answer,
            request_factory=self._request,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=_KEEPALIVE,
            lingering_time=_LINGERING,
            max_line_size=_MAX_LINE,
            max_field_size=_MAX_FIELD,
            max_headers=_MAX_FIELDS,
            read_bufsize=_READ_BUFFER,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=_STOPPING)
        await self._runner.setup()
        self._accepting.open(sockets, server)

    async def stop(self) -> None:
        """Close the port; answers under way get a moment. May be called at any time, and twice."""
        self._accepting.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # One request.

    async def _answer(self, request: Request) -> Answer:
        cast("_Connection", request.protocol).unanswered = 0
        refusal = self._guard(request)
        if refusal is not None:
            return refusal
        methods = self._methods(request.path)
        if methods is None:
            return text(404, "not found\n")
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
            return text(405, "method not allowed\n", Allow=allowed)
        try:
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            return text(413, "the body is too large\n")
        except ConnectionError:
            raise  # the client has left
        except Exception:
            self._log.exception("the answer to %s could not be made", request.path)
            return self._unmade(request)

    def _unmade(self, request: Request) -> Answer:
        """500, unless an answer has begun: then it is cut, so that it does not look complete."""
        if request.writer.output_size and request.transport is not None:
            request.transport.abort()
        return text(500, "internal error, see the log\n")

    def _methods(self, path: str) -> Mapping[str, Handler] | None:
        """What answers there: the path itself, or else the longest that it is below."""
        if path in self._paths:
            return self._paths[path]
        above = [known for known in self._paths if known.endswith("/") and path.startswith(known)]
        return self._paths[max(above, key=len)] if above else None

    def _request(self, *made: object) -> Request:
        loop = asyncio.get_running_loop()
        return web.BaseRequest(*made, loop, client_max_size=self._max_body)  # type: ignore[arg-type,misc]  # aiohttp's


# Who is let in.


def bearer(secret: Callable[[], str], realm: str) -> Guard:
    """Let in who has the secret, as a bearer token (RFC 6750) or as the password of any user (RFC 7617), for browsers.

    Args:
        secret: gives it at each request.
        realm: what a browser asks its user for a password of.
    """
    challenge = f'Bearer realm="{realm}", Basic realm="{realm}", charset="UTF-8"'

    def guard(request: Request) -> Answer | None:
        given = _credential(request.headers.get("Authorization", ""))
        try:
            known = secret()
        except SecretFileError as error:
            _log.error("nobody can be let in: %s", error)
            return text(503, "not available, see the log\n")
        if given is not None and hmac.compare_digest(given, _bytes(known)):
            return None
        return text(401, "unauthorized\n", **{"WWW-Authenticate": challenge})

    return guard


def _credential(authorization: str) -> bytes | None:
    """The token or the password of that field; None where there is none."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return _bytes(rest.strip())
    if scheme.lower() == "basic":
        try:
            return b64decode(rest.strip(), validate=True).partition(b":")[2]
        except ValueError:
            return None
    return None


def _bytes(text: str) -> bytes:
    """As it came: aiohttp's fields and variables may hold what is no UTF-8."""
    return text.encode(errors="surrogateescape")


# Answers.


def text(status: int, said: str, **fields: str) -> web.Response:
    """A plain line."""
    return answer(status, said.encode(), "text/plain; charset=utf-8", **fields)


def answer(status: int, body: bytes, content_type: str, **fields: str) -> web.Response:
    """An answer that no cache keeps."""
    return _Response(status=status, body=body, headers={"Content-Type": content_type, **COMMON, **fields})


COMMON = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


# What of aiohttp's server has to be otherwise.


class Stream(web.StreamResponse):
    """An answer that goes on: `prepare`, then `write` as there is something to tell."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)


class _Response(Stream, web.Response):
    """An answer that is whole."""


class _Connection(web.RequestHandler):
    unanswered = 0
    most_unanswered = _MAX_UNANSWERED

    def data_received(self, data: bytes) -> None:
        # uvloop reads up to 32 times, 256 KiB each, before anything is answered.
        self.unanswered += len(data)
        if self.unanswered > self.most_unanswered:
            self.force_close()
        else:
            super().data_received(data)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        _log.debug("a request could not be read", exc_info=exc)
        response = text(status, "bad request\n" if status < 500 else "internal error, see the log\n")
        response.force_close()
        return response


class _Server(web.Server):
    def __init__(self, most_unanswered: int, handler: Handler, **options: object) -> None:
        super().__init__(handler, **options)  # type: ignore[arg-type]  # aiohttp's own
        self._most_unanswered = most_unanswered

    def __call__(self) -> web.RequestHandler:
        connection = _Connection(self, loop=self._loop, **self._kwargs)
        connection.most_unanswered = self._most_unanswered
        return connection

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        # The oldest make room, so that idle connections can't keep the probes out.
        for connection in self.connections[:-_MAX_CONNECTIONS]:
            connection.force_close()
