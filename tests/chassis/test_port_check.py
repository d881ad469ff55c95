"""Ports that can be had and ports that can't, as `check` tells of them."""

import io
import socket

from tests.e2e.ports import free_port
from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.port_check import check_ports
from tlsproxy.chassis.terminal import Terminal


def test_ports() -> None:
    """Each is told by its variable, one that is off not at all; one that can't be had gives the status."""
    said = io.StringIO()
    free = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        wanted = [("A", "127.0.0.1", port), ("B", "", 0), ("C", "", None), ("D", "127.0.0.1", free)]
        assert check_ports(Terminal(said, {}), wanted) is Exit.PORT
    first, second = said.getvalue().splitlines()
    assert first.startswith("[-] ")
    assert f"A={port}" in first
    assert second == f"[+] D={free}: free"
    assert check_ports(Terminal(said, {}), [("D", "127.0.0.1", free)]) is Exit.STOPPED
