"""The life of one process: assemble, start, serve, drain, stop.

The only place where certificates, proxy and admin port meet. The admin port opens first, so that probes have an answer
while the certificate is waited for; then the certificate is had, then the ports for clients open. The app is not
waited for.
"""

import asyncio
import gc
import logging
import platform
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from aiohttp import web

from tlsproxy import __version__
from tlsproxy.admin.app_check import SharedCheck, check_app
from tlsproxy.admin.health import Condition
from tlsproxy.admin.server import AdminServer
from tlsproxy.admission import Admission
from tlsproxy.app_address import AppAddress
from tlsproxy.exits import Exit
from tlsproxy.listening import PortError, listen
from tlsproxy.measures import Measure
from tlsproxy.open_files import make_room
from tlsproxy.output import LineWriter
from tlsproxy.proxy.conditions import GuardedService, Precondition, certified, directed
from tlsproxy.proxy.exchange import Service
from tlsproxy.proxy.feed import check_parser
from tlsproxy.proxy.fixes import Fixes
from tlsproxy.proxy.forwarding import Forwarding
from tlsproxy.proxy.front import Answering, Frontend
from tlsproxy.proxy.journal import Journal
from tlsproxy.proxy.limits import Limits, Timeouts
from tlsproxy.proxy.pool import Pool
from tlsproxy.proxy.redirect import RedirectService
from tlsproxy.proxy.refusals import PLAIN_HTTP
from tlsproxy.proxy.relay import TcpFrontend
from tlsproxy.proxy.request_log import CombinedLines, JsonLines, RequestLog
from tlsproxy.proxy.server import Server
from tlsproxy.proxy.tally import Tally
from tlsproxy.signals import Signals
from tlsproxy.tls.catalogue import Catalogue, Listed
from tlsproxy.tls.clients import Clients
from tlsproxy.tls.connection import Acceptor
from tlsproxy.tls.description import moment
from tlsproxy.tls.development import Standby
from tlsproxy.tls.discovery import FIRST, discover, places
from tlsproxy.tls.files import MaterialError, directories, find, locate, ways
from tlsproxy.tls.key_exchange import is_post_quantum
from tlsproxy.tls.proxy_header import Gate, announce
from tlsproxy.tls.steps import Steps, in_steps
from tlsproxy.tls.store import Source, Store
from tlsproxy.tls.trust import TrustMaterial, find_trust, lists_beside
from tlsproxy.tls.trust_store import TrustStore
from tlsproxy.tls.watch import Watch

if TYPE_CHECKING:
    from tlsproxy.settings import Settings

_logger = logging.getLogger("tlsproxy")

MakeConversation = Callable[[Server], asyncio.Protocol]
"""Makes what stands on a new client connection."""

# One sweep serves every deadline: a timer for each request would cost more than all its bookkeeping.
SWEEP_PERIOD = 0.5
CERTIFICATE_RETRY = 0.5
APP_CHECK_WITHIN = 1.0
LAST_LINES_WITHIN = 2.0


def run(settings: "Settings", shown: Mapping[str, str]) -> Exit:
    """Serve until told to stop; returns the process's exit status.

    Args:
        settings: read for their attributes alone.
        shown: every variable as /status tells it, secrets masked.
    """
    check_parser()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(Sidecar(settings, shown).run())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop  # noqa: PLC0415 - it has no wheel for every platform
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


