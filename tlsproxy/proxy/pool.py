"""Connections to the app: lent, taken back, opened when there is none, waited for in order.

`Lending` decides and knows neither sockets nor clocks; `Pool` does what it decides.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from time import monotonic
from typing import Generic, Protocol, TypeVar

from tlsproxy.chassis.app_address import AppAddress
from tlsproxy.chassis.measures import Measure
from tlsproxy.proxy.limits import Limits, Timeouts
from tlsproxy.proxy.refusals import AppAbsent, AppConnectTimeout, AppRefused, AppReset, Overloaded, Refusal
from tlsproxy.proxy.tally import Tally
from tlsproxy.proxy.upstream import Upstream

# How often an app that refuses connections is asked again while requests are held for it.
RETRY_PERIOD = 0.1

Connection = TypeVar("Connection")
Asker = TypeVar("Asker")


class Lending(Generic[Asker, Connection]):
    """Who has which connection, and who waits: every decision of the pool, as plain values.

    Idle connections are lent last in, first out, so that a burst's surplus grows old and is closed. Those who wait
    are served in the order in which they came.

    Args:
        limit: connections lent or being opened at once; 0 for no limit.
    """

    def __init__(self, limit: int = 0) -> None:
        self._limit = limit
        self.idle: dict[Connection, None] = {}
        """Oldest first."""
        self.lent: set[Connection] = set()
        self.waiting: OrderedDict[Asker, bool] = OrderedDict()
        """In order; the value tells whether only a fresh connection will do."""
        self.opening = 0

    def ask(self, asker: Asker, *, fresh: bool) -> Connection | None:
        """A connection for the asker, or None: then it waits.

        Args:
            asker: who wants one.
            fresh: whether only one that was never used will do; who asks so has waited before and goes first.
        """
        if self.idle and not fresh and not self.waiting and (not self._limit or self._has_room):
            connection, _ = self.idle.popitem()
            self.lent.add(connection)
            return connection
        self.waiting[asker] = fresh
        if fresh:
            self.waiting.move_to_end(asker, last=False)
        return None

    @property
    def _has_room(self) -> bool:
        return len(self.lent) + self.opening < self._limit

    def next_to_open(self) -> bool:
        """Whether one more connection is to be opened for those who wait; then it counts as being opened."""
        if len(self.waiting) <= self.opening or (self._limit and not self._has_room):
            return False
        self.opening += 1
        return True

    def opened(self, connection: Connection) -> Asker | None:
        """One has been opened: for whom; None when nobody waits any more, and it is idle."""
        self.opening -= 1
        if self.waiting:
            asker, _ = self.waiting.popitem(last=False)
            self.lent.add(connection)
            return asker
        self.idle[connection] = None
        return None

    def failed_to_open(self) -> None:
        """One could not be opened."""
        self.opening -= 1

    def returned(self, connection: Connection) -> Asker | None:
        """A lent one is free again: for whom next; None when nobody waits for a used one, and it is idle."""
        self.lent.discard(connection)
        if self.waiting:
            asker, fresh = next(iter(self.waiting.items()))
            if not fresh:
                del self.waiting[asker]
                self.lent.add(connection)
                return asker
        self.idle[connection] = None
        return None

    def ended(self, connection: Connection) -> None:
        """A connection is no more, whatever it was."""
        self.idle.pop(connection, None)
        self.lent.discard(connection)


class Guest(Protocol):
    """Who asks the pool for a connection."""

    def lent(self, upstream: Upstream, *, used: bool) -> None:
        """Here it is; `used`: it has carried a request before, so the app may be closing it at this moment."""

    def unavailable(self, refusal: Refusal) -> None:
        """There is none to be had."""


class Pool:
    """The connections to one app.

    Args:
        address: where it listens; a name is resolved anew for each connection.
        limits: `app_connections` counts.
        timeouts: `connect`, `app_wait`, `app_keepalive` and `response` count.
        tally: where the time to connect is counted.
    """

    def __init__(self, address: AppAddress, limits: Limits, timeouts: Timeouts, tally: Tally) -> None:
        self.address = address
        self._timeouts = timeouts
        self._tally = tally
        self._lending: Lending[Guest, Upstream] = Lending(limits.app_connections)
        self._since: dict[Guest, float] = {}
        """Since when each guest waits, the longest first."""
        self._attempts: set[asyncio.Task[None]] = set()
        self._refusal = ""
        """Why the app could not be connected to the last time; empty when it could."""
        self._refused_at = 0.0
        self._retry: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Pool {self.address}: {', '.join(f'{n} {state}' for state, n in self.count().items())}>"

    # ------------------------------------------------------------------ for its guests

    def ask(self, guest: Guest, *, repeatable: bool, fresh: bool = False) -> None:
        """Lend the guest a connection: at once when one is idle, else when its turn comes.

        Args:
            guest: is told `lent` or `unavailable`, perhaps before this returns.
            repeatable: whether its request may be sent twice. One that may not is never given an idle connection
                that the app has closed already, as far as the kernel knows.
            fresh: whether only an unused connection will do.
        """
        upstream = self._lending.ask(guest, fresh=fresh)
        while upstream is not None and not repeatable and not upstream.is_quiet():
            upstream.close()
            upstream = self._lending.ask(guest, fresh=False)
        if upstream is not None:
            guest.lent(upstream, used=True)
            return
        self._since[guest] = monotonic()
        self._open()

    def withdraw(self, guest: Guest) -> None:
        """Forget a guest that may be waiting."""
        self._since.pop(guest, None)
        self._lending.waiting.pop(guest, None)

    # ------------------------------------------------------------------ for its connections

    def returned(self, upstream: Upstream) -> None:
        """A connection has carried its request and may carry another."""
        if self._lending.waiting and not upstream.is_quiet():
            upstream.close()
            return
        guest = self._lending.returned(upstream)
        if guest is None:
            upstream.idle_since = monotonic()
        else:
            self._hand(upstream, guest, used=True)

    def ended(self, upstream: Upstream) -> None:
        """A connection will carry no further request."""
        self._lending.ended(upstream)
        if self._lending.waiting:
            self._open()

    def _hand(self, upstream: Upstream, guest: Guest, *, used: bool) -> None:
        self._since.pop(guest, None)
        guest.lent(upstream, used=used)

    # ------------------------------------------------------------------ opening

    def _open(self) -> None:
        """Open what those who wait need; an app that refuses is asked by one attempt at a time."""
        if self._retry is not None or (self._refusal and self._lending.opening):
            return
        while self._lending.next_to_open():
            task = asyncio.get_running_loop().create_task(self._attempt())
            self._attempts.add(task)
            task.add_done_callback(self._attempts.discard)
            if self._refusal:
                return

    async def _attempt(self) -> None:
        started = monotonic()
        try:
            async with asyncio.timeout(self._timeouts.connect):
                upstream = await self._connect()
        except TimeoutError:
            self._lending.failed_to_open()
            self._turn_away_first(
                AppConnectTimeout(f"{self.address} accepted no connection within {self._timeouts.connect:g}s")
            )
        except OSError as error:
            self._lending.failed_to_open()
            self._refused(error.strerror or str(error))
        except UnicodeError:
            # IDNA, before any look-up.
            self._lending.failed_to_open()
            self._refused("not a host name")
        else:
            self._tally.app_connects.observe(monotonic() - started)
            self._refusal = ""
            self._opened(upstream)
        self._open()

    def _opened(self, upstream: Upstream) -> None:
        """Hand a new connection over, unless the app has closed it before anybody could."""
        if upstream.is_closing:
            self._lending.failed_to_open()
            self._turn_away_first(AppReset("the app closed the connection at once"))
            return
        guest = self._lending.opened(upstream)
        if guest is None:
            upstream.unclaimed(monotonic())
        else:
            self._hand(upstream, guest, used=False)

    async def _connect(self) -> Upstream:
        loop = asyncio.get_running_loop()
        address = self.address
        if address.socket:
            _, upstream = await loop.create_unix_connection(lambda: Upstream(self), address.socket)
        else:
            _, upstream = await loop.create_connection(lambda: Upstream(self), address.host, address.port)
        return upstream

    def _refused(self, why: str) -> None:
        """The app takes no connection: hold who waits for a while, or turn one away when nothing is held."""
        if not self._refusal:
            self._refused_at = monotonic()
        self._refusal = f"{self.address}: {why}"
        if not self._timeouts.app_wait:
            self._turn_away_first(AppRefused(self._refusal))
        elif self._lending.waiting:
            self._retry = asyncio.get_running_loop().call_later(RETRY_PERIOD, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self._open()

    def _turn_away_first(self, refusal: Refusal) -> None:
        if self._lending.waiting:
            guest = next(iter(self._lending.waiting))
            self.withdraw(guest)
            guest.unavailable(refusal)

    # ------------------------------------------------------------------ time and end

    def sweep(self, now: float) -> None:
        """Close connections idle for too long, and turn away who has waited too long."""
        idle = self._lending.idle
        while idle and next(iter(idle)).idle_since + self._timeouts.app_keepalive < now:
            next(iter(idle)).close()
        for guest, since in list(self._since.items()):
            refusal = self._overdue(since, now)
            if refusal is None:
                return
            self.withdraw(guest)
            guest.unavailable(refusal)

    def _overdue(self, since: float, now: float) -> Refusal | None:
        """Why a guest that waits since then is to wait no longer; None when it may."""
        if self._refusal:
            over = max(since, self._refused_at) + self._timeouts.app_wait < now
            return AppAbsent(f"{self._refusal}, for {self._timeouts.app_wait:g}s") if over else None
        over = since + self._timeouts.response < now
        return Overloaded(f"no turn within {self._timeouts.response:g}s") if over else None

    async def close(self) -> None:
        """Close what is idle and end what is being opened; what is lent is its borrowers' to end."""
        if self._retry is not None:
            self._retry.cancel()
        for upstream in list(self._lending.idle):
            upstream.close()
        for task in self._attempts:
            task.cancel()
        await asyncio.gather(*self._attempts, return_exceptions=True)

    def count(self) -> dict[str, int]:
        """Connections by state, and requests that wait for one."""
        lending = self._lending
        return {
            "idle": len(lending.idle),
            "lent": len(lending.lent),
            "opening": lending.opening,
            "waiting": len(lending.waiting),
        }

    def measures(self) -> Iterator[Measure]:
        """The pool's state as metric families."""
        yield Measure(
            "tlsproxy_app_connections",
            "gauge",
            "Connections to the app by state; `waiting` counts requests that wait for one.",
            ("state",),
            {(state,): count for state, count in self.count().items()},
        )
