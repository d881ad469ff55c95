"""As many client connections as there are places: who comes next waits unanswered, and nobody is lost."""

import contextlib
import os
import resource
import select
import shlex
import signal
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port
from tests.e2e.raw_client import RawClient, TlsClient, get
from tests.e2e.scripted_app import OK, AppConnection, ScriptedApp
from tests.e2e.sidecar_process import Sidecar, command

PLACES = 3
WITHOUT_UVLOOP = "import sys; sys.modules['uvloop'] = None; from tlsproxy.cli import main; sys.exit(main(['run']))"


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> str:
    """The event loop of the process."""
    return str(request.param)


def start_limited(launch: Launch, app: ScriptedApp, loop: str) -> Sidecar:
    """Start a sidecar with few places; the caller stops it."""
    with pytest.MonkeyPatch.context() as environment:
        if loop == "asyncio":
            environment.setenv("TLSPROXY_TEST_COMMAND", shlex.join([sys.executable, "-c", WITHOUT_UVLOOP]))
        return launch(APP_PORT=app.port, MAX_CONNECTIONS=PLACES, REDIRECT_PORT=free_port())


@pytest.fixture(scope="module")
def module_limited(launch: Launch, session_app: ScriptedApp, loop: str) -> Iterator[Sidecar]:
    with start_limited(launch, session_app, loop) as process:
        process.wait_for_stderr(f", {loop}")
        yield process


@pytest.fixture
def limited(module_limited: Sidecar, app: ScriptedApp) -> Sidecar:
    """A sidecar with few places, all of them free, and with each of the loops; not to be stopped."""
    wait_until(lambda: module_limited.metrics().value("tlsproxy_connections") == 0, "every place is free")
    return module_limited


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    """Where the test's clients are closed."""
    with ExitStack() as stack:
        yield stack


def open_connections(process: Sidecar) -> float:
    """Client connections that have been accepted, as the metrics tell."""
    metrics = process.metrics()
    return metrics.value("tlsproxy_connections") - metrics.value("tlsproxy_connections", state="waiting")


def waiting(process: Sidecar) -> float:
    """Client connections in the backlog, as the metrics tell."""
    return process.metrics().value("tlsproxy_connections", state="waiting")


def fill(process: Sidecar, clients: ExitStack) -> list[TlsClient]:
    """One client at each place, idle."""
    return [clients.enter_context(process.connect()) for _ in range(PLACES)]


def knock(process: Sidecar, clients: ExitStack) -> TlsClient:
    """A client that has sent its ClientHello."""
    client = clients.enter_context(process.connect(handshake=False))
    with contextlib.suppress(ssl.SSLWantReadError):
        client.tls.do_handshake()
    client.socket.sendall(client.outgoing.read())
    return client


def is_unanswered(client: RawClient) -> bool:
    """Whether nothing comes for a while, not even an end."""
    return not select.select([client.socket], [], [], 0.2)[0]


