"""The life of a process, the same for every sidecar of the family: start, signals, drain, stop, exit status.

What a program does is not known here: it is told when to start, to drain and to close, and asked what the admin port
tells. The admin port opens first, so that probes have an answer while the program still waits for what it needs.
"""

import asyncio
import gc
import logging
import platform
import signal
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Protocol

from tlsproxy import __version__
from tlsproxy.chassis.admin.health import Condition
from tlsproxy.chassis.admin.server import AdminServer
from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.listening import PortError, listen
from tlsproxy.chassis.measures import Measure
from tlsproxy.chassis.signals import HEEDED, Signals

_logger = logging.getLogger("tlsproxy")


class Program(Protocol):
    """What one sidecar does that others do not."""

    async def start(self) -> Exit | None:
        """Come to serve; None when it serves, else what the process ends with.

        Raises:
            PortError: the process ends with its message and `Exit.PORT`.
        """

    def signals(self) -> Mapping[signal.Signals, Callable[[], None]]:
        """What it does at signals besides those that ask it to stop, of which the chassis takes care."""

    async def linger(self, delay: float) -> None:
        """Go on after SIGTERM for so many seconds, until load balancers have noticed, or as long as there is reason to.

        Cancelled when asked to stop at once.
        """

    async def drain(self) -> None:
        """Take on no more and let what is under way end; cancelled when asked to stop at once."""

    async def close(self) -> None:
        """End what is left; called once, however far `start` has come."""

    async def live(self) -> Iterable[Condition]:
        """What only a restart of the process can mend."""

    def started(self) -> Iterable[Condition]:
        """What has to be there before the other probes count."""

    async def ready(self) -> Iterable[Condition]:
        """What has to hold for work to be sent here."""

    async def status(self) -> Mapping[str, object]:
        """For /status, after what every sidecar tells: serialisable as JSON."""

    async def measures(self) -> Iterable[Measure]:
        """For /metrics."""

    def processes(self) -> Iterable[int]:
        """The ids of those that belong to it besides this one."""


class Life:
    """One process, from its start to its exit status.

    Args:
        shown: every variable as /status tells it, secrets masked.
        prefix: of the variables, for messages.
        admin_host: where the admin port listens; empty: everywhere.
        admin_port: 0: there is none.
        drain_delay: seconds to go on for when asked to stop, while /readyz says no; not for SIGINT.
    """

    def __init__(
        self, shown: Mapping[str, str], prefix: str, admin_host: str, admin_port: int, drain_delay: float
    ) -> None:
        self._shown = shown
        self._prefix = prefix
        self._admin_address = admin_host, admin_port
        self._drain_delay = drain_delay
        self._began = monotonic()
        self._signals: Signals | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._status_at_end = Exit.STOPPED

    # ------------------------------------------------------------------ in its order

    async def run(self, program: Program) -> Exit:
        """Start, serve until told to stop, drain and stop. Once for each life."""
        signals = self._signals = Signals(asyncio.get_running_loop(), program.signals())
        admin = self._admin(program)
        try:
            await self._open(admin)
            ended = await program.start()
            if ended is not None:
                return ended
            settle_memory()
            await signals.stop.wait()
            await self._drain(program, signals)
        except PortError as error:
            _logger.error("%s", error)  # noqa: TRY400 - the way out matters, not the way in
            return Exit.PORT
        else:
            return self._status_at_end
        finally:
            await self._close(program, admin)

    def _admin(self, program: Program) -> AdminServer:
        return AdminServer(
            live=program.live,
            started=program.started,
            ready=program.ready,
            status=partial(self._status_of, program),
            measures=program.measures,
            processes=program.processes,
        )

    async def _open(self, admin: AdminServer) -> None:
        host, port = self._admin_address
        if port:
            await admin.start(listen(host, port, f"{self._prefix}ADMIN_PORT"))

    async def _drain(self, program: Program, signals: Signals) -> None:
        """Say no to probes, go on for a while, and let what is under way end."""
        if not signals.interrupted:
            await _unless(signals.stop_at_once, program.linger(self._drain_delay))
        await _unless(signals.stop_at_once, program.drain())

    async def _close(self, program: Program, admin: AdminServer) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await program.close()
        await admin.stop()
        _logger.info("stopped after %.0fs", self._uptime)

    # ------------------------------------------------------------------ what a program is given

    def in_background(self, work: Coroutine[None, None, None], name: str) -> None:
        """Run something until the process ends; the name is for SIGUSR1's dump."""
        self._tasks.append(asyncio.get_running_loop().create_task(work, name=name))

    def end(self, status: Exit = Exit.STOPPED) -> None:
        """Stop as if asked to, with this exit status."""
        self._status_at_end = status
        if self._signals is not None:
            self._signals.stop.set()

    @property
    def is_stopping(self) -> bool:
        """Whether the process has been asked to stop."""
        return self._signals is not None and self._signals.stop.is_set()

    async def stops(self, within: float) -> bool:
        """Whether the process is asked to stop within so many seconds; for a program that is not started yet."""
        return self._signals is not None and await happens(self._signals.stop, within)

    # ------------------------------------------------------------------ what every admin port tells

    async def _status_of(self, program: Program) -> Mapping[str, object]:
        began = datetime.now(UTC).timestamp() - self._uptime
        return {
            "version": __version__,
            "started": datetime.fromtimestamp(began, UTC).isoformat("T", "seconds"),
            "uptime_seconds": round(self._uptime, 3),
            "settings": self._shown,
            **await program.status(),
        }

    @property
    def _uptime(self) -> float:
        return monotonic() - self._began


