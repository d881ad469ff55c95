"""`tlsproxy health`: asks /readyz, for a HEALTHCHECK in an image that has no curl.

Over a plain socket: http.client bounds each read instead of the whole, and takes its time to load at every probe.
"""

import re
import socket
import sys
from time import monotonic

from tlsproxy.chassis.exits import Exit

WITHIN = 5.0  # seconds; the image's HEALTHCHECK gives 6 for this and the start of the process
_PIECE = 16 * 1024
_MOST = 64 * 1024  # of an answer: whatever goes on and on is no sidecar
_REQUEST = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_ANSWER = re.compile(rb"HTTP/1\.[01] (\d{3})\b.*?\r\n\r\n(.*)", re.DOTALL)
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


def ask_ready(host: str, port: int, within: float = WITHIN, prefix: str = "TLSPROXY_") -> Exit:
    """Ask the admin port of this machine whether the sidecar is ready, and show its answer.

    Args:
        host: where the admin port listens; empty or a wildcard: everywhere, so the loopback address is asked.
        port: of the admin port; 0: it is off.
        within: seconds for the whole answer.
        prefix: of the variables, for the message.

    Returns:
        0 when it is ready. 1 when it is not, when nothing that can be understood answers in time, and when the admin
        port is off; why is said on standard error.
    """
    if not port:
        print(f"the admin port is off ({prefix}ADMIN_PORT=0): there is nothing to ask", file=sys.stderr)
        return Exit.FAILED
    host = _EVERYWHERE.get(host, host)
    try:
        answer = _ANSWER.match(_ask(host, port, monotonic() + within))
    except TimeoutError:
        return _fail(host, port, f"not whole within {within:g}s")
    except OSError as error:
        return _fail(host, port, (error.strerror or str(error)).lower())
    if answer is None:
        return _fail(host, port, "what answers there is not a sidecar")
    print(answer[2].decode(errors="replace"), end="")
    return Exit.STOPPED if answer[1] == b"200" else Exit.FAILED


def _ask(host: str, port: int, deadline: float) -> bytes:
    """Everything that is answered until the other side ends.

    Raises:
        TimeoutError: it has not ended at that monotonic time.
        OSError: there is no connection.
    """
    answer = b""
    with socket.create_connection((host, port), timeout=_left(deadline)) as connection:
        connection.sendall(_REQUEST)
        while len(answer) < _MOST:
            connection.settimeout(_left(deadline))
            piece = connection.recv(_PIECE)
            if not piece:
                break
            answer += piece
    return answer


def _left(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _fail(host: str, port: int, why: str) -> Exit:
    print(f"no answer from {host}:{port}: {why}", file=sys.stderr)
    return Exit.FAILED
