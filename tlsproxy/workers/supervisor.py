"""The workers as the supervisor sees them: begun, watched, told, asked, replaced and ended.

The supervisor serves nobody: it has the admin port, the signals and the watch on the certificates, and stands where
one process would serve by itself. The listening sockets are its own, one of a port for each place, and workers get
copies: who connects while a worker is dead waits in that socket's queue for its successor.
"""

import asyncio
import logging
import pickle
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from itertools import chain, count
from time import monotonic
from typing import TYPE_CHECKING

from tlsproxy.chassis import diagnostics
from tlsproxy.chassis.admin.health import Condition
from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.life import Life, happens
from tlsproxy.chassis.listening import listen_together
from tlsproxy.chassis.measures import Measure
from tlsproxy.chassis.output import lost_measure
from tlsproxy.chassis.signals import dump_stacks
from tlsproxy.proxy.limits import Limits
from tlsproxy.tls.catalogue import Catalogue
from tlsproxy.workers import messages
from tlsproxy.workers.channel import open_channel
from tlsproxy.workers.nursery import Born, Died, Nursery, NurseryLostError
from tlsproxy.workers.remote import RemoteWorker
from tlsproxy.workers.restarts import Restarts
from tlsproxy.workers.shares import share
from tlsproxy.workers.sums import added, added_status, lasting

if TYPE_CHECKING:
    from tlsproxy.settings import Settings

_logger = logging.getLogger("tlsproxy.workers")

ANSWERS_WITHIN = 0.5
"""Seconds that a worker may take to tell what it has counted; kubelet gives a probe 1."""
LOOK_PERIOD = 5.0
"""Seconds; what a worker that is killed has counted since the last look is lost."""
STUCK_AFTER = 30.0
"""Seconds without an answer after which a worker is killed, and followed by another."""
BEGINS_WITHIN = 15.0
"""Seconds that the successor in a replacement may take to serve."""
LEAVES_WITHIN = 2.0
"""Seconds that a worker which is replaced lets its connections end in: those that are used learn of it by an answer."""
ENDS_WITHIN = 4.0
"""Seconds for what a worker does after its connections have ended: it waits for whoever reads the request lines."""


