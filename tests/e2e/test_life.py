"""The life of a process: it says what it serves, drains when told to stop, and heeds its signals."""

import contextlib
import re
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port
from tests.e2e.raw_client import RawClient, get
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

LONG = "30s"
AT_ONCE = 2.5
"""Seconds within which a process ends that waits for nothing."""


class Gate:
    """A script that answers each request in two halves, the second one when the test lets it."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def __call__(self, connection: AppConnection) -> None:
        while connection.read_request():
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
            if not self.open.wait(8):
                return
            connection.send(b"after")


@pytest.fixture
def gate(app: ScriptedApp) -> Iterator[Gate]:
    """The app answers by halves."""
    gate = Gate()
    app.script(gate)
    yield gate
    gate.open.set()


def is_accepting(process: Sidecar) -> bool:
    """Whether new connections are taken."""
    try:
        process.connect_plain().close()
    except OSError:
        return False
    return True


def stop_accepting(process: Sidecar) -> None:
    """Wait until none are."""
    wait_until(lambda: not is_accepting(process), "the port is closed")


def assert_ends(process: Sidecar, within: float = AT_ONCE) -> None:
    """It ends with status 0 in so many seconds."""
    began = time.monotonic()
    assert process.wait() == 0
    assert time.monotonic() - began < within, process.stderr()


# The start


def test_the_start_line_says_what_is_served(sidecar: Launch, app: ScriptedApp) -> None:
    """One line tells the port, the app, the certificate with names and expiry, and the other ports."""
    redirects = free_port()
    process = sidecar(REDIRECT_PORT=redirects)
    (line,) = wait_until(lambda: process.told("serving HTTPS on"), "the start line")
    message = str(line["message"])
    assert line["level"] == "info"
    post_quantum = "with" if ssl.OPENSSL_VERSION_INFO >= (3, 5) else "without"
    for part in (
        f"serving HTTPS on 127.0.0.1:{process.port} ",
        f"127.0.0.1:{app.port} ",
        "certificate tls ",
        "localhost, 127.0.0.1",
        f"admin on port {process.admin_port}",
        f"redirects on port {redirects}",
        f"{ssl.OPENSSL_VERSION} {post_quantum} post-quantum key exchange",
    ):
        assert part in message
    assert re.search(r"valid until \d{4}-\d\d-\d\d", message)
    assert str(process.certificate()["serial"]) in message


def test_the_start_does_not_wait_for_the_app(sidecar: Launch) -> None:
    """Without an app the process starts, listens and has answered /startupz: a pod can't deadlock on it."""
    process = sidecar(APP_PORT=free_port(), APP_CHECK="tcp", APP_WAIT="0")
    assert process.ask_admin("/startupz").status == 200
    assert process.get().status == 502


# The end


def test_after_sigterm_connections_are_still_taken_for_a_while(sidecar: Launch, app: ScriptedApp) -> None:
    """For DRAIN_DELAY /readyz says that it is draining while new connections are served; then they are not."""
    process = sidecar(DRAIN_DELAY="1s")
    began = time.monotonic()
    process.signal(signal.SIGTERM)
    wait_until(lambda: process.ask_admin("/readyz").status == 503, "not ready")
    assert b"[-]serving: draining\n" in process.ask_admin("/readyz").body
    assert process.ask_admin("/livez").status == 200
    assert process.get("/late").status == 200
    stop_accepting(process)
    assert time.monotonic() - began > 0.9
    assert_ends(process)
    assert process.lines()[-1]["target"] == "/late"


def test_a_request_under_way_is_finished(sidecar: Launch, gate: Gate) -> None:
    """A response that has begun comes whole, and is the last one of its connection."""
    process = sidecar(DRAIN_TIMEOUT=LONG)
    with process.connect() as client:
        client.send(get())
        answer = client.read_head()
        process.signal(signal.SIGTERM)
        stop_accepting(process)
        gate.open.set()
        assert client.read_body(answer).body == b"firstafter"
        assert client.read_to_end() == b""
        assert client.ended == "close_notify"
        assert_ends(process)


