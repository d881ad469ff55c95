"""The proxy as a program: a certificate, then the ports for clients, and a watch on the files.

Certificates and ports meet here, on the life that every sidecar of the family has. Clients are served by this very
process, or by workers of it. The app is not waited for.
"""

import asyncio
import logging
import platform
import signal
import ssl
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from tlsproxy import __version__, assembly
from tlsproxy.chassis.admin.app_check import SharedCheck, SteadyCheck, check_app, is_closed
from tlsproxy.chassis.admin.health import Condition
from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.following import Following
from tlsproxy.chassis.life import Life, build_measure
from tlsproxy.chassis.life import run as run_life
from tlsproxy.chassis.listening import listen
from tlsproxy.chassis.measures import Measure
from tlsproxy.chassis.open_files import make_room
from tlsproxy.proxy.feed import check_parser
from tlsproxy.proxy.limits import Limits
from tlsproxy.serving import Serving
from tlsproxy.tls.catalogue import Catalogue
from tlsproxy.tls.certificate import Checked
from tlsproxy.tls.description import moment
from tlsproxy.tls.key_exchange import is_post_quantum
from tlsproxy.tls.steps import in_steps
from tlsproxy.tls.watch import Watch

if TYPE_CHECKING:
    from tlsproxy.settings import Settings

_logger = logging.getLogger("tlsproxy")

CERTIFICATE_RETRY = 0.5
APP_CHECK_WITHIN = 1.0


def run(settings: "Settings", shown: Mapping[str, str], checked: Checked) -> Exit:
    """Serve until told to stop; returns the process's exit status.

    Args:
        settings: read for their attributes alone.
        shown: every variable as /status tells it, secrets masked.
        checked: as for `assembly.certificates`.
    """
    check_parser()
    life = Life(shown, "TLSPROXY_", settings.admin_host, settings.admin_port, settings.drain_delay)
    limits, workers = assembly.limits(settings), assembly.workers(settings)
    if workers < settings.workers:
        _logger.warning(
            "TLSPROXY_WORKERS=%d, of which there is only %d: each has its own share of TLSPROXY_MAX_CONNECTIONS and "
            "TLSPROXY_APP_CONNECTIONS",
            settings.workers,
            workers,
        )
    room = make_room(limits.connections, workers)
    if room.shortage:
        _logger.warning("%s", room.shortage)
    serving = _serving(settings, replace(limits, connections=room.connections), workers)
    return run_life(life, partial(Sidecar, settings, checked, serving))


def _serving(settings: "Settings", limits: Limits, workers: int) -> "MakeServing":
    """What makes that which serves clients; workers' processes begin here, before there is an event loop."""
    if workers == 1:
        return lambda certificates, _: Serving(
            settings, lambda: certificates.context, limits, partial(listen, settings.listen_host)
        )
    from tlsproxy.workers.nursery import Nursery  # noqa: PLC0415 - one process needs nothing of it
    from tlsproxy.workers.supervisor import Workers  # noqa: PLC0415
    from tlsproxy.workers.worker import WorkerTemplate  # noqa: PLC0415

    nursery = Nursery(WorkerTemplate(settings))
    return lambda certificates, life: Workers(settings, limits, workers, nursery, certificates, life)


class Serves(Protocol):
    """What serves clients: this process, or workers of it."""

    @property
    def workers(self) -> int:
        """How many processes serve at this moment."""

    @property
    def deaths(self) -> int:
        """How many processes have ended unasked, and were replaced."""

    def background(self) -> Mapping[str, Coroutine[None, None, None]]:
        """What is to run beside it from the start to the end, by name."""

    async def open(self) -> None:
        """Open the ports for clients, and serve.

        Raises:
            PortError: one of them can't be had.
        """

    def renew(self) -> None:
        """Take note that something else is served from here on."""

    def leave(self, within: float) -> None:
        """Let connections that there are at this moment end within so many seconds, each with an answer; go on."""

    async def drain(self) -> None:
        """Accept no more, and let what is under way end."""

    async def close(self) -> None:
        """End everything at once."""

    def signals(self) -> Mapping[signal.Signals, Callable[[], None]]:
        """What is done at signals."""

    async def live(self) -> Condition:
        """What only a restart can mend."""

    async def status(self) -> Mapping[str, object]:
        """Connections, the app, and lost lines, for JSON."""

    async def measures(self) -> list[Measure]:
        """All that is counted of clients and the app."""

    def processes(self) -> tuple[int, ...]:
        """Ids of all processes but this one."""


MakeServing = Callable[[Catalogue, Life], Serves]


