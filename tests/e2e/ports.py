"""Free ports for processes that must be told one."""

import os
import random
import socket
from itertools import count
from pathlib import Path

SHARES = 8
"""Processes of pytest that run tests at once; each takes ports of its own share."""
SHARE = 2000
_number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % SHARES
_turns = count(random.randrange(SHARE))  # noqa: S311  a port is no secret


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on, below the range that the kernel takes for outgoing connections.

    Above that line, a connection of another test may be given the port before the process has bound it. Each is handed
    out once in so many turns, so that nobody else is told of it before it is bound.
    """
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(100):
        port = max(1024, low - SHARES * SHARE) + _number * SHARE + next(_turns) % SHARE
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port found")
