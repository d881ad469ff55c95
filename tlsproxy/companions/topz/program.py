"""topz as a program: a port for its pages, on the life that every sidecar of the family has."""

import asyncio
import logging
import math
import os
import platform
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from tlsproxy import __version__
from tlsproxy.chassis.admin.health import Condition
from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.http_server import HttpServer, bearer
from tlsproxy.chassis.life import Life
from tlsproxy.chassis.life import run as run_life
from tlsproxy.chassis.listening import listen
from tlsproxy.chassis.measures import Measure
from tlsproxy.chassis.secrets import SecretFileError, secret_of
from tlsproxy.companions.topz.detail import Detail, Details
from tlsproxy.companions.topz.look import Looks
from tlsproxy.companions.topz.looking import FRESH, Beside, Looking
from tlsproxy.companions.topz.masking import Masking
from tlsproxy.companions.topz.measures import container_measures, look_measures, machine_measures
from tlsproxy.companions.topz.processes import pids
from tlsproxy.companions.topz.serving import Serving
from tlsproxy.companions.topz.snapshot import Snapshot

if TYPE_CHECKING:
    from tlsproxy.companions.topz.settings import Settings

_logger = logging.getLogger("tlsproxy")

LOCAL = "127.0.0.1"
"""Where the page is without a token: for this pod alone, as for tlsproxy, which may ask for client certificates."""
_PROBE_WITHIN = 1.0
"""Seconds that a probe waits for a look."""


def run(settings: "Settings", shown: Mapping[str, str]) -> Exit:
    """Serve until told to stop; returns the process's exit status.

    Args:
        settings: read for their attributes alone.
        shown: every variable as /status tells it, secrets masked.
    """
    life = Life(shown, "TOPZ_", settings.admin_host, settings.admin_port, settings.drain_delay)
    return run_life(life, partial(Topz, settings))


def host_of(settings: "Settings") -> str:
    """Where the page is: as it is set, else everywhere with a token, and for this pod alone without one."""
    if settings.host is not None:
        return settings.host
    return "" if settings.token is not None or settings.token_file is not None else LOCAL


class Topz:
    """A `life.Program`."""

    def __init__(self, settings: "Settings", life: Life) -> None:
        self._settings = settings
        self._life = life
        masking, proc = Masking(settings.mask), str(settings.proc)
        self._beside = Beside("topz looks")
        self._looking = Looking(Looks(proc, masking, pss=settings.pss).look, self._beside, settings.sample)
        self._details = Details(proc, masking, environment=settings.environment)
        serving = Serving(self._looking, self._detail, math.ceil(settings.refresh), settings.limit)
        self._token = secret_of(settings.token, settings.token_file)
        guard = bearer(self._token, "topz") if self._token is not None else None
        log = logging.getLogger("tlsproxy.page")
        self._server = HttpServer(serving.paths, guard, log=log) if guard else HttpServer(serving.paths, log=log)
        self._is_open = False

    async def _detail(self, pid: int, snapshot: Snapshot) -> Detail | None:
        return await self._beside.call(partial(self._details.look, pid, snapshot))

    # ------------------------------------------------------------------ life, in its order

    async def start(self) -> Exit | None:
        """Open the page's port."""
        settings, host = self._settings, host_of(self._settings)
        await self._server.start(listen(host, settings.port, "TOPZ_PORT"))
        self._is_open = True
        token = settings.token is not None or settings.token_file is not None
        _logger.info(
            "serving http://%s:%d/topz %s%s; topz %s, Python %s",
            host or "*",
            settings.port,
            "with a token" if token else "without a token (TOPZ_TOKEN is not set), on this address alone",
            f", admin on port {settings.admin_port}" if settings.admin_port else "",
            __version__,
            platform.python_version(),
        )
        self._warn_of_being_alone()
        return None

    def _warn_of_being_alone(self) -> None:
        with suppress(OSError):
            if set(pids(str(self._settings.proc))) <= {os.getpid()}:
                _logger.warning(
                    "no other process can be seen: the pod does not share its processes "
                    "(Kubernetes: shareProcessNamespace: true; podman: pod create --share +pid)"
                )

    def signals(self) -> Mapping[signal.Signals, Callable[[], None]]:
        """SIGHUP does nothing: files are read when they are used."""
        return {signal.SIGHUP: lambda: None}

    async def linger(self, delay: float) -> None:
        """Go on until load balancers have noticed."""
        await asyncio.sleep(delay)

    async def drain(self) -> None:
        """Close the port; answers under way get a moment."""
        await self._server.stop()

    async def close(self) -> None:
        """End everything at once."""
        await self._server.stop()

    # ------------------------------------------------------------------ what the admin port tells

    async def live(self) -> list[Condition]:
        """That the process answers."""
        return [Condition("process", ok=True)]

    def started(self) -> list[Condition]:
        """Whether the port is open."""
        return [Condition("listening", self._is_open, "" if self._is_open else "not yet")]

    async def ready(self) -> list[Condition]:
        """Whether a look would show something, and to somebody; where nobody has looked for a while, the probe does."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_PROBE_WITHIN):
                await self._looking.latest(FRESH)
        stopping = self._life.is_stopping
        serving = Condition("serving", not stopping, "draining" if stopping else "")
        return [*self.started(), serving, *self._lets_in(), self._looking.condition()]

    def _lets_in(self) -> list[Condition]:
        """Whether there is a token that somebody could show, where one is asked for."""
        if self._token is None:
            return []
        try:
            self._token()
        except SecretFileError as error:
            return [Condition("token", ok=False, detail=str(error))]
        return [Condition("token", ok=True)]

    async def status(self) -> Mapping[str, object]:
        """Where the page is, and what looking has cost."""
        token = self._settings.token is not None or self._settings.token_file is not None
        return {
            "page": {"host": host_of(self._settings), "port": self._settings.port, "token": token},
            "snapshots": {"taken": self._looking.taken, "seconds": round(self._looking.seconds, 3)},
        }

    async def measures(self) -> list[Measure]:
        """What containers use, by a look of this moment or shortly before."""
        snapshot = await self._looking.latest(self._settings.sample)
        return [
            *container_measures(snapshot.containers),
            *machine_measures(snapshot.machine),
            *look_measures(self._looking.taken, self._looking.seconds),
            build_measure(),
        ]

    def processes(self) -> tuple[int, ...]:
        """There are no others."""
        return ()


def build_measure() -> Measure:
    """What runs, as the labels of a constant."""
    versions = (__version__, platform.python_version())
    return Measure("topz_build_info", "gauge", "What runs; always 1.", ("version", "python"), {versions: 1})
