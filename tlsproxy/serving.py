"""The ports for clients and everything on them: connections, requests, the app, and what is counted of them.

Here certificates and proxy meet. Contexts are taken as they are at the moment of each connection; where they come from
is not known here.
"""

import asyncio
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from aiohttp import web

from tlsproxy import assembly
from tlsproxy.admission import Admission
from tlsproxy.chassis import diagnostics
from tlsproxy.chassis.admin.health import Condition
from tlsproxy.chassis.heap import Slack, give_back
from tlsproxy.chassis.measures import Measure
from tlsproxy.chassis.output import LineWriter, descriptor_of, lost_measure
from tlsproxy.chassis.pulse import Pulse
from tlsproxy.chassis.turns import Turns
from tlsproxy.proxy.conditions import GuardedService
from tlsproxy.proxy.exchange import Service
from tlsproxy.proxy.forwarding import Forwarding
from tlsproxy.proxy.front import Answering, Frontend
from tlsproxy.proxy.journal import Journal
from tlsproxy.proxy.limits import Limits
from tlsproxy.proxy.pool import Pool
from tlsproxy.proxy.redirect import RedirectService
from tlsproxy.proxy.refusals import PLAIN_HTTP
from tlsproxy.proxy.relay import TcpFrontend
from tlsproxy.proxy.server import Server
from tlsproxy.proxy.tally import Tally
from tlsproxy.tls.connection import Acceptor
from tlsproxy.tls.proxy_header import Gate, announce

if TYPE_CHECKING:
    from tlsproxy.settings import Settings

_logger = logging.getLogger("tlsproxy")

MakeConversation = Callable[[Server], asyncio.Protocol]
"""Makes what stands on a new client connection."""
MakeBelow = Callable[[Callable[[], asyncio.Protocol]], asyncio.BaseProtocol]
"""Makes the protocol of a new TCP connection, from what makes the one above it."""

# One sweep serves every deadline: a timer for each request would cost more than all its bookkeeping.
SWEEP_PERIOD = 0.5
LAST_LINES_WITHIN = 2.0
# How long handshakes that are under way when the ports close are waited for: many round trips, and nobody who only
# holds a connection open holds up the end for longer.
HANDSHAKES_WITHIN = 2.0


CONNECTION_STATES = ("waiting", "handshake", "idle", "active")
"""Where a client connection can stand."""