def cpu_seconds(pid: int) -> float:
    """What the process has used (proc(5), `utime` and `stime`)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------------------- who comes next


def test_who_comes_next_waits(limited: Sidecar, clients: ExitStack) -> None:
    """It is connected and gets no answer; it is served when another ends, and that it waited is told."""
    first, *others = fill(limited, clients)
    next_one = knock(limited, clients)
    wait_until(lambda: waiting(limited) == 1, "one in the backlog")
    assert is_unanswered(next_one)
    assert open_connections(limited) == PLACES
    for client in others:
        assert client.get().status == 200
    pauses = limited.metrics().value("tlsproxy_accept_pauses_total")
    assert pauses > 0
    first.close()
    next_one.handshake()
    assert next_one.get().status == 200
    assert waiting(limited) == 0
    assert limited.metrics().value("tlsproxy_accept_pauses_total") == pauses + 1
    (line,) = limited.told("(TLSPROXY_MAX_CONNECTIONS)")
    assert line["level"] == "warning"


def test_all_ports_share_the_places(limited: Sidecar, clients: ExitStack) -> None:
    """A redirect waits for a place as well, and takes one."""
    first, *_ = fill(limited, clients)
    redirected = clients.enter_context(RawClient(int(limited.settings["REDIRECT_PORT"])))
    redirected.send(get())
    assert is_unanswered(redirected)
    first.close()
    assert redirected.read_response().status == 301
    next_one = knock(limited, clients)
    assert is_unanswered(next_one)
    redirected.close()
    next_one.handshake()


def test_waiting_costs_nothing(limited: Sidecar, clients: ExitStack) -> None:
    """While connections wait the process rests, and its admin port answers."""
    fill(limited, clients)
    for _ in range(20):
        knock(limited, clients)
    wait_until(lambda: waiting(limited) == 20, "all others in the backlog")
    assert limited.ask_admin("/livez").status == 200
    began, spent = time.monotonic(), cpu_seconds(limited.pid)
    time.sleep(0.5)
    assert cpu_seconds(limited.pid) - spent < 0.1 * (time.monotonic() - began)


def test_nobody_is_lost(limited: Sidecar) -> None:
    """Two hundred connections, many more at once than there are places: each is answered, and leaves its place."""
    pauses = limited.metrics().value("tlsproxy_accept_pauses_total")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: limited.get().status, range(200)))
    assert answers == [200] * 200
    wait_until(lambda: open_connections(limited) == 0, "no connection")
    assert limited.metrics().value("tlsproxy_accept_pauses_total") > pauses + 1


def test_every_end_leaves_its_place(limited: Sidecar, clients: ExitStack) -> None:
    """However a connection ends: without a word, within the handshake, refused, reset, by the redirect port."""
    redirect_port = int(limited.settings["REDIRECT_PORT"])
    for _ in range(PLACES):
        limited.connect_plain().close()
        with limited.connect_plain() as garbage:
            garbage.send(b"\x16\x03\x01\x00\x05hello")
            garbage.read_to_end()
        with limited.connect_plain() as plain:
            plain.send(get())
            plain.read_to_end()
        knock(limited, clients).abort()
        limited.connect().abort()
        with RawClient(redirect_port) as redirected:
            redirected.get()
    fill(limited, clients)
    knock(limited, clients)
    wait_until(lambda: waiting(limited) == 1, "one in the backlog")


def test_draining_at_the_limit(launch: Launch, loop: str, clients: ExitStack, app: ScriptedApp) -> None:
    """What is under way is finished, who waits is turned away, and the process ends in order."""
    answered = threading.Event()

    def play(connection: AppConnection) -> None:
        connection.read_request()
        answered.wait(8)
        connection.send(OK)

    app.script(play)
    process = clients.enter_context(start_limited(launch, app, loop))
    first, *_ = fill(process, clients)
    first.send(get())
    app.wait_for_requests(1)
    next_one = knock(process, clients)
    wait_until(lambda: waiting(process) == 1, "one in the backlog")
    process.signal(signal.SIGTERM)
    with pytest.raises(ConnectionError):
        next_one.handshake()
    answered.set()
    assert first.read_response().status == 200
    assert process.wait() == 0


# ---------------------------------------------------------------------------- open files


@pytest.fixture
def few_open_files(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let what is started have no more than so many open files."""
    limit = 160
    run = ["sh", "-c", f"ulimit -n {limit}; exec {shlex.join(command())}"]
    monkeypatch.setenv("TLSPROXY_TEST_COMMAND", shlex.join(run))
    return limit


def test_open_files_are_allowed_for(sidecar: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    """The soft limit is raised to what the connections need."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setenv(
        "TLSPROXY_TEST_COMMAND", shlex.join(["sh", "-c", f"ulimit -Sn 100; exec {shlex.join(command())}"])
    )
    process = sidecar(MAX_CONNECTIONS=200)
    process.wait_for_stderr("serving HTTPS")
    assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (528, hard)
    assert not process.told("open files")


def test_too_few_open_files(few_open_files: int, sidecar: Launch, app: ScriptedApp) -> None:
    """As many are served at once as there are open files for, requests under way included; the start says so."""
    process = sidecar(MAX_CONNECTIONS=10**11)
    process.wait_for_stderr("serving HTTPS")
    (line,) = process.told("open files")
    assert line["level"] == "warning"
    assert f"{few_open_files} are allowed: 16 connections are served at once" in str(line["message"])
    everyone_is_here = threading.Event()

    def play(connection: AppConnection) -> None:
        connection.read_request()
        everyone_is_here.wait(8)
        connection.send(OK)

    app.script(play)
    with ThreadPoolExecutor(24) as pool:
        answers = pool.map(lambda _: process.get().status, range(24))
        app.wait_for_requests(16)
        wait_until(lambda: waiting(process) == 8, "the others in the backlog")
        everyone_is_here.set()
        assert list(answers) == [200] * 24
    assert process.metrics().value("tlsproxy_accept_pauses_total") > 0
