"""1 GiB in one body, down and up, through a front that was just started: CPU time and peak memory."""

import http.client
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from bench import proc
from bench.fronts import Running

Direction = Literal["down", "up"]
DIRECTIONS: tuple[Direction, ...] = ("down", "up")
SIZE = 1024**3
PIECE = bytes(256 * 1024)
TIMEOUT = 60.0


class TransferError(Exception):
    """A body that did not arrive whole; the message says how far it came."""


@dataclass(frozen=True)
class Transfer:
    """What 1 GiB cost a front.

    Attributes:
        front: the front's label.
        direction: towards the client, or towards the app.
        seconds: for the whole exchange; the client shares the load's core with the app.
        cpu_seconds: of the front's processes.
        before: memory before the exchange; bytes resident.
        peak: the highest resident memory since the front was started, in bytes.
    """

    front: str
    direction: Direction
    seconds: float
    cpu_seconds: float
    before: int
    peak: int


def run(running: Running, direction: Direction) -> Transfer:
    """Sends or fetches the body; the front's app must be `plain_app`.

    Raises:
        TransferError: it did not arrive whole.
    """
    before, cpu, began = (
        proc.memory(running.pid),
        proc.cpu_seconds(running.pid),
        time.monotonic(),
    )
    try:
        arrived = _fetch(running.port) if direction == "down" else _send(running.port)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise TransferError(f"1 GiB {direction}: {error!r}") from error
    if arrived != SIZE:
        raise TransferError(f"1 GiB {direction}: {arrived} of {SIZE} bytes arrived")
    return Transfer(
        front=running.front.label,
        direction=direction,
        seconds=time.monotonic() - began,
        cpu_seconds=proc.cpu_seconds(running.pid) - cpu,
        before=before.resident,
        peak=proc.memory(running.pid).peak,
    )


def _fetch(port: int) -> int:
    connection = _connect(port)
    connection.request("GET", f"/{SIZE}")
    answer = connection.getresponse()
    buffer = bytearray(len(PIECE))
    arrived = 0
    while count := answer.readinto(buffer):
        arrived += count
    connection.close()
    return arrived


def _send(port: int) -> int:
    """How many bytes the app says have arrived."""
    connection = _connect(port)
    headers = {"Content-Length": str(SIZE), "Content-Type": "application/octet-stream"}
    connection.request("POST", "/upload", body=_pieces(), headers=headers)
    arrived = int(connection.getresponse().read())
    connection.close()
    return arrived


def _pieces() -> Iterator[bytes]:
    for _ in range(SIZE // len(PIECE)):
        yield PIECE


def _connect(port: int) -> http.client.HTTPSConnection:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT, context=context)
