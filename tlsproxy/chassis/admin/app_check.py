"""What is asked of the app: does its port open, what does a path of it answer.

Plain sockets, so that a refused connection keeps its own error whatever the loop and the number of addresses.
Knows nothing of the sidecar that stands beside the app.
"""

import asyncio
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from tlsproxy.chassis.admin.health import Condition
from tlsproxy.chassis.app_address import AppAddress

_FRESH = 1.0  # seconds; several probers (kubelet, a load balancer, a HEALTHCHECK) cost the app one connection
_REMEMBERED = 15.0  # seconds; longer than the 10 between two of a kubelet's probes
_PIECE = 16 * 1024
_DRAIN_PIECES = 16
_DRAIN = 0.25  # seconds
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r\n]")


async def check_app(address: AppAddress, how: str, within: float) -> Condition:
    """Ask the app once; never raises for what the app does.

    Args:
        address: Where it listens.
        how: `tcp` (a connection is opened and closed), a path such as `/healthz` (any status below 400 is
            good), or `off` (always good, nothing is asked).
        within: Seconds for the whole check.

    Returns:
        The condition `app`, with the reason in plain words when it does not hold.
    """
    if how == "off":
        return Condition("app", ok=True)
    try:
        if how == "tcp":
            await open_to(address, within)
        elif (status := await request(address, "GET", how, within)) >= 400:
            return Condition("app", ok=False, detail=f"answered {status} to GET {how}")
    except NoAnswerError as error:
        return Condition("app", ok=False, detail=str(error))
    return Condition("app", ok=True)


class NoAnswerError(Exception):
    """The app can't be reached, or says nothing that is HTTP; the message is why, in plain words."""


async def open_to(address: AppAddress, within: float) -> None:
    """Open a connection and close it.

    Raises:
        NoAnswerError: nobody takes it within so many seconds.
    """
    async with _connected(address, within):
        pass


async def request(
    address: AppAddress, method: str, path: str, within: float, fields: Mapping[str, str] | None = None
) -> int:
    """The status that the app answers a request without a body with.

    Args:
        address: where it listens.
        method: such as GET.
        path: with its query, in the form in which it goes over the wire.
        within: seconds for the whole of it.
        fields: sent besides Host, User-Agent and Connection; names and values are the caller's to have checked.

    Raises:
        NoAnswerError: there is no such status.
    """
    async with _connected(address, within) as connection:
        return await _ask(connection, address, method, path, fields or {})


class SteadyCheck:
    """A check that one failure does not turn, so that a pod does not flap: down after two in a row, up after one.

    Whoever asks has thresholds of its own (Kubernetes: failureThreshold 3; haproxy: fall 3, rise 2), and these come on
    top. A failure is passed over only where the check before it was good and is not long ago: who asks for the first
    time, or once in an hour, is told how things are.
    """

    def __init__(self, check: Callable[[], Coroutine[None, None, Condition]], remembered: float = _REMEMBERED) -> None:
        """Wrap a check.

        Args:
            check: Called for each check, e.g. `partial(check_app, address, "tcp", 1.0)`.
            remembered: Seconds after a good answer within which a failure may be the first.
        """
        self._check = check
        self._remembered = remembered
        self._good_until = 0.0

    async def __call__(self) -> Condition:
        """The condition; one that is passed over holds, and its detail says what went wrong."""
        condition = await self._check()
        now = time.monotonic()
        if condition.ok:
            self._good_until = now + self._remembered
        elif now < self._good_until:
            self._good_until = 0.0
            return replace(condition, ok=True, detail=f"{condition.detail}, this once")
        return condition


class SharedCheck:
    """A check whose answer is kept for a moment: all who ask meanwhile, or while it runs, get that one."""

    def __init__(self, check: Callable[[], Coroutine[None, None, Condition]], fresh: float = _FRESH) -> None:
        """Wrap a check.

        Args:
            check: Called for each check, e.g. a `SteadyCheck`.
            fresh: Seconds that an answer is kept for.
        """
        self._check = check
        self._fresh = fresh
        self._task: asyncio.Task[Condition] | None = None
        self._stale_at = 0.0

    async def __call__(self) -> Condition:
        """The condition, at most `fresh` seconds old."""
        if self._task is None or (self._task.done() and time.monotonic() >= self._stale_at):
            self._task = asyncio.create_task(self._run())
        # Shielded, because one prober that hangs up must not end the check for the others.
        return await asyncio.shield(self._task)

    async def _run(self) -> Condition:
        try:
            return await self._check()
        finally:
            self._stale_at = time.monotonic() + self._fresh


