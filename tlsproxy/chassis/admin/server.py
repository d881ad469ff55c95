"""The admin port: five paths over plain HTTP, for probes, Prometheus and people with curl.

Knows nothing of what it reports: each answer is made from values that a callable hands in, so that every
sidecar of the family has the same port. It takes no writes, and nothing of a request comes back in an answer.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from socket import socket

from tlsproxy.chassis.admin.health import Condition, report
from tlsproxy.chassis.http_server import Answer, HttpServer, Request, answer, text
from tlsproxy.chassis.measures import Measure

_log = logging.getLogger("tlsproxy.admin")


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
        self._server = HttpServer(
            {
                "/livez": {"GET": self._livez},
                "/startupz": {"GET": self._startupz},
                "/readyz": {"GET": self._readyz},
                "/status": {"GET": self._statusz},
                "/metrics": {"GET": self._metrics},
            },
            log=_log,
            what="connections to the admin port",
        )

    async def start(self, sockets: Iterable[socket]) -> None:
        """Serve on these sockets, which listen and do not block, and are closed by `stop`."""
        await self._server.start(sockets)

    async def stop(self) -> None:
        """Close the port; answers under way get a moment. May be called at any time, and twice."""
        await self._server.stop()

    # The five paths.

    async def _livez(self, _: Request) -> Answer:
        return text(*report(await self._live()))

    async def _startupz(self, _: Request) -> Answer:
        return text(*report(self._started()))

    async def _readyz(self, _: Request) -> Answer:
        return text(*report(await self._ready()))

    async def _statusz(self, _: Request) -> Answer:
        text = json.dumps(await self._status(), indent=2) + "\n"
        return answer(200, text.encode(), "application/json")

    async def _metrics(self, _: Request) -> Answer:
        # Imported here for its memory: see tlsproxy/chassis/admin/metrics.py.
        from tlsproxy.chassis.admin.metrics import render  # noqa: PLC0415 - loaded only where someone scrapes

        return answer(200, *render(await self._measures(), self._processes()))
