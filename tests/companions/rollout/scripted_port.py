"""An app's port that answers as a script says: an answer for each connection, the last one again and again."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass(slots=True)
class Port:
    """Where it is, and what it was asked."""

    number: int
    asked: list[bytes] = field(default_factory=list)


@contextmanager
def port(answers: Sequence[bytes]) -> Iterator[Port]:
    """A port on 127.0.0.1; an answer of nothing closes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen = Port(listener.getsockname()[1])
        thread = threading.Thread(target=_serve, args=(listener, seen, answers), daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            # Wakes an accept() that nobody came for.
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def _serve(listener: socket.socket, seen: Port, answers: Sequence[bytes]) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                seen.asked.append(connection.recv(4096))
                connection.sendall(answers[min(len(seen.asked), len(answers)) - 1])


def status(number: int) -> bytes:
    """A whole answer with that status."""
    return b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % number


def closed_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number
