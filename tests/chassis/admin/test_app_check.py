"""What readiness asks of the app, on real sockets."""

import asyncio
import gc
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
import uvloop

from tlsproxy.chassis.admin.app_check import SharedCheck, SteadyCheck, check_app, is_closed, request
from tlsproxy.chassis.admin.health import Condition
from tlsproxy.chassis.app_address import AppAddress

AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]
Behaviour: TypeAlias = Callable[[socket.socket], None]


@contextmanager
def app(behave: Behaviour, path: Path | None = None) -> Iterator[AppAddress]:
    """An app that takes one connection and does as it is told with it."""
    listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
    listener.bind(str(path) if path else ("127.0.0.1", 0))
    listener.listen()

    def serve() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            behave(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield AppAddress("", 0, str(path)) if path else AppAddress("127.0.0.1", listener.getsockname()[1])
    finally:
        # Wakes an accept() that nobody came for.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def answer(text: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(text)

    return behave


def until_closed(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def check(request: pytest.FixtureRequest) -> Callable[..., Condition]:
    """check_app on each of the loops, with a generous deadline."""

    def run(address: AppAddress, how: str, within: float = 5.0) -> Condition:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(check_app(address, how, within))

    return run


def test_a_check_that_fails_leaves_no_garbage(check: Callable[..., Condition]) -> None:
    """Its error goes by itself: an app may be away for hours, and the collector comes round seldom."""

    def refusals() -> int:
        return sum(type(thing) is ConnectionRefusedError for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = refusals()
        assert not check(AppAddress("127.0.0.1", closed_port()), "tcp").ok
        assert refusals() == before
    finally:
        gc.enable()


def test_tcp(check: Callable[..., Condition]) -> None:
    """An app that takes the connection is there."""
    with app(until_closed) as address:
        assert check(address, "tcp") == Condition("app", ok=True)


def test_refused(check: Callable[..., Condition]) -> None:
    """A closed port is `connection refused`, whatever words the loop has for it."""
    condition = check(AppAddress("127.0.0.1", closed_port()), "tcp")
    assert condition == Condition("app", ok=False, detail="connection refused")


class Names(asyncio.SelectorEventLoop):
    """A loop that knows one name: `legacy` is ::1 and 127.0.0.1, as localhost is on many machines."""

    async def getaddrinfo(self, host: object, port: object, **_: object) -> list[AddressInfo]:  # type: ignore[override]  # the rest does not matter here
        assert isinstance(port, int)
        if host != "legacy":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)),
        ]


def test_name_with_two_addresses() -> None:
    """An app at one address of its name is found; one that listens at none of them is refused, plainly."""
    with asyncio.Runner(loop_factory=Names) as runner:
        with app(until_closed) as address:
            assert runner.run(check_app(AppAddress("legacy", address.port), "tcp", 5)).ok
        condition = runner.run(check_app(AppAddress("legacy", closed_port()), "tcp", 5))
    assert condition == Condition("app", ok=False, detail="connection refused")


def test_name_that_does_not_resolve() -> None:
    """A name without an address is named as the trouble."""
    with asyncio.Runner(loop_factory=Names) as runner:
        condition = runner.run(check_app(AppAddress("legaci", 80), "tcp", 5))
    assert condition.detail == "legaci does not resolve: Name or service not known"


def test_name_that_is_none(check: Callable[..., Condition]) -> None:
    """What cannot be a host name is a failed condition, not an error."""
    condition = check(AppAddress("legacy..local", 80), "tcp")
    assert condition == Condition("app", ok=False, detail="legacy..local is not a host name")


def test_unix_socket(check: Callable[..., Condition], tmp_path: Path) -> None:
    """A unix socket is asked in place of host and port."""
    with app(answer(b"HTTP/1.1 204 No Content\r\n\r\n"), tmp_path / "app.sock") as address:
        assert check(address, "/healthz").ok


def test_request_of_any_kind() -> None:
    """A request with a method and fields of its own gives the status, whatever it is, and says that it has no body."""
    seen = []

    def behave(connection: socket.socket) -> None:
        seen.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 503 X\r\n\r\n")

    with app(behave) as address:
        assert asyncio.run(request(address, "POST", "/reload", 5, {"Release": "v7"})) == 503
    assert seen[0].startswith(b"POST /reload HTTP/1.1\r\n")
    assert seen[0].endswith(b"\r\nContent-Length: 0\r\nRelease: v7\r\n\r\n")


def test_unix_socket_missing(check: Callable[..., Condition], tmp_path: Path) -> None:
    """A path where no socket lies is named as such."""
    path = str(tmp_path / "none.sock")
    assert check(AppAddress("", 0, path), "tcp") == Condition("app", ok=False, detail=f"no socket at {path}")


def test_off() -> None:
    """Nothing is asked when the check is off."""
    assert asyncio.run(check_app(AppAddress("127.0.0.1", closed_port()), "off", 1)).ok


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ""),
        (b"HTTP/1.0 302 Found\nLocation: /login\n\n", ""),
        (b"HTTP/1.1 204\r\n\r\n", ""),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "answered 503 to GET /healthz?full=1"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "answered 404 to GET /healthz?full=1"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "answered with something that is not HTTP/1"),
        (b"x" * 20000, "answered with something that is not HTTP/1"),
        (b"", "closed the connection without an answer"),
    ],
)
def test_path(check: Callable[..., Condition], text: bytes, detail: str) -> None:
    """A path is good with any status below 400; anything else says what the app did."""
    with app(answer(text)) as address:
        assert check(address, "/healthz?full=1") == Condition("app", ok=not detail, detail=detail)


