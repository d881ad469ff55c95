"""How late the event loop comes round, seen by what runs on it at a steady pace.

The pace is that of the sweep that is there anyway: nothing is added to the work of the loop that is measured.
"""

import asyncio
from collections.abc import Iterator
from time import monotonic

from tlsproxy.chassis.admin.health import Condition
from tlsproxy.chassis.measures import Distribution, Measure

# From what a busy loop has always, to what a client takes for an outage.
_LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# How late a beat may be before the process counts as stuck: long enough for whatever a starved machine does to it.
_STUCK = 30.0
_PROBES_APART = 1.0


class Pulse:
    """Beats of one loop.

    Args:
        period: seconds between two of them.
    """

    def __init__(self, period: float) -> None:
        self._period = period
        self._due = monotonic() + period
        self._missed_at: float | None = None
        """When a probe first missed the beat that is due; None: none has."""
        self._lags = Distribution(_LAGS)

    async def beat(self) -> float:
        """Wait for the next beat; returns its monotonic time."""
        self._due = monotonic() + self._period
        self._missed_at = None
        await asyncio.sleep(self._period)
        now = monotonic()
        self._lags.observe(max(now - self._due, 0.0))
        return now

    def condition(self, now: float) -> Condition:
        """Whether what beats is alive, for /livez.

        A loop that hangs answers no probe, and needs no condition. This tells of one that goes round without its
        beats, and so without its deadlines. A process that was stopped for a while and goes on finds the probe and
        the beat due at the same moment: hence it takes a second probe, a little later, to be sure.
        """
        late = now - self._due
        if late < _STUCK:
            return Condition("process", ok=True)
        if self._missed_at is None:
            self._missed_at = now
        stuck = now - self._missed_at >= _PROBES_APART
        return Condition("process", ok=not stuck, detail=f"no deadline has been looked at for {late:.0f}s")

    def measures(self) -> Iterator[Measure]:
        """The lags, as a histogram: it can be summed over workers, and tells how much of the time the loop is late."""
        yield Measure(
            "tlsproxy_loop_lag_seconds",
            "histogram",
            "How late the event loop came to what was due, looked at twice a second.",
            (),
            {(): self._lags},
        )