async def is_closed(address: AppAddress, within: float) -> bool:
    """Whether nobody listens at the address: a connection is refused, or there is no socket at the path.

    Anything else, such as no answer within so many seconds, may be an app that is busy, and is not an end of it.
    """
    with suppress(TimeoutError, OSError, UnicodeError):
        try:
            async with asyncio.timeout(within):
                (await _connect(address)).close()
        except (ConnectionRefusedError, FileNotFoundError):
            return True
    return False


@asynccontextmanager
async def _connected(address: AppAddress, within: float) -> AsyncIterator[socket.socket]:
    """A connection for so many seconds; what goes wrong with it is a NoAnswerError."""
    try:
        async with asyncio.timeout(within):
            with await _connect(address) as connection:
                yield connection
    except TimeoutError:
        raise NoAnswerError(f"timed out after {within:g}s") from None
    except OSError as error:
        raise NoAnswerError(_reason(error, address)) from error
    except UnicodeError:  # from IDNA, before any look-up
        raise NoAnswerError(f"{address.host} is not a host name") from None


async def _connect(address: AppAddress) -> socket.socket:
    """A connection to the first of the app's addresses that takes one."""
    if address.socket:
        return await _connect_to(socket.AF_UNIX, address.socket)
    loop = asyncio.get_running_loop()
    failure = OSError(f"{address.host} has no address")
    for family, _, _, _, target in await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM):
        try:
            return await _connect_to(family, target)
        except OSError as error:
            failure = error
    try:
        raise failure
    finally:
        del failure  # or it is in a cycle with its own traceback


async def _connect_to(family: int, target: str | tuple[object, ...]) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, target)
    except BaseException:
        connection.close()
        raise
    return connection


async def _ask(
    connection: socket.socket, address: AppAddress, method: str, path: str, fields: Mapping[str, str]
) -> int:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, _head(address, method, path, fields))
    answer = b""
    while b"\n" not in answer and len(answer) < _PIECE:
        piece = await loop.sock_recv(connection, _PIECE)
        if not piece:
            raise NoAnswerError("closed the connection without an answer")
        answer += piece
    status_line = _STATUS_LINE.match(answer)
    if status_line is None:
        raise NoAnswerError("answered with something that is not HTTP/1")
    await _drain(connection)
    return int(status_line[1])


def _head(address: AppAddress, method: str, path: str, fields: Mapping[str, str]) -> bytes:
    # Only methods that have a body by their meaning are to say that there is none (RFC 9110, 8.6).
    length = {} if method in ("GET", "HEAD", "DELETE") else {"Content-Length": "0"}
    sent = {"Host": _authority(address), "User-Agent": "tlsproxy", "Connection": "close", **length, **fields}
    lines = (f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()))
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


async def _drain(connection: socket.socket) -> None:
    """Let the app finish: one that is cut off in the middle of its answer logs an error for each probe.

    The verdict stands already, so neither a failure nor an app that ignores `Connection: close` matters.
    """
    loop = asyncio.get_running_loop()
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(_DRAIN):
            for _ in range(_DRAIN_PIECES):
                if not await loop.sock_recv(connection, _PIECE):
                    return


def _authority(address: AppAddress) -> str:
    if address.socket:
        return "localhost"
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


def _reason(error: OSError, address: AppAddress) -> str:
    """An error in plain words: no numbers, no class names."""
    if isinstance(error, socket.gaierror):
        return f"{address.host} does not resolve: {error.strerror}"
    if isinstance(error, FileNotFoundError):
        return f"no socket at {address.socket}"
    # The loops write the address into strerror, so the words come from the number.
    return os.strerror(error.errno).lower() if error.errno else str(error)
