"""One careful request to a front: verified certificate, compared body. wrk looks at neither."""

import http.client
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from bench.child import START_DEADLINE, Child, StartError, attempts

TIMEOUT = 20.0


class WrongAnswerError(Exception):
    """A front gave something else than the app's answer; the message says what."""


@dataclass(frozen=True)
class Connection:
    """What a client is given: TLS version, cipher, and whether its second connection resumes a session."""

    version: str
    cipher: str
    resumes: bool


def await_answer(child: Child, port: int, ca: Path) -> float:
    """The moment, of the monotonic clock, of a child's first 200 over a verified connection.

    Raises:
        StartError: the child ended, or START_DEADLINE passed.
        WrongAnswerError: the answer is not the app's.
    """
    context = ssl.create_default_context(cafile=str(ca))
    last: Exception | None = None
    for _ in attempts(child):
        try:
            _fetch(context, port, 1, (), None)
        except (OSError, http.client.HTTPException) as error:
            last = error
        else:
            return time.monotonic()
    raise StartError(f"no answer within {START_DEADLINE:.0f} s: {last!r}\n{child.last_words()}")


def ask(port: int, ca: Path, size: int, headers: tuple[str, ...] = ()) -> Connection:
    """Asks for `size` bytes twice, the second time with the session of the first.

    Args:
        port: the front's HTTPS port on 127.0.0.1.
        ca: PEM file that the front's certificate must verify against.
        size: which answer is asked for, and its length.
        headers: `Name: value`, sent besides Host.

    Raises:
        WrongAnswerError: TLS failed, or status or body are not the app's.
    """
    context = ssl.create_default_context(cafile=str(ca))
    try:
        session = _fetch(context, port, size, headers, None)[1]
        connection, _ = _fetch(context, port, size, headers, session)
    except (OSError, http.client.HTTPException) as error:
        raise WrongAnswerError(f"GET /{size}: {error!r}") from error
    return connection


def _fetch(
    context: ssl.SSLContext, port: int, size: int, headers: tuple[str, ...], session: ssl.SSLSession | None
) -> tuple[Connection, ssl.SSLSession | None]:
    lines = [f"GET /{size} HTTP/1.1", f"Host: localhost:{port}", "Connection: close", *headers, "", ""]
    with (
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=session) as tls,
    ):
        tls.sendall("\r\n".join(lines).encode())
        answer = http.client.HTTPResponse(tls, method="GET")
        answer.begin()
        body = answer.read()
        if answer.status != 200 or body != bytes(size):
            raise WrongAnswerError(f"GET /{size}: status {answer.status} and {len(body)} bytes that are not the app's")
        cipher = tls.cipher()
        connection = Connection(tls.version() or "", cipher[0] if cipher else "", tls.session_reused or False)
        return connection, tls.session
