"""What supervisor and workers say to each other; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tlsproxy.chassis.measures import Measure

# ---------------------------------------------------------------------------- to a worker


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is born for: its part of what is served."""

    connections: int
    """Client connections at once, at least 1."""
    app_connections: int
    """Requests that the app is given at once; 0: no limit."""
    ports: Sequence[tuple[str, int]]
    """The variable of each port and how many listening sockets there are for it, in the order of the sockets."""


@dataclass(frozen=True, slots=True)
class Renew:
    """Serve something else from here on."""

    supply: bytes


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a `Telling`."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Let connections that there are at this moment end within so many seconds; go on."""

    within: float


@dataclass(frozen=True, slots=True)
class Drain:
    """Accept no more, let what is under way end, and end."""

    after: float = 0.0
    """Seconds to go on for with the connections that there are, which are let end as at `Leave`."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End at once."""


# ---------------------------------------------------------------------------- to the supervisor


@dataclass(frozen=True, slots=True)
class Serving:
    """The ports are open."""


@dataclass(frozen=True, slots=True)
class Telling:
    """What is and what has been counted."""

    alive: bool
    """Whether deadlines are looked at."""
    status: Mapping[str, object]
    measures: Sequence[Measure]
