"""The bounds within which a request is served: small values handed down, never reached for."""

from dataclasses import dataclass
from typing import Final

LENGTH_DIGITS: Final = 18
"""Of a Content-Length: what every reader's signed 64 bits hold, whatever is added to it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes and counts; 0 means no limit where it is allowed."""

    head: int = 32 * 1024
    """Request line and fields together (nginx: large_client_header_buffers, 4 of 8 KiB); never 0."""
    body: int = 0
    """A request's body."""
    connections: int = 10_000
    """Client connections at once, over all ports for clients (nginx: worker_connections); never 0."""
    app_connections: int = 0
    """Requests that the app is given at once."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. Each is an idle or a phase's bound; none bounds a whole transfer."""

    head: float = 10.0
    """From the first byte of a request head to its end."""
    body: float = 60.0
    """Between two pieces of a request body, and for a client that does not read (nginx: client_body_timeout)."""
    keepalive: float = 75.0
    """An idle client connection (nginx: keepalive_timeout)."""
    connect: float = 5.0
    """One attempt to connect to the app."""
    app_wait: float = 3.0
    """How long a request is held while the app refuses connections; 0 answers at once."""
    response: float = 60.0
    """Until the app's response head, and between two pieces of its body (nginx: proxy_read_timeout)."""
    tunnel: float = 3600.0
    """A tunnel with no byte either way (haproxy: timeout tunnel); 0: none."""
    app_keepalive: float = 30.0
    """An idle connection to the app."""