class Sidecar:
    """One process, from its settings to its exit status."""

    def __init__(self, settings: "Settings", shown: Mapping[str, str]) -> None:
        self._settings = settings
        self._shown = shown
        self._began = monotonic()
        self._address = AppAddress(settings.app_host, settings.app_port, str(settings.app_socket or ""))
        self._limits, self._timeouts = _limits(settings), _timeouts(settings)
        self._lines = LineWriter(sys.stdout.fileno())
        self._journal = Journal(Tally(), _request_log(settings, self._lines))
        self._pool = Pool(self._address, self._limits, self._timeouts, self._journal.tally)
        self._certificates = certificates(settings, settings.self_signed_ca)
        self._watch = Watch(
            self._certificates,
            partial(_watched, settings, self._certificates),
            settings.cert_resync_period,
            self._retire,
        )
        self._room = make_room(self._limits.connections)
        self._admission = Admission(self._room.connections)
        self._clients = _clients(settings)
        self._acceptor = Acceptor(
            lambda: self._certificates.context,
            handshake_timeout=settings.handshake_timeout,
            close_timeout=settings.body_timeout,
            plain_answer=PLAIN_HTTP if settings.mode == "http" else b"",
            ended=self._admission.ended,
            clients=self._clients,
        )
        self._app = SharedCheck(partial(check_app, self._address, settings.app_check, APP_CHECK_WITHIN))
        self._admin = AdminServer(
            live=self._live, started=self._startup, ready=self._ready, status=self._status, measures=self._measures
        )
        self._server: Server | None = None
        self._runners: list[web.ServerRunner] = []
        self._tasks: list[asyncio.Task[None]] = []

    # ------------------------------------------------------------------ life, in its order

    async def run(self) -> Exit:
        """Start, serve until told to stop, drain and stop."""
        loop = asyncio.get_running_loop()
        self._signals = Signals(loop, self._watch.look)
        self._tasks.append(loop.create_task(self._sweep(), name="sweep"))
        try:
            await self._open_admin()
            if not await self._await_certificate():
                return Exit.STOPPED if self._signals.stop.is_set() else Exit.CERTIFICATE
            self._tasks.append(loop.create_task(self._keep_watching(), name="certificate watch"))
            await self._open()
            self._say_started()
            await self._signals.stop.wait()
            await self._drain()
        except PortError as error:
            _logger.error("%s", error)  # noqa: TRY400 - the way out matters, not the way in
            return Exit.PORT
        else:
            return Exit.STOPPED
        finally:
            await self._close()

    async def _open_admin(self) -> None:
        settings = self._settings
        if settings.admin_port:
            await self._admin.start(listen(settings.admin_host, settings.admin_port, "TLSPROXY_ADMIN_PORT"))

    async def _await_certificate(self) -> bool:
        """Wait until there is a certificate to serve; False when it never came, or we are to stop."""
        deadline = monotonic() + self._settings.cert_wait
        while True:
            await in_steps(self._certificates.look())
            if self._certificates.is_serving:
                return True
            left = deadline - monotonic()
            if left <= 0:
                _logger.error("no usable certificate within %gs (TLSPROXY_CERT_WAIT)", self._settings.cert_wait)
                return False
            if await _happens(self._signals.stop, min(CERTIFICATE_RETRY, left)):
                return False

    async def _open(self) -> None:
        """Open the ports for clients, the HTTPS port last: /startupz tells of that one."""
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
        shared = self._pool, _fixes(self._settings, self._address), self._timeouts, self._journal
        conditions = _conditions(self._settings, self._clients)
        return self._fronts(GuardedService(*shared, conditions) if conditions else Service(*shared), forwarding)

    def _fronts(self, service: Answering, forwarding: Forwarding) -> MakeConversation:
        return Frontend(service, forwarding, self._limits, self._timeouts, self._journal).front

    def _relays(self, forwarding: Forwarding) -> MakeConversation:
        """What makes the relays of tcp mode."""
        announcing = announce if self._settings.proxy_protocol in {"send", "both"} else None
        return TcpFrontend(self._pool, forwarding, self._timeouts, self._journal, announcing).relay

    def _below(self, forwarding: Forwarding) -> Callable[[Callable[[], asyncio.Protocol]], asyncio.BaseProtocol]:
        """What makes the protocol that a TCP connection of the HTTPS port gets, from what makes the one above TLS."""
        if self._settings.proxy_protocol in {"accept", "both"}:
            return Gate(self._acceptor, forwarding.trusts).connection
        return self._acceptor.connection

    async def _serve(
        self,
        make: MakeConversation,
        port: int,
        variable: str,
        below: Callable[[Callable[[], asyncio.Protocol]], asyncio.BaseProtocol] | None = None,
    ) -> Server:
        """Open a port for clients."""
        server = Server(make, below, self._admission.ended if below is None else None)
        runner = web.ServerRunner(server, shutdown_timeout=self._settings.drain_timeout)
        await runner.setup()
        self._runners.append(runner)
        await self._admission.open(listen(self._settings.listen_host, port, variable), server)
        return server

    def _say_started(self) -> None:
        # What stands from here on to the end need not be looked at by each collection; with the thresholds raised
        # besides, a new connection costs a tenth less.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        if self._room.shortage:
            _logger.warning("%s", self._room.shortage)
        settings = self._settings
        ports = {"admin": settings.admin_port, "redirects": settings.redirect_port}
        others = "".join(f", {what} on port {port}" for what, port in ports.items() if port)
        message = self._certificates.last.message if self._certificates.last else ""
        post_quantum = "with" if is_post_quantum(self._acceptor.context()) else "without"
        _logger.info(
            "serving %s on %s:%d for the app at %s with certificate %s (%s)%s; tlsproxy %s, %s, %s, %s",
            "HTTPS" if settings.mode == "http" else "TLS for tcp",
            settings.listen_host or "*",
            settings.listen_port,
            self._address,
            self._certificates.name,
            message,
            others,
            __version__,
            f"Python {platform.python_version()}",
            f"{ssl.OPENSSL_VERSION} {post_quantum} post-quantum key exchange",
            type(asyncio.get_running_loop()).__module__,
        )

    async def _drain(self) -> None:
        """Say no to probes, go on for a while, stop accepting, and let what is under way end."""
        signals, settings = self._signals, self._settings
        if not signals.interrupted:
            await _happens(signals.stop_at_once, settings.drain_delay)
        drained = asyncio.create_task(self._clean_up())
        at_once = asyncio.create_task(signals.stop_at_once.wait())
        await asyncio.wait({drained, at_once}, return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()
        at_once.cancel()

    async def _clean_up(self) -> None:
        self._admission.close()
        await asyncio.gather(*(runner.cleanup() for runner in self._runners))

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._admission.close()
        if self._server is not None:
            self._server.cut()
        await self._pool.close()
        await self._admin.stop()
        self._lines.close(LAST_LINES_WITHIN)
        _logger.info("stopped after %.0fs", monotonic() - self._began)

    # ------------------------------------------------------------------ in the background

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_PERIOD)
            now = monotonic()
            sweeps = [self._acceptor.sweep, self._pool.sweep]
            sweeps += [runner.server.sweep for runner in self._runners if isinstance(runner.server, Server)]
            for sweep in sweeps:
                try:
                    sweep(now)
                except Exception:
                    _logger.exception("a sweep failed; the next is in %gs", SWEEP_PERIOD)
            self._lines.flush()

    async def _keep_watching(self) -> None:
        """Watch the certificate's files, come what may: a watch that ends would be noticed when it is too late."""
        while True:
            try:
                await self._watch.run()
            except Exception:
                _logger.exception("the certificate's watch failed; it begins anew")
            await asyncio.sleep(1)

    def _retire(self) -> None:
        """Let connections that show what was served until this moment end in time."""
        if self._settings.cert_rotation_grace and self._server is not None:
            self._server.retire(self._settings.cert_rotation_grace)

    # ------------------------------------------------------------------ what the admin port tells

    def _live(self) -> list[Condition]:
        return [Condition("process", ok=True)]

    def _startup(self) -> list[Condition]:
        loaded = self._certificates.is_serving
        return [
            Condition("certificate", loaded, "" if loaded else self._certificates.trouble),
            Condition("listening", self._server is not None, "" if self._server is not None else "not yet"),
        ]

    async def _ready(self) -> list[Condition]:
        stopping = self._signals.stop.is_set()
        serving = Condition("serving", not stopping, "draining" if stopping else "")
        _, listening = self._startup()
        return [self._valid(), listening, serving, await self._app()]

    def _valid(self) -> Condition:
        """Whether clients that verify would accept any of what is served."""
        valid = self._certificates.is_valid
        trouble = self._certificates.trouble or "nothing that is served is within its dates"
        return Condition("certificate", valid, "" if valid else trouble)

    def _status(self) -> Mapping[str, object]:
        idle, active = self._server.count() if self._server is not None else (0, 0)
        looked_at, period = self._certificates.looked_at, timedelta(seconds=self._settings.cert_resync_period)
        next_check = moment(looked_at + period) if looked_at else None
        return {
            "version": __version__,
            "started": datetime.fromtimestamp(datetime.now(UTC).timestamp() - self._uptime, UTC).isoformat(
                "T", "seconds"
            ),
            "uptime_seconds": round(self._uptime, 3),
            "settings": self._shown,
            "certificates": [{**one, "next_check": next_check} for one in self._certificates.status()],
            "connections": {
                "waiting": self._admission.waiting,
                "handshake": self._acceptor.shaking,
                "idle": idle,
                "active": active,
            },
            "client_trust": self._certificates.trust.status() if self._certificates.trust is not None else None,
            "app": {"address": str(self._address), **self._pool.count()},
            "request_lines_lost": self._lines.lost,
        }

    @property
    def _uptime(self) -> float:
        return monotonic() - self._began

    def _measures(self) -> Iterator[Measure]:
        yield from self._journal.tally.measures()
        yield from self._pool.measures()
        yield from self._admission.measures()
        yield from self._acceptor.measures()
        yield from self._certificates.measures()
        idle, active = self._server.count() if self._server is not None else (0, 0)
        yield connections_measure(self._admission.waiting, self._acceptor.shaking, idle, active)
        yield build_measure()


