"""Whether the app is well after a change: asked for a time, until that is decided.

What is done about one that is not is not known here, nor what the change was.
"""

import asyncio
import logging
from time import monotonic

from tlsproxy.chassis.admin.app_check import NoAnswerError, open_to, request
from tlsproxy.companions.rollout.addresses import HttpUrl, TcpPort

_logger = logging.getLogger("tlsproxy.watching")

_PATIENCE = 5.0
"""Seconds for one answer: an app that has only begun is slow, and a version is worth more than a second of waiting."""

_LEAST = 1.0
"""Seconds for the last answer before it is decided."""


class UnhealthyError(Exception):
    """The app did not become healthy or did not stay so; the message is plain."""


async def watch_over(probe: HttpUrl | TcpPort, within: float, lasting: float, period: float = 1.0) -> None:
    """Ask the app until it has been healthy on end for `lasting` seconds, which have to begin within `within` seconds.

    Before these are over it may fail as often as it likes: it restarts. After them the first failure counts, since an
    app that ends again and again is well in between.

    Args:
        probe: a URL that is to answer with a status below 400, or a port that is to open.
        within: seconds from the call; 0: it has to be well at once and stay so.
        lasting: seconds; 0: to be seen well once is enough.
        period: seconds between two questions.

    Raises:
        UnhealthyError: it was not.
    """
    began = monotonic()
    well_since: float | None = None
    while True:
        asked = monotonic()
        if trouble := await _ask(probe, min(_PATIENCE, max(_LEAST, began + within - asked))):
            if monotonic() - began >= within:
                raise UnhealthyError(_verdict(probe, trouble, within, well_since))
            well_since = None
        elif well_since is None:
            _logger.info("%s is healthy after %.1fs", probe, asked - began)
            well_since = asked
        if well_since is not None and monotonic() - well_since >= lasting:
            return
        await asyncio.sleep(period)


def _verdict(probe: HttpUrl | TcpPort, trouble: str, within: float, well_since: float | None) -> str:
    if well_since is None:
        return f"{probe} did not become healthy within {within:g}s: {trouble}"
    return f"{probe} was healthy for {monotonic() - well_since:.1f}s and then no more: {trouble}"


async def _ask(probe: HttpUrl | TcpPort, patience: float) -> str:
    """What is wrong; empty when nothing is."""
    try:
        if isinstance(probe, TcpPort):
            await open_to(probe.address, patience)
        elif (status := await request(probe.address, "GET", probe.path, patience)) >= 400:
            return f"answered {status}"
    except NoAnswerError as error:
        return str(error)
    return ""