class Workers:
    """What serves clients in several processes; a `sidecar.Serves`.

    Args:
        settings: read for their attributes alone.
        limits: over all workers.
        wanted: how many workers, at least 1 and at most so many that each has a share of every limit.
        nursery: bears them.
        certificates: what they serve.
        life: ended when the workers can't live.
    """

    def __init__(
        self,
        settings: "Settings",
        limits: Limits,
        wanted: int,
        nursery: Nursery,
        certificates: Catalogue,
        life: Life,
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._wanted = wanted
        self._nursery = nursery
        self._certificates = certificates
        self._life = life
        self._ports: list[tuple[str, list[list[socket.socket]]]] = []
        """Of each port the variable, and by place the sockets."""
        self._numbers = count(1)
        self._workers: dict[int, RemoteWorker] = {}
        """By number, those included that have ended and whose last words are still to be heard."""
        self._restarts = [Restarts() for _ in range(wanted)]
        """By place."""
        self._tasks: set[asyncio.Task[None]] = set()
        """Kept because a loop keeps its tasks weakly."""
        self._replacing: asyncio.Task[None] | None = None
        self._stopping = False
        self._nursery_is_lost = False
        """Whether nobody tells of deaths any more; then a worker's end is that of its channel."""
        self._settled = asyncio.Event()
        """Whether every place is served, or never will be."""
        self._past: list[Measure] = []
        """What those that have ended had counted."""
        self.deaths = 0
        """Workers that have ended unasked."""

    # ------------------------------------------------------------------ beginning

    def background(self) -> Mapping[str, Coroutine[None, None, None]]:
        """The watch on the workers."""
        return {"workers": self._look_after()}

    async def open(self) -> None:
        """Open the ports, and wait until every worker serves, or none ever will.

        Raises:
            PortError: one of the ports can't be had.
        """
        settings = self._settings
        for variable, port in (
            ("TLSPROXY_REDIRECT_PORT", settings.redirect_port),
            ("TLSPROXY_LISTEN_PORT", settings.listen_port),
        ):
            if port is not None:
                groups = listen_together(settings.listen_host, port, variable, self._wanted)
                self._ports.append((variable, groups))
        asyncio.get_running_loop().add_reader(self._nursery.fileno(), self._heard)
        try:
            self._nursery.supply(self._supply())
            for place in range(self._wanted):
                await self._begin(place)
        except NurseryLostError:
            self._nursery_lost()
        await self._settled.wait()

    def _supply(self) -> bytes:
        return pickle.dumps(self._certificates.supply())

    async def _begin(self, place: int) -> RemoteWorker:
        """Have a worker begin.

        Raises:
            NurseryLostError: there is nobody to bear it.
        """
        ours, theirs = socket.socketpair()
        # From its birth on, what all are told is told to it too: nothing may come between the two.
        worker = RemoteWorker(next(self._numbers), place, await open_channel(ours))
        task = messages.Task(
            connections=share(self._limits.connections, self._wanted, place),
            app_connections=share(self._limits.app_connections, self._wanted, place),
            ports=[(variable, len(groups[place])) for variable, groups in self._ports],
        )
        with theirs:
            listening = chain.from_iterable(groups[place] for _, groups in self._ports)
            self._nursery.bear(worker.number, task, [theirs, *listening])
        self._workers[worker.number] = worker
        self._keep(worker.attend(self._look))
        return worker

    def _look(self) -> None:
        """Take note of what has changed with a worker."""
        if {one.place for one in self._serving()} == set(range(self._wanted)):
            self._settled.set()
        if self._nursery_is_lost:
            for worker in self._workers.values():
                if worker.gone.is_set():
                    worker.ended.set()

    def _serving(self) -> list[RemoteWorker]:
        """Those that accept connections."""
        return [worker for worker in self._workers.values() if worker.is_serving]

    @property
    def workers(self) -> int:
        """How many serve at this moment."""
        return len(self._serving())

    # ------------------------------------------------------------------ deaths

    def _heard(self) -> None:
        """Take the nursery's next report."""
        try:
            report = self._nursery.report()
        except NurseryLostError:
            self._nursery_lost()
            return
        worker = self._workers[report.number]
        match report:
            case Born(_, pid):
                worker.pid = pid
            case Died(_, status):
                self._died(worker, status)

    def _nursery_lost(self) -> None:
        """Nobody would follow a worker that dies from here on: better to end while somebody notices."""
        if self._nursery_is_lost:
            return
        self._nursery_is_lost = True
        asyncio.get_running_loop().remove_reader(self._nursery.fileno())
        self._look()
        if not self._stopping:
            _logger.error("the process that starts workers has gone: stopping")
            self._give_up()

    def _give_up(self) -> None:
        self._life.end(Exit.FAILED)
        self._settled.set()

    def _died(self, worker: RemoteWorker, status: int) -> None:
        worker.ended.set()
        self._keep(self._bury(worker))
        if self._stopping or worker.is_leaving:
            return
        self.deaths += 1
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        pause = self._restarts[worker.place].pause(monotonic() - worker.served_at if worker.served_at else 0.0)
        if pause is None:
            _logger.error("%s %s, and so did those before it as soon as they had begun: giving up", worker, how)
            self._give_up()
            return
        _logger.error("%s %s; another one follows%s", worker, how, f" in {pause:g}s" if pause else "")
        self._keep(self._follow(worker.place, pause))

    def _is_held(self, place: int) -> bool:
        """Whether a worker has the place, and keeps it."""
        return any(
            one.place == place and not one.is_leaving and not one.ended.is_set() for one in self._workers.values()
        )

    async def _bury(self, worker: RemoteWorker) -> None:
        """Hear its last words, and keep what it has counted."""
        await happens(worker.gone, ANSWERS_WITHIN)
        if worker.told is not None:
            self._past = added([self._past, lasting(worker.told.measures)])
        del self._workers[worker.number]

    async def _follow(self, place: int, pause: float) -> None:
        if pause:
            await asyncio.sleep(pause)
        if self._stopping or self._is_held(place):
            return
        try:
            await self._begin(place)
        except NurseryLostError:
            self._nursery_lost()

    def _keep(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_after(self) -> None:
        """Kill workers that are stuck: whoever they have accepted would wait for ever."""
        while True:
            await asyncio.sleep(LOOK_PERIOD)
            diagnostics.flush()
            await self._ask()
            for worker in self._serving():
                silent = monotonic() - worker.heard_at
                if silent >= STUCK_AFTER:
                    _logger.error("%s has not answered for %.0fs, and is killed", worker, silent)
                    self._signal(worker, signal.SIGKILL)

    def _signal(self, worker: RemoteWorker, number: signal.Signals) -> None:
        try:
            self._nursery.signal(worker.number, number)
        except NurseryLostError:
            self._nursery_lost()

    # ------------------------------------------------------------------ what all are told

    def renew(self) -> None:
        """Have all workers serve what is served from here on, at once and from the same bytes."""
        supply = self._supply()
        for worker in self._workers.values():
            worker.channel.send(messages.Renew(supply))
        try:
            self._nursery.supply(supply)
        except NurseryLostError:
            self._nursery_lost()

    def leave(self, within: float) -> None:
        """Let connections that there are at this moment end within so many seconds, each with an answer; go on."""
        for worker in self._workers.values():
            worker.channel.send(messages.Leave(within))

    def signals(self) -> Mapping[signal.Signals, Callable[[], None]]:
        """SIGUSR1 dumps the stacks of all; SIGUSR2 replaces the workers, one after another."""
        return {signal.SIGUSR1: self._dump, signal.SIGUSR2: self._replace}

    def _dump(self) -> None:
        dump_stacks()
        for worker in self._serving():
            self._signal(worker, signal.SIGUSR1)

    # ------------------------------------------------------------------ replacing

    def _replace(self) -> None:
        if self._stopping:
            _logger.info("SIGUSR2: the workers are not replaced, since they are to end")
            return
        if self._replacing is not None and not self._replacing.done():
            _logger.info("SIGUSR2: the workers are being replaced already")
            return
        self._replacing = asyncio.create_task(self._replace_all(), name="replace workers")

    async def _replace_all(self) -> None:
        """Put another worker in the place of each, one after another: each serves before the one before it ends."""
        _logger.info("SIGUSR2: the workers are replaced, one after another")
        for former in [worker for worker in self._serving() if not worker.is_leaving]:
            if self._stopping:
                return
            if former.ended.is_set():
                continue
            try:
                successor = await self._begin(former.place)
            except NurseryLostError:
                self._nursery_lost()
                return
            if not await happens(successor.serves, BEGINS_WITHIN):
                _logger.error("%s does not serve; %s and those after it stay", successor, former)
                successor.is_leaving = True
                successor.channel.send(messages.Stop())
                return
            former.is_leaving = True
            former.channel.send(messages.Drain(LEAVES_WITHIN))
            await happens(former.ended, LEAVES_WITHIN + self._drains_within)
        if not self._stopping:
            _logger.info("the workers have been replaced")

    @property
    def _drains_within(self) -> float:
        return self._settings.drain_timeout + ENDS_WITHIN

    # ------------------------------------------------------------------ ending

    async def drain(self) -> None:
        """Have all workers accept no more, and wait for what is under way."""
        self._stop_listening()
        for worker in self._workers.values():
            worker.is_leaving = True
            worker.channel.send(messages.Drain())
        await self._await_ends(self._drains_within)

    async def close(self) -> None:
        """End all workers at once."""
        self._stop_listening()
        for worker in self._workers.values():
            worker.channel.send(messages.Stop())
        await self._await_ends(ENDS_WITHIN)
        asyncio.get_running_loop().remove_reader(self._nursery.fileno())
        self._nursery.close()

    def _stop_listening(self) -> None:
        self._stopping = True
        for one in chain.from_iterable(chain.from_iterable(groups) for _, groups in self._ports):
            one.close()

    async def _await_ends(self, within: float) -> None:
        """Wait until no worker is left."""
        deadline = monotonic() + within
        for worker in list(self._workers.values()):
            if not await happens(worker.ended, max(0.0, deadline - monotonic())):
                _logger.error("%s does not end, and is killed", worker)
                self._signal(worker, signal.SIGKILL)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2 * ANSWERS_WITHIN)

    # ------------------------------------------------------------------ what the admin port tells

    async def _ask(self) -> list[RemoteWorker]:
        """Ask all workers that serve; those that have answered in time."""
        asked = {worker.ask(): worker for worker in self._serving()}
        if not asked:
            return []
        answered, _ = await asyncio.wait(asked, timeout=ANSWERS_WITHIN)
        return [asked[future] for future in answered]

    async def live(self) -> Condition:
        """Whether any worker answers, and looks at its deadlines; while there is none, another one follows anyway."""
        answered = await self._ask()
        stuck = bool(self._serving()) and not any(worker.told and worker.told.alive for worker in answered)
        return Condition("process", not stuck, "no worker answers" if stuck else "")

    async def status(self) -> dict[str, object]:
        """The sums, and each worker by itself."""
        answered = await self._ask()
        statuses = [telling.status for telling in self._tellings()]
        each = [
            {
                "number": worker.number,
                "pid": worker.pid,
                "answers": worker in answered,
                "uptime_seconds": round(monotonic() - worker.served_at, 3),
                "connections": worker.told.status.get("connections") if worker.told is not None else None,
            }
            for worker in self._serving()
        ]
        return {**added_status([*statuses, {"diagnostics_lost": diagnostics.lost()}]), "workers": each}

    async def measures(self) -> list[Measure]:
        """The sums, over those that have ended as well; of a worker that does not answer what it told last."""
        await self._ask()
        own = [lost_measure(0, diagnostics.lost())]
        return added([self._past, *(telling.measures for telling in self._tellings()), own])

    def _tellings(self) -> Sequence[messages.Telling]:
        return [worker.told for worker in self._workers.values() if worker.told is not None]

    def processes(self) -> tuple[int, ...]:
        """The workers, and the process that starts them."""
        return (self._nursery.pid, *(worker.pid for worker in self._workers.values() if worker.pid))
