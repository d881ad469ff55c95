"""The limit of open files (RLIMIT_NOFILE): raised to what connections need, and never lowered."""

import resource
from dataclasses import dataclass

PER_CONNECTION = 2
"""A client's, and the app's for it."""
RESERVE = 128
"""For everything else: 64 connections to the admin port, sockets that listen, files, watches, look-ups of names."""


@dataclass(frozen=True, slots=True)
class Room:
    """What there are descriptors for."""

    connections: int
    """Client connections at once; at least 1, never more than asked for."""
    shortage: str = ""
    """Why they are fewer than asked for, and the way out; empty when they are not."""


def make_room(connections: int, processes: int = 1) -> Room:
    """Raise the limit of open files to what that many client connections at once need.

    Without the right to raise the hard limit the soft one is raised up to it.

    Args:
        connections: of all processes together.
        processes: how many share them evenly; each has the limit of this one, from which they are forked.
    """
    needed = PER_CONNECTION * -(-connections // processes) + RESERVE
    limit = _raise_to(needed)
    fitting = min(connections, processes * max(1, (limit - RESERVE) // PER_CONNECTION))
    if fitting == connections:
        return Room(connections)
    return Room(
        fitting,
        f"TLSPROXY_MAX_CONNECTIONS={connections} needs {needed} open files, and {limit} are allowed: "
        f"{fitting} connections are served at once, and more wait; "
        f"allow more (ulimit -n {needed}, LimitNOFILE={needed}, --ulimit nofile={needed}), "
        f"or set TLSPROXY_MAX_CONNECTIONS to {fitting}",
    )


def _raise_to(needed: int) -> int:
    """The soft limit, raised as far as may be, but not above what is needed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _reaches(soft, needed):
        return needed
    if _reaches(hard, needed):
        return needed if _set(needed, hard) else soft
    if _set(needed, needed):
        return needed
    return hard if _set(hard, hard) else soft


def _reaches(limit: int, needed: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= needed


def _set(soft: int, hard: int) -> bool:
    """Whether this user, and the kernel (fs.nr_open), allow it."""
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    except (ValueError, OSError):
        return False
    return True