class Serving:
    """All that serves clients.

    Args:
        settings: read for their attributes alone.
        context: of the moment, for a connection that begins.
        limits: as far as they are this process's.
        listening: the sockets that listen on a port, from the port and the variable that sets it.
        turns: taken with other processes that write request lines; None: there are none.
    """

    def __init__(
        self,
        settings: "Settings",
        context: Callable[[], ssl.SSLContext],
        limits: Limits,
        listening: Callable[[int, str], list[socket.socket]],
        turns: Turns | None = None,
    ) -> None:
        self._settings = settings
        self._address = assembly.app_address(settings)
        self._limits, self._timeouts = limits, assembly.timeouts(settings)
        self._listening = listening
        self._lines = LineWriter(descriptor_of(sys.stdout), turns=turns)
        self._journal = Journal(Tally(), assembly.request_log(settings, self._lines))
        self._pool = Pool(self._address, self._limits, self._timeouts, self._journal.tally)
        self._admission = Admission(limits.connections)
        self._clients = assembly.clients(settings)
        self._acceptor = Acceptor(
            context,
            handshake_timeout=settings.handshake_timeout,
            close_timeout=settings.body_timeout,
            plain_answer=PLAIN_HTTP if settings.mode == "http" else b"",
            ended=self._admission.ended,
            clients=self._clients,
        )
        self._server: Server | None = None
        self._runners: list[web.ServerRunner] = []
        self._pulse = Pulse(SWEEP_PERIOD)
        self._slack = Slack(give_back)

    # ------------------------------------------------------------------ opening

    async def open(self) -> None:
        """Open the ports for clients, the HTTPS port last: /startupz tells of that one.

        Raises:
            PortError: one of them can't be had.
        """
        settings = self._settings
        authority = "localhost" if self._address.socket else str(self._address)
        forwarding = Forwarding(settings.external_port, settings.trusted_proxies, authority.encode())
        if settings.redirect_port is not None:
            redirects = RedirectService(settings.external_port, self._journal)
            fronts = self._fronts(redirects, forwarding)
            await self._serve(fronts, settings.redirect_port, "TLSPROXY_REDIRECT_PORT")
        make = self._relays(forwarding) if settings.mode == "tcp" else self._exchanging(forwarding)
        self._server = await self._serve(make, settings.listen_port, "TLSPROXY_LISTEN_PORT", self._below(forwarding))

    def _exchanging(self, forwarding: Forwarding) -> MakeConversation:
        """What makes the fronts of http mode, whose requests the app answers."""
        shared = self._pool, assembly.fixes(self._settings, self._address), self._timeouts, self._journal
        conditions = assembly.conditions(self._settings, self._clients)
        return self._fronts(GuardedService(*shared, conditions) if conditions else Service(*shared), forwarding)

    def _fronts(self, service: Answering, forwarding: Forwarding) -> MakeConversation:
        return Frontend(service, forwarding, self._limits, self._timeouts, self._journal).front

    def _relays(self, forwarding: Forwarding) -> MakeConversation:
        """What makes the relays of tcp mode."""
        announcing = announce if self._settings.proxy_protocol in {"send", "both"} else None
        return TcpFrontend(self._pool, forwarding, self._timeouts, self._journal, announcing).relay

    def _below(self, forwarding: Forwarding) -> MakeBelow:
        """What makes the protocol that a TCP connection of the HTTPS port gets."""
        if self._settings.proxy_protocol in {"accept", "both"}:
            return Gate(self._acceptor, forwarding.trusts).connection
        return self._acceptor.connection

    async def _serve(self, make: MakeConversation, port: int, variable: str, below: MakeBelow | None = None) -> Server:
        """Open a port for clients."""
        server = Server(make, below, self._admission.ended if below is None else None)
        runner = web.ServerRunner(server, shutdown_timeout=self._settings.drain_timeout)
        await runner.setup()
        self._runners.append(runner)
        self._admission.open(self._listening(port, variable), server)
        return server

    @property
    def workers(self) -> int:
        """1 once the HTTPS port has been opened: this process."""
        return int(self._server is not None)

    @property
    def deaths(self) -> int:
        """None: where this process ends, all ends."""
        return 0

    def processes(self) -> tuple[int, ...]:
        """None but this one."""
        return ()

    def signals(self) -> Mapping[signal.Signals, Callable[[], None]]:
        """None is needed; SIGUSR2, which renews workers, is no reason to end."""
        return {signal.SIGUSR2: lambda: _logger.info("SIGUSR2: there are no workers to replace (TLSPROXY_WORKERS)")}

    # ------------------------------------------------------------------ in the background

    def background(self) -> Mapping[str, Coroutine[None, None, None]]:
        """The sweep."""
        return {"sweep": self.sweep()}

    async def sweep(self) -> None:
        """Look at every deadline, and write what lines there are, until cancelled."""
        while True:
            now = await self._pulse.beat()
            sweeps = [self._acceptor.sweep, self._pool.sweep]
            sweeps += [server.sweep for server in self._servers]
            for sweep in sweeps:
                try:
                    sweep(now)
                except Exception:
                    _logger.exception("a sweep failed; the next is in %gs", SWEEP_PERIOD)
            self._journal.settle()
            self._lines.flush()
            diagnostics.flush()
            self._slack.look(self._admission.admitted)

    def renew(self) -> None:
        """Let connections that show what was served until this moment end in time."""
        if self._settings.cert_rotation_grace and self._server is not None:
            self._server.retire(self._settings.cert_rotation_grace)

    @property
    def _servers(self) -> list[Server]:
        return [runner.server for runner in self._runners if isinstance(runner.server, Server)]

    # ------------------------------------------------------------------ ending

    def leave(self, within: float) -> None:
        """Let connections that there are at this moment end within so many seconds, each with an answer; go on."""
        for server in self._servers:
            server.retire(within)

    async def accept_no_more(self) -> None:
        """Leave new connections to others that listen on the ports; those that there are go on."""
        await self._admission.finish()

    async def drain(self) -> None:
        """Accept no more, and let what is under way end, within DRAIN_TIMEOUT; then cut it."""
        servers = self._servers
        for server in servers:
            server.pre_shutdown()
        await self._admission.finish()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_timeout):
                await self._handshakes()
                await asyncio.gather(*(runner.cleanup() for runner in self._runners))
        for server in servers:
            server.cut()

    async def _handshakes(self) -> None:
        """Wait for those under way: what they lead to is not among the connections that are waited for until then."""
        deadline = monotonic() + HANDSHAKES_WITHIN
        while self._acceptor.shaking and monotonic() < deadline:  # noqa: ASYNC110 - a handshake should not have to tell
            await asyncio.sleep(HANDSHAKES_WITHIN / 100)

    async def close(self) -> None:
        """End everything at once, and write the last lines."""
        self._admission.close()
        if self._server is not None:
            self._server.cut()
        await self._pool.close()
        self._journal.settle()
        self._lines.close(LAST_LINES_WITHIN)

    # ------------------------------------------------------------------ what the admin port tells

    async def live(self) -> Condition:
        """Whether deadlines are looked at."""
        return self._pulse.condition(monotonic())

    async def status(self) -> Mapping[str, object]:
        """Connections, the app, and lost lines, for JSON."""
        return {
            "connections": self._connections(),
            "app": {"address": str(self._address), **self._pool.count()},
            "request_lines_lost": self._lines.lost,
            "diagnostics_lost": diagnostics.lost(),
        }

    def _connections(self) -> dict[str, int]:
        idle, active = self._server.count() if self._server is not None else (0, 0)
        counts = self._admission.waiting, self._acceptor.shaking, idle, active
        return dict(zip(CONNECTION_STATES, counts, strict=True))

    async def measures(self) -> list[Measure]:
        """All that is counted here, as metric families."""
        self._journal.settle()
        return [
            *self._journal.tally.measures(),
            *self._pool.measures(),
            *self._admission.measures(),
            *self._acceptor.measures(),
            *self._pulse.measures(),
            connections_measure(self._connections()),
            lost_measure(self._lines.lost, diagnostics.lost()),
        ]


def connections_measure(by_state: Mapping[str, int]) -> Measure:
    """Client connections by state."""
    return Measure(
        "tlsproxy_connections",
        "gauge",
        "Client connections by state: waiting in the backlog, in the handshake, idle, or active with a request.",
        ("state",),
        {(state,): count for state, count in by_state.items()},
    )
