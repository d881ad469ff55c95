"""Listening sockets: where they listen, and errors that name the way out."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.ports import free_port
from tests.tls.material import unprivileged
from tlsproxy.chassis.listening import PortError, listen, listen_together

VARIABLE = "TLSPROXY_LISTEN_PORT"


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(sock) for sock in listen(host, port, VARIABLE)]


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=pytest.mark.skipif("not has_ipv6()"))])
def test_an_address(host: str) -> None:
    """One socket, bound, listening and not blocking."""
    with listening(host, 0) as [sock]:
        assert sock.getsockname()[0] == host
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        assert not sock.getblocking()
        socket.create_connection(sock.getsockname()[:2]).close()


def test_everywhere() -> None:
    """No host: all addresses, IPv4 and IPv6, each with a socket of its own on the same port."""
    port = free_port()
    with listening("", port) as sockets:
        assert {sock.getsockname()[1] for sock in sockets} == {port}
        assert {sock.family for sock in sockets} == (
            {socket.AF_INET, socket.AF_INET6} if has_ipv6() else {socket.AF_INET}
        )
        for host in ("127.0.0.1", "::1") if has_ipv6() else ("127.0.0.1",):
            socket.create_connection((host, port)).close()


def test_a_name() -> None:
    """A name stands for each of its addresses, once."""
    with listening("localhost", 0) as sockets:
        addresses = [sock.getsockname()[0] for sock in sockets]
        assert set(addresses) <= {"127.0.0.1", "::1"}
        assert len(addresses) == len(set(addresses)) >= 1


def test_a_port_may_be_had_again_at_once() -> None:
    """Connections of the process before, still in TIME_WAIT, are no hindrance."""
    with listening("127.0.0.1", 0) as [sock]:
        port = sock.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            sock.setblocking(True)
            sock.accept()[0].close()
    with listening("127.0.0.1", port):
        pass


def complaint(host: str, port: int) -> str:
    with pytest.raises(PortError) as error:
        listen(host, port, VARIABLE)
    return str(error.value)


def test_a_port_that_is_taken() -> None:
    """The error names variable, port and way out."""
    with listening("127.0.0.1", 0) as [sock]:
        port = sock.getsockname()[1]
        assert complaint("127.0.0.1", port) == (
            f"{VARIABLE}={port}: another process listens there; stop it or choose another port"
        )


def test_nothing_is_left_open() -> None:
    """When one of several addresses can't be had, the others are given back."""
    if not has_ipv6():
        pytest.skip("there is only one address")
    port = free_port()
    with socket.create_server(("::1", port), family=socket.AF_INET6):
        assert "another process" in complaint("", port)
        with listening("127.0.0.1", port):
            pass


def test_an_address_of_another_machine() -> None:
    """TEST-NET-1 is nobody's."""
    assert complaint("192.0.2.1", 8443) == f"{VARIABLE}=8443: 192.0.2.1 is no address of this machine"


@pytest.mark.parametrize("host", ["nobody.invalid", "a..b", "x" * 64 + ".example"])
def test_a_name_that_stands_for_nothing(host: str) -> None:
    """A name that can't be resolved, or is none, is named in the error."""
    assert f"{VARIABLE}=8443: {host} can't be resolved" in complaint(host, 8443)


def test_a_port_below_1024() -> None:
    """Without the right to it, the error says so."""
    first_free = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first_free <= 1:
        pytest.skip("every port is free to all here")
    with unprivileged():
        assert "may not listen below" in complaint("127.0.0.1", min(80, first_free - 1))


def test_together() -> None:
    """Several sockets for each address of one port, among which the kernel shares new connections out."""
    port = free_port()
    groups = listen_together("127.0.0.1", port, VARIABLE, 3)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(sock) for group in groups for sock in group]
        assert [len(group) for group in groups] == [1, 1, 1]
        for _ in range(30):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        taken = []
        for sock in sockets:
            with contextlib.suppress(BlockingIOError):
                while True:
                    stack.enter_context(sock.accept()[0])
                    taken.append(sock)
        assert len(taken) == 30
        assert len(set(taken)) > 1


def test_together_and_alone() -> None:
    """Nobody else may share the port, though it would in the same way; on failure nothing is left open."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        for group in listen_together("127.0.0.1", port, VARIABLE, 2):
            for sock in group:
                stack.enter_context(sock)
        with pytest.raises(PortError, match=f"{VARIABLE}={port}: another process listens there"):
            listen_together("127.0.0.1", port, VARIABLE, 2)
        with pytest.raises(PortError):
            listen("127.0.0.1", port, VARIABLE)
