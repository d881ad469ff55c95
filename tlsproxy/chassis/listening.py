"""Listening sockets, opened before anything stands on them."""

import errno
import os
import socket
from itertools import chain

# As nginx: what the kernel keeps for us while we are busy; net.core.somaxconn bounds it.
BACKLOG = 4096


class PortError(Exception):
    """A port that can't be had; its text names the port, the reason and the way out."""


def listen(host: str, port: int, variable: str) -> list[socket.socket]:
    """Listen on a port, on each address that the host stands for.

    Args:
        host: an address or a name; empty: all addresses, IPv4 and IPv6.
        port: 1 to 65535, or 0 for any free one.
        variable: which sets the port, for the error.

    Raises:
        PortError: one of the addresses can't be had.
    """
    (sockets,) = listen_together(host, port, variable, 1)
    return sockets


def listen_together(host: str, port: int, variable: str, count: int) -> list[list[socket.socket]]:
    """Listen so many times on a port, which the kernel shares new connections out among (SO_REUSEPORT).

    Args:
        host: as for `listen`; so are the others.
        port: not 0 where count is more than 1.
        variable: which sets the port.
        count: each has a socket for every address.

    Raises:
        PortError: one of the addresses can't be had.
    """
    groups: list[list[socket.socket]] = [[] for _ in range(count)]
    try:
        for family, address in _addresses(host, port):
            if count > 1:
                # Alone first: whoever else shares the port in this way would be joined in silence.
                _bound(family, address, shared=False).close()
            for group in groups:
                group.append(_listen(family, address, shared=count > 1))
    except OSError as error:
        for opened in chain(*groups):
            opened.close()
        raise PortError(f"{variable}={port}: {_plain(error, host)}") from error
    except UnicodeError as error:
        # IDNA, before any look-up.
        raise PortError(f"{variable}={port}: {host} can't be resolved: it is not a host name") from error
    return groups


def _addresses(host: str, port: int) -> list[tuple[int, tuple[str, int]]]:
    if not host:
        everywhere = [(int(socket.AF_INET), ("0.0.0.0", port))]  # noqa: S104 - a sidecar serves its pod's address
        return [*everywhere, (int(socket.AF_INET6), ("::", port))] if _has_ipv6() else everywhere
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((int(family), (str(address[0]), port)) for family, _, _, _, address in found))


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _listen(family: int, address: tuple[str, int], *, shared: bool) -> socket.socket:
    sock = _bound(family, address, shared=shared)
    try:
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _bound(family: int, address: tuple[str, int], *, shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _plain(error: OSError, host: str) -> str:
    """Why, and the way out."""
    if error.errno == errno.EADDRINUSE:
        return "another process listens there; stop it or choose another port"
    if error.errno == errno.EACCES:
        return f"user {os.geteuid()} may not listen below 1024; choose a higher port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine"
    if isinstance(error, socket.gaierror):
        return f"{host} can't be resolved: {error.strerror}"
    return str(error.strerror or error)