class Sidecar:
    """The proxy; a `life.Program`."""

    def __init__(self, settings: "Settings", checked: Checked, make_serving: MakeServing, life: Life) -> None:
        self._settings = settings
        self._life = life
        self._certificates = assembly.certificates(settings, settings.self_signed_ca, checked)
        self._serving = make_serving(self._certificates, life)
        self._watch = Watch(
            self._certificates,
            partial(assembly.watched, settings, self._certificates),
            settings.cert_resync_period,
            self._serving.renew,
        )
        address = assembly.app_address(settings)
        self._app = SharedCheck(SteadyCheck(partial(check_app, address, settings.app_check, APP_CHECK_WITHIN)))
        self._following = Following(partial(is_closed, address, APP_CHECK_WITHIN), settings.app_wait)

    # ------------------------------------------------------------------ life, in its order

    async def start(self) -> Exit | None:
        """Have a certificate, then open the ports for clients."""
        for name, work in self._serving.background().items():
            self._life.in_background(work, name)
        if not await self._await_certificate():
            return Exit.STOPPED if self._life.is_stopping else Exit.CERTIFICATE
        self._life.in_background(self._keep_watching(), "certificate watch")
        if self._settings.follow_app:
            self._life.in_background(self._follow(), "follow the app")
        served = self._certificates.last.message if self._certificates.last else ""
        await self._serving.open()
        if self._serving.workers:
            self._say_started(served)
        return None

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
            if await self._life.stops(min(CERTIFICATE_RETRY, left)):
                return False

    def _say_started(self, served: str) -> None:
        settings = self._settings
        ports = {"admin": settings.admin_port, "redirects": settings.redirect_port}
        others = "".join(f", {what} on port {port}" for what, port in ports.items() if port)
        if self._serving.workers > 1:
            others += f", {self._serving.workers} workers"
        post_quantum = "with" if is_post_quantum(self._certificates.context) else "without"
        _logger.info(
            "serving %s on %s:%d for the app at %s with certificate %s (%s)%s; tlsproxy %s, %s, %s, %s",
            "HTTPS" if settings.mode == "http" else "TLS for tcp",
            settings.listen_host or "*",
            settings.listen_port,
            assembly.app_address(settings),
            self._certificates.name,
            served,
            others,
            __version__,
            f"Python {platform.python_version()}",
            f"{ssl.OPENSSL_VERSION} {post_quantum} post-quantum key exchange",
            type(asyncio.get_running_loop()).__module__,
        )

    def signals(self) -> Mapping[signal.Signals, Callable[[], None]]:
        """SIGHUP looks at the certificates' files at once."""
        return {signal.SIGHUP: self._watch.look, **self._serving.signals()}

    async def _follow(self) -> None:
        """Stop when the app has ended."""
        await self._following.watch()
        _logger.info(
            "stopping: the app's port at %s has been closed for longer than %gs (TLSPROXY_FOLLOW_APP)",
            assembly.app_address(self._settings),
            self._settings.app_wait,
        )
        self._life.end()

    async def linger(self, delay: float) -> None:
        """Go on until load balancers have noticed; beside an app that is followed, until that has ended."""
        self._serving.leave(delay)
        if not self._following.seen:
            await asyncio.sleep(delay)
        elif not self._following.ended.is_set():
            _logger.info(
                "serving until the app's port has been closed for longer than %gs (TLSPROXY_FOLLOW_APP), however long "
                "that takes; a second signal stops at once",
                self._settings.app_wait,
            )
            await self._following.ended.wait()

    async def drain(self) -> None:
        """Accept no more, and let what is under way end."""
        await self._serving.drain()

    async def close(self) -> None:
        """End everything at once."""
        await self._serving.close()

    async def _keep_watching(self) -> None:
        """Watch the certificate's files, come what may: a watch that ends would be noticed when it is too late."""
        while True:
            try:
                await self._watch.run()
            except Exception:
                _logger.exception("the certificate's watch failed; it begins anew")
            await asyncio.sleep(1)

    # ------------------------------------------------------------------ what the admin port tells

    async def live(self) -> list[Condition]:
        """That the process answers, and its deadlines are looked at."""
        return [await self._serving.live()]

    def started(self) -> list[Condition]:
        """Whether there is a certificate, and the port is open."""
        loaded, is_open = self._certificates.is_serving, self._serving.workers > 0
        return [
            Condition("certificate", loaded, "" if loaded else self._certificates.trouble),
            Condition("listening", is_open, "" if is_open else "not yet"),
        ]

    async def ready(self) -> list[Condition]:
        """Whether clients would get what they want of us and of the app."""
        stopping = self._life.is_stopping
        serving = Condition("serving", not stopping, "draining" if stopping else "")
        _, listening = self.started()
        return [self._valid(), listening, serving, await self._app()]

    def _valid(self) -> Condition:
        """Whether clients that verify would accept any of what is served."""
        valid = self._certificates.is_valid
        trouble = self._certificates.trouble or "nothing that is served is within its dates"
        return Condition("certificate", valid, "" if valid else trouble)

    async def status(self) -> Mapping[str, object]:
        """Certificates, clients' trust, connections and the app."""
        looked_at, period = self._certificates.looked_at, timedelta(seconds=self._settings.cert_resync_period)
        next_check = moment(looked_at + period) if looked_at else None
        return {
            "certificates": [{**one, "next_check": next_check} for one in self._certificates.status()],
            "client_trust": self._certificates.trust.status() if self._certificates.trust is not None else None,
            **await self._serving.status(),
        }

    async def measures(self) -> list[Measure]:
        """All that is counted, the certificates' state, and what runs."""
        return [
            *await self._serving.measures(),
            *self._certificates.measures(),
            *measures_of_all(self._serving.workers, self._serving.deaths),
        ]

    def processes(self) -> tuple[int, ...]:
        """Ids of all but this one."""
        return self._serving.processes()


def measures_of_all(workers: int, deaths: int) -> Iterator[Measure]:
    """What runs, and the processes that serve."""
    yield build_measure("tlsproxy", openssl=ssl.OPENSSL_VERSION)
    yield Measure("tlsproxy_workers", "gauge", "Processes that serve clients.", (), {(): workers})
    yield Measure(
        "tlsproxy_worker_deaths_total",
        "counter",
        "Workers that have ended unasked, each of which was followed by another.",
        (),
        {(): deaths},
    )