def test_request() -> None:
    """The app gets a plain request for the path, with itself as the host."""
    seen = []

    def behave(connection: socket.socket) -> None:
        seen.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    with app(behave) as address:
        assert asyncio.run(check_app(address, "/healthz", 5)).ok
    head = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{address.port}\r\n"
    assert seen[0].startswith(head.encode())
    assert b"Content-Length" not in seen[0]
    assert b"Connection: close\r\n" in seen[0]


def test_answer_is_read_to_its_end() -> None:
    """An app is not cut off in the middle of its answer."""
    trouble: list[OSError] = []

    def behave(connection: socket.socket) -> None:
        # A small buffer, so that an unread answer is still on its way when the connection is closed.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.recv(4096)
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            connection.sendall(b"x" * 200_000)
        except OSError as error:
            trouble.append(error)

    with app(behave) as address:
        assert asyncio.run(check_app(address, "/healthz", 5)).ok
    assert not trouble


def test_app_that_keeps_the_connection_open() -> None:
    """The status decides, even if the app ignores `Connection: close`."""

    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        until_closed(connection)

    with app(behave) as address:
        assert asyncio.run(check_app(address, "/healthz", 5)).ok


def test_silent_app_times_out(check: Callable[..., Condition]) -> None:
    """An app that says nothing is given up on at the deadline, and the detail names it."""
    with app(until_closed) as address:
        condition = check(address, "/healthz", 0.05)
    assert condition == Condition("app", ok=False, detail="timed out after 0.05s")


def test_descriptors_are_given_back() -> None:
    """No check leaves a socket behind, whatever came of it."""

    async def go() -> int:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  a count is all that is wanted
        await check_app(AppAddress("127.0.0.1", closed_port()), "tcp", 5)
        with app(until_closed) as address:
            await check_app(address, "/healthz", 0.05)
        with app(answer(b"")) as address:
            await check_app(address, "/healthz", 5)
        return len(os.listdir("/proc/self/fd")) - before  # noqa: PTH208

    assert asyncio.run(go()) == 0


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_closed(loop_factory: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path) -> None:
    """A port is closed when it refuses or its socket is gone; a name without an address tells nothing of the app."""
    with asyncio.Runner(loop_factory=loop_factory) as runner, app(until_closed) as address:
        for asked, closed in [
            (address, False),
            (AppAddress("127.0.0.1", closed_port()), True),
            (AppAddress("", 0, str(tmp_path / "none.sock")), True),
            (AppAddress("legacy..local", 80), False),
        ]:
            assert runner.run(is_closed(asked, 5)) is closed, asked


def test_busy_is_not_closed() -> None:
    """An app whose backlog is full does not answer, and has not ended."""
    with socket.socket() as listener, socket.socket() as queued:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        queued.connect(listener.getsockname())
        assert not asyncio.run(is_closed(AppAddress(*listener.getsockname()), 0.05))


def steady(answers: str, remembered: float = 60) -> str:
    """What a steady check makes of good (+) and bad (-) answers in turn."""
    left = iter(answers)

    async def check() -> Condition:
        good = next(left) == "+"
        return Condition("app", good, "" if good else "connection refused")

    async def go() -> str:
        check_steadily = SteadyCheck(check, remembered)
        return "".join(["+" if (await check_steadily()).ok else "-" for _ in answers])

    return asyncio.run(go())


@pytest.mark.parametrize(
    ("answers", "seen"),
    [
        ("---", "---"),  # nothing was good before
        ("+-+-+", "+++++"),
        ("+--+", "++-+"),
        ("-+-", "-++"),
        ("+----", "++---"),
    ],
)
def test_one_failure_turns_nothing(answers: str, seen: str) -> None:
    """Down after two failures in a row, up after one good answer."""
    assert steady(answers) == seen


def test_long_ago_does_not_count() -> None:
    """A failure is not passed over for a good answer that is long past."""
    assert steady("+-", remembered=0) == "+-"


def test_what_is_passed_over_is_shown() -> None:
    """Whoever looks sees what went wrong, though the condition holds."""

    async def go() -> None:
        answers = iter([Condition("app", ok=True), Condition("app", ok=False, detail="connection refused")])

        async def check() -> Condition:
            return next(answers)

        check_steadily = SteadyCheck(check)
        await check_steadily()
        assert str(await check_steadily()) == "[+]app: connection refused, this once"

    asyncio.run(go())


class Counted:
    """A check that counts its runs and ends when it is told to."""

    def __init__(self) -> None:
        self.runs = 0
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self) -> Condition:
        self.runs += 1
        self.started.set()
        await self.go_on.wait()
        return Condition("app", ok=True, detail=str(self.runs))


def test_probes_at_once_share_one_check() -> None:
    """Those who ask while a check runs wait for its answer."""

    async def go() -> None:
        counted = Counted()
        shared = SharedCheck(counted)
        probes = [asyncio.create_task(shared()) for _ in range(5)]
        await counted.started.wait()
        counted.go_on.set()
        assert {condition.detail for condition in await asyncio.gather(*probes)} == {"1"}
        assert (await shared()).detail == "1"

    asyncio.run(go())


def test_answer_goes_stale() -> None:
    """Once an answer is older than it may be, the app is asked again."""

    async def go() -> None:
        counted = Counted()
        counted.go_on.set()
        shared = SharedCheck(counted, fresh=0)
        assert [(await shared()).detail for _ in range(3)] == ["1", "2", "3"]

    asyncio.run(go())


def test_probe_that_leaves() -> None:
    """A prober that hangs up does not end the check for the others."""

    async def go() -> None:
        counted = Counted()
        shared = SharedCheck(counted)
        leaves, stays = asyncio.create_task(shared()), asyncio.create_task(shared())
        await counted.started.wait()
        leaves.cancel()
        await asyncio.wait([leaves])
        counted.go_on.set()
        assert (await stays).ok
        assert counted.runs == 1

    asyncio.run(go())
