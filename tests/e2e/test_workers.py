"""Several workers behind one port: told, asked, replaced and ended as one."""

import json
import os
import shlex
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from tests.e2e.certificates import issue, mount_certificate, place
from tests.e2e.client_certificates import issue_client, revocation_list, showing
from tests.e2e.conftest import Launch
from tests.e2e.messages import IncompleteError
from tests.e2e.polling import wait_until, wait_until_gone
from tests.e2e.ports import free_port
from tests.e2e.raw_client import RawClient, get
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar, looking_into

LONG = "30s"
MANY = 14
"""So many connections that all of them go to one of two workers once in 8,000 runs."""
IMPATIENT = (
    "from tlsproxy.cli import main\n"
    "from tlsproxy.workers import supervisor\n"
    "supervisor.STUCK_AFTER, supervisor.LOOK_PERIOD = 2.0, 0.25\n"
    "raise SystemExit(main(['run']))\n"
)
"""A sidecar that takes a worker for stuck much sooner."""


@pytest.fixture(scope="module")
def module_process(launch: Launch, session_app: ScriptedApp) -> Iterator[Sidecar]:
    """A process with two workers."""
    with launch(APP_PORT=session_app.port, WORKERS=2, REDIRECT_PORT=free_port()) as process:
        yield process


@pytest.fixture
def pair(module_process: Sidecar, app: ScriptedApp) -> Sidecar:
    """It, in front of `app`, with two workers that serve."""
    wait_until(lambda: len(pids(module_process)) == 2, "two workers")
    module_process.forget_lines()
    return module_process


@pytest.fixture
def start(sidecar: Launch) -> Launch:
    """Start a process of the test's own, whose workers serve; the port accepts before there is any."""

    def started(wait: bool = True, **settings: str | int | Path) -> Sidecar:
        process = sidecar(wait, **settings)
        if wait:
            process.wait_for_stderr('"serving ')
        return process

    return started


def pids(process: Sidecar) -> list[int]:
    """Of the workers that serve."""
    return [int(str(worker["pid"])) for worker in workers(process)]


def workers(process: Sidecar) -> list[dict[str, object]]:
    """What /status tells of each."""
    found = process.status()["workers"]
    assert isinstance(found, list)
    return found


def family(process: Sidecar) -> list[int]:
    """The supervisor, the nursery and the workers."""
    found = [process.pid]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def wait_until_all_are_gone(family: list[int]) -> None:
    for pid in family:
        wait_until_gone(pid)


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Processes that are stuck."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


# What all have in common


def test_one_scrape_tells_of_all(pair: Sidecar) -> None:
    """Counters are summed over the workers, certificates told once, and process_* are of all processes."""
    before = pair.metrics()
    for _ in range(MANY):
        assert pair.get().status == 200
    after = pair.metrics()
    for name in ("tlsproxy_requests_total", "tlsproxy_request_duration_seconds_count", "tlsproxy_handshakes_total"):
        assert after.value(name) - before.value(name) == MANY, name
    assert after.value("tlsproxy_workers") == 2
    assert after.value("tlsproxy_certificate_drift") == 0
    assert after.value("tlsproxy_certificate_expiry_timestamp_seconds") > time.time()
    assert after.value("tlsproxy_build_info") == 1
    resident = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 for pid in family(pair))
    assert after.value("process_resident_memory_bytes") == pytest.approx(resident, rel=0.05)
    with looking_into():
        alone, ours = (len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in (pair.pid, pids(pair)[0]))
    # Another thread's look-up, or a connection that only just ends, is one more.
    assert after.value("process_open_fds") == pytest.approx(alone + 2 * ours, abs=4)


def test_status_tells_of_all(pair: Sidecar) -> None:
    """The sums, and each worker with its pid; the workers are forks, and none is the process itself."""
    with ExitStack() as clients:
        for _ in range(MANY):
            clients.enter_context(pair.connect()).get()
        status = pair.status()
        each = [worker["connections"] for worker in workers(pair)]
    assert isinstance(status["connections"], dict)
    assert status["connections"]["idle"] == MANY
    assert sum(one["idle"] for one in each if isinstance(one, dict)) == MANY
    assert all(one["idle"] for one in each if isinstance(one, dict)), "both workers have some"
    assert set(pids(pair)) < set(family(pair)) - {pair.pid}