def test_a_request_that_comes_while_draining_is_answered(sidecar: Launch, app: ScriptedApp) -> None:
    """What a client sends on an open connection during DRAIN_DELAY is served as ever."""
    process = sidecar(DRAIN_DELAY="1s")
    with process.connect() as client:
        client.get()
        process.signal(signal.SIGTERM)
        wait_until(lambda: process.told("SIGTERM: draining"), "the signal")
        assert client.get().status == 200
        assert client.read_to_end() == b""
        assert client.ended == "close_notify"


def test_an_answer_while_draining_says_that_it_is_the_last(sidecar: Launch, app: ScriptedApp) -> None:
    """A response whose head goes out after the port was closed has Connection: close."""
    go = threading.Event()

    def script(connection: AppConnection) -> None:
        while connection.read_request():
            go.wait(8)
            connection.send(response(b"whole"))

    app.script(script)
    process = sidecar()
    with process.connect() as client:
        client.send(get())
        app.wait_for_requests(1)
        process.signal(signal.SIGTERM)
        stop_accepting(process)
        go.set()
        answer = client.read_response()
        assert (answer.status, answer.body, answer.get(b"Connection")) == (200, b"whole", b"close")
        assert_ends(process)


def test_idle_connections_are_closed(sidecar: Launch, app: ScriptedApp) -> None:
    """Connections without a request, unused or used, are closed properly when a second old, not at DRAIN_TIMEOUT."""
    process = sidecar()
    with process.connect() as unused, process.connect() as used:
        used.get()
        process.signal(signal.SIGTERM)
        for client in (unused, used):
            assert client.read_to_end() == b""
            assert client.ended == "close_notify"
        assert_ends(process)


def test_what_takes_too_long_is_cut(sidecar: Launch, gate: Gate) -> None:
    """A request that is not over DRAIN_TIMEOUT after the port was closed is cut, visibly, and the status is 0."""
    process = sidecar(DRAIN_TIMEOUT="500ms")
    with process.connect() as client:
        client.send(get())
        client.read_head()
        began = time.monotonic()
        process.signal(signal.SIGTERM)
        assert client.read_to_end() == b"first"
        assert 0.4 < time.monotonic() - began < 3
        assert client.ended != "close_notify"
        assert_ends(process)


def test_who_has_no_answer_yet_is_told(sidecar: Launch, app: ScriptedApp) -> None:
    """A request that the app has not begun to answer at DRAIN_TIMEOUT gets a 503 instead of a bare end."""
    app.script(lambda connection: connection.read_request() and connection.wait_closed())
    process = sidecar(DRAIN_TIMEOUT="500ms")
    with process.connect() as client:
        client.send(get("/waiting"))
        app.wait_for_requests(1)
        process.signal(signal.SIGTERM)
        answer = client.read_response()
        assert (answer.status, answer.get(b"Connection")) == (503, b"close")
        assert client.read_to_end() == b""
        assert_ends(process)
    assert process.wait_for_line(target="/waiting")["reason"] == "draining"


def test_sigint_skips_the_delay(sidecar: Launch, app: ScriptedApp) -> None:
    """A person at a terminal does not wait for DRAIN_DELAY."""
    process = sidecar(DRAIN_DELAY=LONG)
    process.signal(signal.SIGINT)
    assert_ends(process)
    assert process.told("SIGINT: draining")


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_at_once(sidecar: Launch, gate: Gate, first: signal.Signals) -> None:
    """Neither DRAIN_DELAY nor a request under way outlasts a second signal; the status is 0 all the same."""
    process = sidecar(DRAIN_DELAY=LONG, DRAIN_TIMEOUT=LONG)
    with process.connect() as client:
        client.send(get())
        client.read_head()
        process.signal(first)
        wait_until(lambda: process.told(f"{first.name}: draining"), "the first signal")
        process.signal(first)
        assert_ends(process)
        assert client.read_to_end() == b"first"
    assert process.told("stopping at once")[0]["level"] == "warning"


def test_signals_do_not_change_what_it_ends_with(sidecar: Launch) -> None:
    """However many come, up to the very end: the status of a process that stopped as asked is 0."""
    process = sidecar()
    process.signal(signal.SIGTERM)

    def has_ended() -> bool:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process.signal(number)
        return process.process.poll() is not None

    wait_until(has_ended, "its end")
    assert process.wait() == 0


