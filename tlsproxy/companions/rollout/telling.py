"""How the app is told of a new version: each way a small value with a `tell`.

What the version is and what becomes of the app afterwards is not known here.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from tlsproxy.chassis.admin.app_check import NoAnswerError, request
from tlsproxy.companions.rollout.addresses import HttpUrl
from tlsproxy.companions.rollout.commands import CommandError, run
from tlsproxy.companions.rollout.processes import Handle, ProcessError, Selector, held, this_moment

_logger = logging.getLogger("tlsproxy.telling")

_KILLED_WITHIN = 5.0  # seconds for the kernel to end what was killed


class DeclinedError(Exception):
    """The app was told, and won't have it; the message is plain."""


class TellingError(Exception):
    """The app could not be told; the message is plain and says the way out."""


class Telling(Protocol):
    """One way of telling it."""

    async def tell(self, release: str) -> None:
        """Tell the app that this release is there.

        Raises:
            TellingError: it could not be told.
        """


def parse_signal(text: str) -> signal.Signals:
    """From `HUP`, `SIGHUP` or `1`.

    Raises:
        ValueError: there is no such signal, with a plain reason.
    """
    name = text.upper()
    try:
        return signal.Signals(int(text)) if text.isdecimal() else signal.Signals[f"SIG{name.removeprefix('SIG')}"]
    except (KeyError, ValueError):
        raise ValueError("there is no such signal") from None


@dataclass(frozen=True, slots=True)
class Nothing:
    """The app looks for itself."""

    async def tell(self, release: str) -> None:
        """Say nothing."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal, to each process that is selected: a master alone where its workers match, too."""

    processes: Selector
    number: signal.Signals = signal.SIGHUP

    async def tell(self, release: str) -> None:
        """Send it; what has no handler for it yet may end of it, which is logged."""
        try:
            with held(self.processes) as handles:
                for handle in handles:
                    self._send(handle, release)
        except ProcessError as error:
            raise TellingError(str(error)) from None

    def _send(self, handle: Handle, release: str) -> None:
        if self.number not in _ENDING and not handle.heeds(self.number):
            _logger.warning("%s has no handler for %s and may end of it", handle.process, self.number.name)
        handle.send(self.number)
        _logger.info("%s: sent %s to %s", release, self.number.name, handle.process)


_ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL})
"""What is sent to end a process, with or without a handler; SIGKILL can have none."""


@dataclass(slots=True)
class End:
    """The app is asked to end, so that whoever restarts it starts it anew: SIGTERM, and SIGKILL after `grace` seconds.

    In a PID namespace that the pod's containers share, the app is not process 1 and ends of a SIGTERM that it has no
    handler for; alone in its container, or with `pid: service:app`, it would not.

    One that has started since it was first to be told of a release found that one there: it is left alone.
    """

    processes: Selector
    grace: float
    _telling: tuple[str, int] = field(default=("", 0), init=False)
    """The release, and when it was first told of, as processes' starts are."""

    async def tell(self, release: str) -> None:
        """Returns when they have ended."""
        if self._telling[0] != release:
            self._telling = release, this_moment()
        try:
            with held(self.processes) as handles:
                asked = list(self._asked_to_end(release, handles))
                await asyncio.gather(*map(self._see_off, asked))
        except ProcessError as error:
            raise TellingError(str(error)) from None

    def _asked_to_end(self, release: str, handles: Iterable[Handle]) -> Iterator[Handle]:
        for handle in handles:
            if handle.process.started > self._telling[1]:
                _logger.info("%s: %s has started since, and is left alone", release, handle.process)
                continue
            handle.send(signal.SIGTERM)
            _logger.info("%s: asked %s to end", release, handle.process)
            yield handle

    async def _see_off(self, handle: Handle) -> None:
        if await handle.ended(self.grace):
            return
        _logger.warning("%s has not ended within %gs of SIGTERM: killed", handle.process, self.grace)
        handle.send(signal.SIGKILL)
        if not await handle.ended(_KILLED_WITHIN):
            raise ProcessError(f"{handle.process} has not ended even of SIGKILL: it waits for a device or a mount")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request without a body; redirects are not followed."""

    url: HttpUrl
    method: str = "POST"
    success: tuple[int, ...] = ()
    """The statuses that are good; empty: all from 200 to 299."""
    within: float = 10.0
    """Seconds."""
    field: str = ""
    """Name of a field that tells the release; empty: none does."""

    async def tell(self, release: str) -> None:
        """Send it once."""
        fields = {self.field: release} if self.field else {}
        try:
            status = await request(self.url.address, self.method, self.url.path, self.within, fields)
        except NoAnswerError as error:
            raise TellingError(f"{self.method} {self.url}: {error}") from None
        if status not in (self.success or range(200, 300)):
            raise DeclinedError(f"{self.url} answered {status} to {self.method}")
        _logger.info("%s: %s %s: %s", release, self.method, self.url, status)


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the user's, with an exit status of 0 when the app has been told."""

    command: tuple[str, ...]
    within: float
    """Seconds."""
    variables: Callable[[str], Mapping[str, str]] = lambda _: MappingProxyType({})
    """What it has in its environment, made of the release's name."""

    async def tell(self, release: str) -> None:
        """Run it to its end."""
        try:
            await run(self.command, self.within, self.variables(release))
        except CommandError as error:
            raise (TellingError if error.status is None else DeclinedError)(str(error)) from None


@dataclass(frozen=True, slots=True)
class Touch:
    """A file gets the time of the moment; it is made, empty, where there is none."""

    path: Path

    async def tell(self, release: str) -> None:
        """Touch it: whoever watches its time sees that, and whoever watches for a writer that is done does, too."""
        try:
            opened = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
            try:
                os.utime(opened)
            finally:
                os.close(opened)
        except OSError as error:
            raise TellingError(f"{self.path} can't be touched: {os.strerror(error.errno or 0).lower()}") from None
        _logger.info("%s: touched %s", release, self.path)
