"""The loop's lag, and when a process counts as stuck."""

import asyncio
import time
from time import monotonic

from tlsproxy.chassis.measures import Distribution
from tlsproxy.chassis.pulse import Pulse


def lags(pulse: Pulse) -> Distribution:
    (measure,) = pulse.measures()
    assert (measure.name, measure.kind) == ("tlsproxy_loop_lag_seconds", "histogram")
    (lags,) = measure.samples.values()
    assert isinstance(lags, Distribution)
    return lags


def test_lag() -> None:
    """A loop that something holds up is late by that; one that nothing does is not."""

    async def go() -> None:
        pulse = Pulse(0.01)
        await pulse.beat()
        before = lags(pulse).total
        assert before < 0.1
        asyncio.get_running_loop().call_soon(time.sleep, 0.15)
        began = monotonic()
        assert await pulse.beat() - began >= 0.15
        assert 0.13 < lags(pulse).total - before < 0.5
        assert sum(lags(pulse).counts) == 2

    asyncio.run(go())


def test_alive() -> None:
    """While beats come, at whatever moment, and for half a minute without one."""
    pulse = Pulse(0.5)
    for later in (0, 1, 29):
        assert str(pulse.condition(monotonic() + later)) == "[+]process"


def test_stuck() -> None:
    """Without a beat for longer, two probes that are a second apart are told so."""
    pulse, now = Pulse(0.5), monotonic() + 40
    assert pulse.condition(now).ok
    assert pulse.condition(now + 0.9).ok
    assert str(pulse.condition(now + 1)) == "[-]process: no deadline has been looked at for 41s"


def test_stopped_for_a_while() -> None:
    """A process that was stopped goes on: a probe that comes before the beat that is due does not count."""

    async def go() -> None:
        pulse, later = Pulse(0.01), monotonic() + 40
        assert pulse.condition(later).ok
        await pulse.beat()
        assert pulse.condition(later + 40).ok
        assert pulse.condition(monotonic()).ok

    asyncio.run(go())