def test_signals_while_it_starts(launch_from_nothing: Launch, app: ScriptedApp) -> None:
    """Those that do not ask it to end don't, though there is nothing yet that could be done about them."""
    with launch_from_nothing(wait=False, APP_PORT=app.port) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(children.read_text, "the process that reads the settings")
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            process.signal(number)
        process.wait_until_listening()


def test_a_signal_while_it_waits_for_a_certificate(sidecar: Launch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without a certificate it is alive, and SIGTERM ends it with status 0 as well."""
    process = sidecar(wait=False, CERT_DIR=tmp_path_factory.mktemp("empty"), DRAIN_DELAY=LONG)
    wait_until(lambda: process.told("no certificate named"), "word of the missing certificate", 15)
    assert process.ask_admin("/livez").status == 200
    process.signal(signal.SIGTERM)
    assert_ends(process)


def test_probes_are_answered_until_the_end(sidecar: Launch, gate: Gate) -> None:
    """While requests are let finish the admin port still says that the process lives and is not ready."""
    process = sidecar(DRAIN_TIMEOUT=LONG)
    with process.connect() as client, RawClient(process.admin_port) as probe:
        client.send(get())
        client.read_head()
        process.signal(signal.SIGTERM)
        stop_accepting(process)
        assert (probe.get("/livez").status, probe.get("/readyz").status) == (200, 503)
        assert process.metrics().value("tlsproxy_connections", state="active") == 1
        gate.open.set()
        with contextlib.suppress(ConnectionError):
            client.read_to_end()
    assert_ends(process)


def test_the_redirect_port_drains_too(sidecar: Launch, app: ScriptedApp) -> None:
    """Idle connections of the redirect port hold nothing up either."""
    process = sidecar(REDIRECT_PORT=free_port())
    with RawClient(int(process.settings["REDIRECT_PORT"])) as client:
        client.get()
        process.signal(signal.SIGTERM)
        assert client.read_to_end() == b""
        assert_ends(process)


# With the app


def test_it_ends_after_the_app_that_it_follows(launch: Launch) -> None:
    """With FOLLOW_APP it serves on after SIGTERM, and ends, with status 0, when the app has: told to stop or not."""
    with ExitStack() as stack:
        apps = [stack.enter_context(ScriptedApp()) for _ in range(2)]
        told, untold = (
            stack.enter_context(launch(APP_PORT=app.port, FOLLOW_APP="on", APP_WAIT="200ms")) for app in apps
        )
        for app in apps:
            # No request needs to come: a probe has found it.
            app.wait_for_connections(1)
        told.signal(signal.SIGTERM)
        wait_until(lambda: told.told("serving until the app's port has been closed"), "word of the app")
        assert told.get().status == 200
        assert told.ask_admin("/readyz").status == 503
        for app in apps:
            app.close()
        for process, app in zip((told, untold), apps, strict=True):
            assert process.wait() == 0
            assert process.told(
                f"stopping: the app's port at 127.0.0.1:{app.port} has been closed for longer than 0.2s"
            )


def test_an_app_that_never_came_is_not_waited_for(sidecar: Launch) -> None:
    """With FOLLOW_APP and no app SIGTERM drains as ever, and an absent app ends nothing."""
    process = sidecar(APP_PORT=free_port(), FOLLOW_APP="on", APP_WAIT="0")
    process.signal(signal.SIGTERM)
    assert_ends(process)
    assert not process.told("TLSPROXY_FOLLOW_APP")


# Other signals


def test_sigusr1_shows_what_each_task_does(shared_sidecar: Sidecar) -> None:
    """SIGUSR1 writes the stacks of all tasks to standard error, and the process goes on."""
    shared_sidecar.signal(signal.SIGUSR1)
    text = shared_sidecar.wait_for_stderr("in _keep_watching")
    assert "certificate watch" in text
    assert re.search(r"^\d+ tasks$", text, re.MULTILINE)
    assert "sidecar.py" in text
    assert shared_sidecar.get().status == 200
