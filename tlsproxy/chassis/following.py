"""Whether the app that a sidecar stands beside has ended, seen from its port.

What is done about it is not known here, nor how a port is probed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

PERIOD = 1.0  # seconds between two probes


class Following:
    """The app's port, watched until it has been closed for long enough.

    Args:
        is_closed: a probe; never raises.
        patience: seconds that the port may be closed for: an app that restarts is not at its end.
        period: seconds between two probes.
    """

    def __init__(self, is_closed: Callable[[], Awaitable[bool]], patience: float, period: float = PERIOD) -> None:
        self._is_closed = is_closed
        self._patience = patience
        self._period = period
        self.seen = False
        """Whether the port has been open: an app that has not started has not ended either."""
        self.ended = asyncio.Event()

    async def watch(self) -> None:
        """Probe until the app has ended; at least two probes in a row have found the port closed then."""
        closed_since: float | None = None
        while True:
            if not await self._is_closed():
                self.seen, closed_since = True, None
            elif self.seen:
                now = monotonic()
                if closed_since is None:
                    closed_since = now
                elif now - closed_since > self._patience:
                    break
            await asyncio.sleep(self._period)
        self.ended.set()