def build_measure(program: str, **linked: str) -> Measure:
    """What runs, as the labels of a constant: the program's version, Python's, and those of what it is linked with."""
    versions = {"version": __version__, "python": platform.python_version(), **linked}
    name, help_ = f"{program}_build_info", "What runs; always 1."
    return Measure(name, "gauge", help_, tuple(versions), {tuple(versions.values()): 1})


def run(
    life: Life, make: Callable[[Life], Program], new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
) -> Exit:
    """Run a program; returns the process's exit status.

    Args:
        life: the process's.
        make: makes the program, on its loop.
        new_loop: makes the loop; None: the fastest that there is.
    """
    with asyncio.Runner(loop_factory=new_loop or loop_factory()) as runner:
        try:
            return runner.run(_run(life, make))
        finally:
            _heed_no_more(runner.get_loop())


def _heed_no_more(loop: asyncio.AbstractEventLoop) -> None:
    """Ignore signals: a loop that is closed gives them back to the kernel, and the process would end with one."""
    # The mask is this thread's alone; it is for the moment in which nobody has the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, HEEDED)
    for number in HEEDED:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)


async def _run(life: Life, make: Callable[[Life], Program]) -> Exit:
    return await life.run(make(life))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the fastest event loop that there is."""
    try:
        import uvloop  # noqa: PLC0415 - it has no wheel for every platform
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def settle_memory() -> None:
    """Spare the garbage collector what has been made until this moment."""
    # What stands from here on to the end need not be looked at by each collection; with the thresholds raised
    # besides, a new connection costs a tenth less.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def _unless(event: asyncio.Event, work: Coroutine[None, None, None]) -> None:
    """Do something, and cancel it when the event happens."""
    done, happening = asyncio.create_task(work), asyncio.create_task(event.wait())
    try:
        await asyncio.wait({done, happening}, return_when=asyncio.FIRST_COMPLETED)
        if done.done():
            done.result()
    finally:
        done.cancel()
        happening.cancel()


async def happens(event: asyncio.Event, within: float) -> bool:
    """Whether the event happens within so many seconds."""
    try:
        async with asyncio.timeout(within):
            await event.wait()
    except TimeoutError:
        return False
    return True
