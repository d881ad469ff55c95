"""Free ports for processes that must be told one."""

import random
import socket
from pathlib import Path


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on, below the range that the kernel takes for outgoing connections.

    Above that line, a connection of another test may be given the port before the process has bound it.
    """
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(100):
        port = random.randrange(max(1024, low - 16000), low)  # noqa: S311  a port is no secret
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port found")