def connections_measure(waiting: int, handshake: int, idle: int, active: int) -> Measure:
    """Client connections by state."""
    return Measure(
        "tlsproxy_connections",
        "gauge",
        "Client connections by state: waiting in the backlog, in the handshake, idle, or active with a request.",
        ("state",),
        {("waiting",): waiting, ("handshake",): handshake, ("idle",): idle, ("active",): active},
    )


def build_measure() -> Measure:
    """What runs, as the labels of a constant."""
    versions = (__version__, platform.python_version(), ssl.OPENSSL_VERSION)
    return Measure(
        "tlsproxy_build_info", "gauge", "What runs; always 1.", ("version", "python", "openssl"), {versions: 1}
    )


# ---------------------------------------------------------------------------- settings, as the rooms take them


def certificates(settings: "Settings", ca_file: Path | None) -> Catalogue:
    """What the settings name; the CA of a certificate that is made here is written to the file, if any."""
    protocols = settings.alpn if settings.mode == "tcp" else ("http/1.1",)
    default = FIRST if settings.cert_name == ("*",) else settings.cert_name[0]

    def make(name: str) -> Store:
        source: Source = partial(find, settings.cert_dir, name)
        if settings.self_signed and name == default:
            source = Standby(name, source, ca_file)
        within = timedelta(seconds=settings.cert_expiry_warning)
        return Store(name, source, settings.tls_profile, protocols, expiry_warning=within)

    title = ",".join(settings.cert_name)
    listed, profile = _listed(settings, default), settings.tls_profile
    trust = _trust(settings, lambda: _bundle(settings, listed(())))
    strict, tickets = settings.sni_strict, not settings.client_chain
    return Catalogue(title, listed, make, profile, protocols, strict=strict, trust=trust, tickets=tickets)