def test_the_redirect_port_is_shared_too(pair: Sidecar) -> None:
    """Each worker answers on it."""
    for _ in range(MANY):
        with RawClient(int(pair.settings["REDIRECT_PORT"])) as client:
            assert client.get("/x").status == 301
    assert pair.metrics().value("tlsproxy_requests_total", code="301") == MANY


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_resume_on_any_worker(pair: Sidecar, version: ssl.TLSVersion) -> None:
    """A ticket of one worker is good at the others."""
    pair.trust.maximum_version = pair.trust.minimum_version = version
    with pair.connect() as client:
        client.get()
        session = client.tls.session
    for _ in range(MANY):
        with pair.connect(session=session) as client:
            client.get()
            assert client.tls.session_reused


def test_stacks_of_all(pair: Sidecar) -> None:
    """SIGUSR1 writes the stacks of the supervisor and of each worker."""
    pair.signal(signal.SIGUSR1)
    wait_until(lambda: pair.stderr().count(" tasks\n") == 3, "three dumps")
    assert "workers/supervisor.py" in pair.stderr()
    assert "workers/worker.py" in pair.stderr()


# Stuck and killed


def test_a_worker_that_is_stuck(pair: Sidecar) -> None:
    """It holds up no probe and no scrape, and takes nothing out of the counters."""
    pair.get()
    before = pair.metrics().value("tlsproxy_requests_total")
    with stopped(pids(pair)[0]):
        began = time.monotonic()
        assert pair.ask_admin("/livez").status == 200
        assert pair.ask_admin("/readyz").status == 200
        assert pair.metrics().value("tlsproxy_requests_total") == before
        assert [worker["answers"] for worker in workers(pair)] == [False, True]
        assert time.monotonic() - began < 4
    wait_until(lambda: all(worker["answers"] for worker in workers(pair)), "both answer")


def test_all_workers_are_stuck(pair: Sidecar) -> None:
    """Then, and only then, the process is not alive."""
    with stopped(*pids(pair)):
        answer = pair.ask_admin("/livez")
    assert (answer.status, answer.body) == (503, b"[-]process: no worker answers\n")
    assert pair.ask_admin("/livez").status == 200


def test_a_worker_is_killed(pair: Sidecar) -> None:
    """Who waits in its queue is served by its successor; what it had counted is kept; it is told and counted."""
    for _ in range(MANY):
        pair.get()
    before = pair.metrics()
    victim = pids(pair)[0]
    os.kill(victim, signal.SIGSTOP)
    clients = [pair.connect(handshake=False) for _ in range(MANY)]
    os.kill(victim, signal.SIGKILL)
    began = time.monotonic()
    for client in clients:
        with client:
            client.handshake()
            assert client.get().status == 200
    assert time.monotonic() - began < 1
    wait_until(lambda: len(pids(pair)) == 2, "two workers")
    assert victim not in pids(pair)
    after = pair.metrics()
    assert after.value("tlsproxy_requests_total") - before.value("tlsproxy_requests_total") == MANY
    assert after.value("tlsproxy_worker_deaths_total") - before.value("tlsproxy_worker_deaths_total") == 1
    (told,) = pair.told(f"(pid {victim}) was killed by SIGKILL; another one follows")
    assert told["level"] == "error"


