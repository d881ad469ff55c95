"""What the demo asks over HTTP, and waits for."""

import http.client
import json
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from tlsproxy.demo.frame import DemoError

T = TypeVar("T")

WITHIN = 10.0  # seconds; the longest takes three
PAUSE = 0.02  # seconds between two looks


def get(port: int, target: str) -> tuple[int, str]:
    """Status and body; 0 where nobody answers."""
    try:
        return _asked(port, "GET", target)
    except (OSError, http.client.HTTPException):
        return 0, ""


def put(port: int, target: str, document: bytes) -> None:
    """Replace a document.

    Raises:
        DemoError: the server does not take it.
    """
    try:
        status, _ = _asked(port, "PUT", target, document)
    except (OSError, http.client.HTTPException) as error:
        raise DemoError(f"PUT {target}: {error}") from error
    if status != 204:
        raise DemoError(f"PUT {target}: status {status}")


def _asked(port: int, method: str, target: str, document: bytes | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN)
    try:
        connection.request(method, target, document)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def history(admin_port: int) -> tuple[Mapping[str, str], ...]:
    """What became of the versions, as /status tells it, the newest first; nothing where it does not answer."""
    status, body = get(admin_port, "/status")
    return tuple(json.loads(body)["history"]) if status == 200 else ()


def awaited(look: Callable[[], T | None], what: str) -> T:
    """What a look gives once it gives something true.

    Raises:
        DemoError: it does not within WITHIN.
    """
    deadline = time.monotonic() + WITHIN
    while not (found := look()):
        if time.monotonic() > deadline:
            raise DemoError(f"not within {WITHIN:g} s: {what}")
        time.sleep(PAUSE)
    return found