def _trust(settings: "Settings", bundle: Callable[[], Path]) -> TrustStore | None:
    """What clients are verified with; None: they are not."""
    if settings.client_auth == "off":
        return None

    def source() -> TrustMaterial:
        return find_trust(bundle())

    return TrustStore(source, required=settings.client_auth == "required")


def _bundle(settings: "Settings", names: Iterable[str]) -> Path:
    """Where the client CAs lie; beside the first certificate that is there, unless the settings say where."""
    if settings.client_ca is not None:
        return settings.client_ca
    first = next(iter(names), FIRST)
    return locate(settings.cert_dir, first).certificate.with_name("ca.crt")


def _clients(settings: "Settings") -> Clients | None:
    if settings.client_auth == "off":
        return None
    return Clients(
        settings.client_auth, settings.client_allow, exempt=settings.client_exempt, chain=settings.client_chain
    )


def _conditions(settings: "Settings", clients: Clients | None) -> list[Precondition]:
    """What requests have to meet before the app hears of them."""
    conditions: list[Precondition] = []
    if clients is not None and settings.client_exempt:
        conditions.append(certified(settings.client_exempt, clients.uncertified))
    if settings.sni_strict:
        conditions.append(directed)
    return conditions


def _listed(settings: "Settings", default: str) -> Listed:
    """Which names to serve: those of the settings, or whatever is there."""
    if settings.cert_name != ("*",):
        return lambda _: settings.cert_name
    if settings.self_signed:
        return lambda known: discover(settings.cert_dir, known) or (default,)
    return partial(discover, settings.cert_dir)


def _watched(settings: "Settings", catalogue: Catalogue) -> Steps[frozenset[Path]]:
    """The directories whose entries decide what is served."""
    watched = yield from directories(settings.cert_dir, *catalogue.stores)
    if settings.cert_name == ("*",):
        watched |= frozenset(places(settings.cert_dir))
    if settings.client_auth == "off":
        return watched
    try:
        bundle = _bundle(settings, catalogue.stores)
    except MaterialError:
        return watched
    return watched | (yield from ways((bundle, lists_beside(bundle))))


def _limits(settings: "Settings") -> Limits:
    return Limits(
        head=settings.max_head,
        body=settings.max_body,
        connections=settings.max_connections,
        app_connections=settings.app_connections,
    )


def _timeouts(settings: "Settings") -> Timeouts:
    return Timeouts(
        head=settings.head_timeout,
        body=settings.body_timeout,
        keepalive=settings.keepalive_timeout,
        connect=settings.connect_timeout,
        app_wait=settings.app_wait,
        response=settings.response_timeout,
        tunnel=settings.tunnel_timeout,
        app_keepalive=settings.app_keepalive_timeout,
    )


def _fixes(settings: "Settings", address: AppAddress) -> Fixes:
    return Fixes(
        app_authorities=frozenset(authority.encode() for authority in address.authorities),
        redirects=settings.fix_redirects,
        secure_cookies=settings.cookie_secure,
        transport_security=b"" if settings.hsts is None else b"max-age=%d" % settings.hsts,
    )


def _request_log(settings: "Settings", lines: LineWriter) -> RequestLog | None:
    if settings.access_log == "off":
        return None
    kind = JsonLines if settings.log_format == "json" else CombinedLines
    return kind(lines.add, errors_only=settings.access_log == "errors", query=settings.log_query)


async def _happens(event: asyncio.Event, within: float) -> bool:
    """Whether the event happens within so many seconds."""
    try:
        async with asyncio.timeout(within):
            await event.wait()
    except TimeoutError:
        return False
    return True
