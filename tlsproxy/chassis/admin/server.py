"""The admin port: five paths over plain HTTP, for probes, Prometheus and people with curl.

Knows nothing of what it reports: each answer is made from values that a callable hands in, so that every
sidecar of the family has the same port. It takes no writes, and nothing of a request comes back in an answer.

Of aiohttp, three things are used beyond its documentation, each with a test: `RequestHandler.handle_error`
(its own answers a request that it cannot parse with the offending bytes), `Response._prepare_headers` (which
adds a `Server` field), and `Server.__call__` and `connection_made`, where connections are made and counted.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from socket import socket

from aiohttp import web

from tlsproxy.chassis.accepting import Accepting
from tlsproxy.chassis.admin.health import Condition, report
from tlsproxy.chassis.measures import Measure

_log = logging.getLogger("tlsproxy.admin")

_KEEPALIVE = 75.0  # seconds; longer than Prometheus' default scrape interval of 60
_LINGERING = 1.0  # seconds for a body that nobody asked for
_STOPPING = 1.0  # seconds for answers under way
_MAX_CONNECTIONS = 64
_MAX_LINE = 2048
_MAX_FIELD = 8190
_MAX_FIELDS = 64
_READ_BUFFER = 8 * 1024

_Handler = Callable[[], Awaitable[web.Response]]


class AdminServer:
    """`/livez`, `/startupz`, `/readyz`, `/status`, `/metrics`, by GET and HEAD; all else is 404 or 405."""

    def __init__(
        self,
        *,
        live: Callable[[], Awaitable[Iterable[Condition]]],
        started: Callable[[], Iterable[Condition]],
        ready: Callable[[], Awaitable[Iterable[Condition]]],
        status: Callable[[], Awaitable[Mapping[str, object]]],
        measures: Callable[[], Awaitable[Iterable[Measure]]],
        processes: Callable[[], Iterable[int]] = tuple,
    ) -> None:
        """Set up without listening yet.

        Each callable runs once for each request to its path, on the event loop: it may not block. When one
        raises, the client gets 500 and a plain line, and the log says why.

        Args:
            live: For /livez: what only a restart of the process can mend.
            started: For /startupz: what has to be there before the other probes count.
            ready: For /readyz: what has to hold for requests to be sent here.
            status: For /status; everything in it serialisable as JSON, secrets already masked.
            measures: For /metrics, in the order in which they are shown.
            processes: Ids of those whose `process_*` are added to this one's.
        """
        self._live = live
        self._started = started
        self._ready = ready
        self._status = status
        self._measures = measures
        self._processes = processes
        self._paths: Mapping[str, _Handler] = {
            "/livez": self._livez,
            "/startupz": self._startupz,
            "/readyz": self._readyz,
            "/status": self._statusz,
            "/metrics": self._metrics,
        }
        self._accepting = Accepting("connections to the admin port")
        self._runner: web.ServerRunner | None = None

    async def start(self, sockets: Iterable[socket]) -> None:
        """Serve on these sockets, which listen and do not block, and are closed by `stop`."""
        server = _Server(
            self._answer,
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

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        handler = self._paths.get(request.path)
        if handler is None:
            return _text(404, "not found\n")
        if request.method not in {"GET", "HEAD"}:
            response = _text(405, "method not allowed\n")
            response.headers["Allow"] = "GET, HEAD"
            return response
        try:
            return await handler()
        except Exception:
            _log.exception("the answer to %s could not be made", request.path)
            return _text(500, "internal error, see the log\n")

    # The five paths.

    async def _livez(self) -> web.Response:
        return _text(*report(await self._live()))

    async def _startupz(self) -> web.Response:
        return _text(*report(self._started()))

    async def _readyz(self) -> web.Response:
        return _text(*report(await self._ready()))

    async def _statusz(self) -> web.Response:
        text = json.dumps(await self._status(), indent=2) + "\n"
        return _response(200, text.encode(), "application/json")

    async def _metrics(self) -> web.Response:
        # Imported here for its memory: see tlsproxy/chassis/admin/metrics.py.
        from tlsproxy.chassis.admin.metrics import render  # noqa: PLC0415 - loaded only where someone scrapes

        return _response(200, *render(await self._measures(), self._processes()))


# What of aiohttp's server has to be otherwise.


class _Response(web.Response):
    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)


class _Connection(web.RequestHandler):
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        _log.debug("a request could not be read", exc_info=exc)
        response = _text(status, "bad request\n" if status < 500 else "internal error, see the log\n")
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        # The oldest make room, so that idle connections can't keep the probes out.
        for connection in self.connections[:-_MAX_CONNECTIONS]:
            connection.force_close()


def _text(status: int, text: str) -> web.Response:
    return _response(status, text.encode(), "text/plain; charset=utf-8")


def _response(status: int, body: bytes, content_type: str) -> web.Response:
    fields = {"Content-Type": content_type, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return _Response(status=status, body=body, headers=fields)