@pytest.mark.soak
def test_a_worker_that_stays_stuck(start: Launch, app: ScriptedApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed, told of and followed by another; here after two seconds in place of thirty."""
    if "TLSPROXY_TEST_COMMAND" in os.environ:
        pytest.skip("the command under test is not this interpreter's: its patience can't be shortened")
    monkeypatch.setenv("TLSPROXY_TEST_COMMAND", shlex.join([sys.executable, "-c", IMPATIENT]))
    process = start(WORKERS=2)
    victim, other = pids(process)
    os.kill(victim, signal.SIGSTOP)
    (told,) = wait_until(lambda: process.told(f"(pid {victim}) has not answered for"), "word of it", 10)
    assert told["level"] == "error"
    wait_until(lambda: len(pids(process)) == 2 and victim not in pids(process), "another worker")
    assert other in pids(process)
    assert process.metrics().value("tlsproxy_worker_deaths_total") == 1
    assert all(process.get().status == 200 for _ in range(MANY))


@pytest.mark.soak
def test_the_workers_are_replaced(pair: Sidecar) -> None:
    """SIGUSR2 puts others in their places, one after another; requests are served meanwhile, and each is counted."""
    before, counted = set(pids(pair)), pair.metrics().value("tlsproxy_requests_total")
    told, asked = len(pair.told("the workers have been replaced")), 0
    pair.signal(signal.SIGUSR2)
    with pair.connect() as client:
        while (answer := client.get()).get(b"Connection") != b"close":
            assert answer.status == pair.get().status == 200
            asked += 2
        assert client.read_to_end() == b""
    wait_until(lambda: len(pair.told("the workers have been replaced")) > told, "word of it", 10)
    assert len(pids(pair)) == 2
    assert not before & set(pids(pair))
    metrics = pair.metrics()
    assert metrics.value("tlsproxy_workers") == 2
    assert metrics.value("tlsproxy_requests_total") - counted == asked + 1


def test_one_process_has_nobody_to_replace(shared_sidecar: Sidecar) -> None:
    """SIGUSR2, which ends a process that does not know it, is said to be without effect."""
    shared_sidecar.signal(signal.SIGUSR2)
    shared_sidecar.wait_for_stderr("there are no workers to replace")
    assert shared_sidecar.get().status == 200
    assert shared_sidecar.metrics().value("tlsproxy_workers") == 1
    assert family(shared_sidecar) == [shared_sidecar.pid]


@pytest.mark.soak
def test_nobody_outlives_the_supervisor(start: Launch) -> None:
    """When it is killed its workers go too, though the nursery can't end them; the port is free for another."""
    process = start(WORKERS=2)
    all_of_it = family(process)
    assert len(all_of_it) == 4
    process.signal(signal.SIGSTOP)
    os.kill(all_of_it[1], signal.SIGKILL)
    process.signal(signal.SIGKILL)
    process.wait()
    wait_until_all_are_gone(all_of_it)
    assert start(WORKERS=2, LISTEN_PORT=process.port).get().status == 200


@pytest.mark.soak
def test_the_process_that_forks_is_killed(start: Launch) -> None:
    """What could not be watched any more ends, with status 1, so that it is started anew."""
    process = start(WORKERS=2)
    all_of_it = family(process)
    os.kill(all_of_it[1], signal.SIGKILL)
    assert process.wait() == 1
    wait_until_all_are_gone(all_of_it)
    assert process.told("the process that starts workers has gone: stopping")


@pytest.mark.soak
def test_workers_that_die_at_once(start: Launch) -> None:
    """Again and again: the process ends, with status 1, and says why."""
    process = start(WORKERS=2)
    while process.process.poll() is None:
        try:
            os.kill(pids(process)[-1], signal.SIGKILL)
        except (OSError, IndexError, IncompleteError):
            continue
    assert process.wait() == 1
    assert process.told("as soon as they had begun: giving up")


# Certificates


def test_a_new_certificate_reaches_all(start: Launch, tmp_path: Path, authority: trustme.CA, app: ScriptedApp) -> None:
    """Each worker serves it, and so does one that is born afterwards; a bad one is told of once."""
    mount_certificate(authority, tmp_path)
    process = start(WORKERS=2, CERT_DIR=tmp_path, CERT_RESYNC_PERIOD=LONG)
    new = issue(authority)
    place(tmp_path, new)
    wait_until(lambda: process.told(f"-> {new.serial}"), "word of it")
    wait_until(lambda: serials(process) == {new.serial}, "the new one from each worker", 1)
    assert len(process.told(f"-> {new.serial}")) == 1
    (tmp_path / "tls.key").write_bytes(issue(authority).key)
    wait_until(lambda: process.metrics().value("tlsproxy_certificate_drift") == 1, "the drift")
    assert len([line for line in process.told("tls.key") if line["level"] == "error"]) == 1
    os.kill(pids(process)[0], signal.SIGKILL)
    wait_until(lambda: len(pids(process)) == 2, "two workers")
    assert serials(process) == {new.serial}


def test_a_list_that_is_over_is_told_once(start: Launch, tmp_path: Path, authority: trustme.CA) -> None:
    """The supervisor tells of it, loudly; the workers, who refuse by it, do not say so again."""
    mount_certificate(authority, tmp_path)
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    (tmp_path / "ca.crl").write_bytes(revocation_list(authority, ends=-timedelta(minutes=1)))
    process = start(WORKERS=2, CERT_DIR=tmp_path, CLIENT_AUTH="required")
    wait_until(lambda: len(pids(process)) == 2, "two workers")
    (told,) = process.told("ALL CLIENTS OF ITS CA ARE REFUSED")
    assert told["level"] == "error"


def serials(process: Sidecar) -> set[str]:
    """Of the certificates in new handshakes."""
    found = set()
    for _ in range(MANY):
        with process.connect() as client:
            found.add(str((client.tls.getpeercert() or {})["serialNumber"]))
    return found


def test_trust_that_is_withdrawn(start: Launch, tmp_path: Path, authority: trustme.CA, app: ScriptedApp) -> None:
    """A client whose CA is gone is refused by every worker, ticket or not, as soon as the first refuses it."""
    former, later = trustme.CA(), trustme.CA()
    mount_certificate(authority, tmp_path)
    (tmp_path / "ca.crt").write_bytes(former.cert_pem.bytes())
    process = start(WORKERS=2, CERT_DIR=tmp_path, CLIENT_AUTH="required", CERT_RESYNC_PERIOD=LONG)
    context = showing(authority, issue_client(former, tmp_path, "reports"))
    with process.connect(context) as client:
        assert client.get().status == 200
        session = client.tls.session
    (tmp_path / "ca.crt").write_bytes(later.cert_pem.bytes())
    wait_until(lambda: not lets_in(process, context, session), "the first refusal")
    assert not any(lets_in(process, context, session) for _ in range(MANY))


def lets_in(process: Sidecar, context: ssl.SSLContext, session: ssl.SSLSession | None) -> bool:
    try:
        with process.connect(context, session=session) as client:
            return client.get().status == 200
    except (OSError, EOFError, AssertionError):
        return False


# Limits


def test_the_apps_limit_holds_over_all(start: Launch, app: ScriptedApp) -> None:
    """The app is never given more requests at once than APP_CONNECTIONS, whichever workers they come to."""
    lock, now, most = threading.Lock(), [0], [0]

    def script(connection: AppConnection) -> None:
        while connection.read_request():
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            time.sleep(0.02)
            with lock:
                now[0] -= 1
            connection.send(response(b"served"))

    app.script(script)
    process = start(WORKERS=2, APP_CONNECTIONS=3)
    with ExitStack() as stack:
        clients = [stack.enter_context(process.connect()) for _ in range(MANY)]
        for client in clients:
            client.send(get())
        assert all(client.read_response().status == 200 for client in clients)
    assert most[0] <= 3


def test_fewer_workers_where_there_is_less_to_share(start: Launch, app: ScriptedApp) -> None:
    """A worker without a share of a limit would have none: one process serves, and says so."""
    process = start(WORKERS=3, APP_CONNECTIONS=1)
    assert process.get().status == 200
    assert family(process) == [process.pid]
    assert process.told("TLSPROXY_WORKERS=3, of which there is only 1")


# Lines


def test_lines_of_several_workers_are_whole(
    launch: Launch, authority: trustme.CA, certificate_dir: Path, tmp_path: Path, app: ScriptedApp
) -> None:
    """On one pipe, with a slow reader, and longer ones than a pipe takes at once among them."""
    reading, writing = os.pipe()
    settings = {"CERT_DIR": str(certificate_dir), "APP_PORT": str(app.port), "WORKERS": "2"}
    lengths = [10, 3_000, 9_000, 20_000]
    with Sidecar(tmp_path, authority, settings, output=writing) as process:
        os.close(writing)
        with ExitStack() as stack:
            clients = [stack.enter_context(process.connect()) for _ in range(8)]
            for number in range(30):
                for client in clients:
                    client.send(get(f"/{number}/" + "x" * lengths[(number + clients.index(client)) % len(lengths)]))
                for client in clients:
                    assert client.read_response().status == 200
        ended = threading.Thread(target=process.stop)
        ended.start()
        with os.fdopen(reading) as pipe:
            lines = [json.loads(line) for line in pipe]
        ended.join()
    assert len(lines) == 8 * 30


# The end


def test_all_drain_together(start: Launch, app: ScriptedApp) -> None:
    """What is under way on each worker is finished, the port is closed, the status is 0, and nobody is left."""
    go = threading.Event()

    def script(connection: AppConnection) -> None:
        while connection.read_request():
            go.wait(8)
            connection.send(response(b"whole"))

    app.script(script)
    process = start(WORKERS=2, DRAIN_TIMEOUT=LONG)
    all_of_it = family(process)
    with ExitStack() as stack:
        clients = [stack.enter_context(process.connect()) for _ in range(MANY)]
        for client in clients:
            client.send(get())
        app.wait_for_requests(MANY)
        process.signal(signal.SIGTERM)
        process.wait_until_closed()
        assert process.ask_admin("/readyz").status == 503
        assert process.ask_admin("/livez").status == 200
        process.signal(signal.SIGUSR2)
        process.wait_for_stderr('"SIGUSR2: ')
        go.set()
        for client in clients:
            answer = client.read_response()
            assert (answer.status, answer.body, answer.get(b"Connection")) == (200, b"whole", b"close")
    assert process.wait() == 0
    wait_until_all_are_gone(all_of_it)
    assert len(process.lines()) == MANY
    assert not process.told("have been replaced")


def test_a_second_signal_stops_all_at_once(start: Launch, app: ScriptedApp) -> None:
    """No request holds up any worker then."""
    app.script(lambda connection: connection.read_request() and connection.wait_closed())
    process = start(WORKERS=2, DRAIN_DELAY=LONG, DRAIN_TIMEOUT=LONG)
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(process.connect()).send(get())
        app.wait_for_requests(4)
        process.signal(signal.SIGTERM)
        process.wait_for_stderr("SIGTERM: draining")
        process.signal(signal.SIGINT)
        assert process.wait() == 0
    assert not process.told("does not end")


@pytest.mark.soak
def test_what_a_whole_group_is_sent(start: Launch, app: ScriptedApp) -> None:
    """Service managers and terminals signal workers too: they go on until the supervisor says otherwise."""
    process = start(WORKERS=2, DRAIN_DELAY="1s")
    for pid in reversed(family(process)):
        os.kill(pid, signal.SIGTERM)
    process.wait_for_stderr("SIGTERM: draining")
    assert process.get().status == 200
    assert process.wait() == 0
    assert not process.told("was killed")


@pytest.mark.parametrize(("missing", "status"), [("port", 4), ("certificate", 3)])
def test_what_can_not_be_had(start: Launch, tmp_path: Path, missing: str, status: int) -> None:
    """The status is that of one process, said once, and nobody is left; a port is had alone or not at all."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = {"LISTEN_PORT": taken.getsockname()[1]} if missing == "port" else {"CERT_DIR": tmp_path}
        process = start(wait=False, WORKERS=2, CERT_WAIT="0", **settings)
        assert process.wait(15) == status
    errors = [line for line in process.told("") if line["level"] == "error"]
    assert ("TLSPROXY_LISTEN_PORT" if missing == "port" else "TLSPROXY_CERT_WAIT") in str(errors[-1]["message"])
