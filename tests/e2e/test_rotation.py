"""The certificate changes under a running sidecar: new handshakes get the new one, and nobody loses anything."""

import mmap
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trustme

from tests.e2e.certificates import Pair, issue, place, swap_secret
from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.raw_client import get
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar
from tests.e2e.traffic import Traffic, echo

NEVER = "1h"
NOTICED = 2.0
"""Seconds from a change to the first handshake that shows it."""
BETWEEN = 0.8
"""Seconds between the writes of two files: longer than a burst of events, shorter than what is broken for good."""
HALF = 8 * 1024 * 1024
FILE_SIZE = 4096


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Path:
    """A Secret as the kubelet mounts it."""
    directory = tmp_path_factory.mktemp("secret")
    swap_secret(directory, issue(authority))
    return directory


@pytest.fixture(scope="module")
def module_sidecar(launch: Launch, session_app: ScriptedApp, mounted: Path) -> Iterator[Sidecar]:
    """A sidecar that serves the Secret and has nothing but events to go by."""
    with launch(APP_PORT=session_app.port, CERT_DIR=mounted, CERT_RESYNC_PERIOD=NEVER) as process:
        yield process


@pytest.fixture
def secret_sidecar(module_sidecar: Sidecar, app: ScriptedApp) -> Sidecar:
    """It, in front of an app that echoes."""
    app.script(echo)
    return module_sidecar


def serial(sidecar: Sidecar) -> str:
    """That of the certificate in a new handshake."""
    with sidecar.connect() as client:
        return str((client.tls.getpeercert() or {})["serialNumber"])


def assert_noticed(sidecar: Sidecar, pair: Pair, within: float = NOTICED) -> None:
    """New handshakes show the certificate in time, and go on showing it."""
    wait_until(lambda: serial(sidecar) == pair.serial, f"serial {pair.serial}; {sidecar.stderr()}", within)
    assert {serial(sidecar) for _ in range(5)} == {pair.serial}


def wait_for_failure(sidecar: Sidecar, before: float) -> None:
    """Until a failed reload has been counted since."""
    wait_until(lambda: reloads(sidecar, "failed") > before, "a failed reload", 5)


def reloads(sidecar: Sidecar, result: str) -> float:
    return sidecar.metrics().value("tlsproxy_certificate_reloads_total", name="tls", result=result)


def drift(sidecar: Sidecar) -> float:
    return sidecar.metrics().value("tlsproxy_certificate_drift", name="tls")


def test_a_secrets_swap_under_load(secret_sidecar: Sidecar, mounted: Path, authority: trustme.CA) -> None:
    """After kubelet's swap of `..data` new handshakes show the new certificate, and no request is lost."""
    pair, before = issue(authority), reloads(secret_sidecar, "loaded")
    with Traffic(secret_sidecar):
        swap_secret(mounted, pair)
        assert_noticed(secret_sidecar, pair)
    metrics = secret_sidecar.metrics()
    assert reloads(secret_sidecar, "loaded") == before + 1
    assert metrics.value("tlsproxy_certificate_drift", name="tls") == 0
    assert abs(metrics.value("tlsproxy_certificate_last_reload_timestamp_seconds", name="tls") - time.time()) < 30
    assert secret_sidecar.told(f"-> {pair.serial}")


@pytest.mark.soak
def test_fifty_swaps_under_load(secret_sidecar: Sidecar, mounted: Path, authority: trustme.CA) -> None:
    """Swaps one after the other, as fast as they are written, lose no request, and the last one is served."""
    with Traffic(secret_sidecar) as traffic:
        for _ in range(50):
            pair = issue(authority)
            swap_secret(mounted, pair)
            traffic.wait_for_more(6)
        assert_noticed(secret_sidecar, pair)
    assert drift(secret_sidecar) == 0


def test_what_is_open_goes_on(secret_sidecar: Sidecar, app: ScriptedApp, mounted: Path, authority: trustme.CA) -> None:
    """A download, an event stream and an idle connection from before the swap go on over it and after it."""
    rotated = threading.Event()
    body = bytes(range(256)) * (HALF // 256)

    def script(connection: AppConnection) -> None:
        while request := connection.read_request():
            if request.target == b"/download":
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * HALF), body)
                assert rotated.wait(10)
                connection.send(body)
            elif request.target == b"/events":
                connection.send(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b"8\r\ndata: 1\n\r\n"
                )
                assert rotated.wait(10)
                connection.send(b"8\r\ndata: 2\n\r\n", b"0\r\n\r\n")
            else:
                connection.send(response(request.target))

    app.script(script)
    pair, old = issue(authority), serial(secret_sidecar)
    with ExitStack() as clients:
        idle, download, events = (clients.enter_context(secret_sidecar.connect()) for _ in range(3))
        assert idle.get("/before").body == b"/before"
        download.send(get("/download"))
        length = download.read_head().get(b"Content-Length")
        first = download.reader.exactly(HALF)
        events.send(get("/events"))
        events.read_head()
        assert events.read_chunk() == b"data: 1\n"
        swap_secret(mounted, pair)
        assert_noticed(secret_sidecar, pair)
        rotated.set()
        assert events.read_chunk() == b"data: 2\n"
        assert events.read_chunk() == b""
        assert (length, first + download.reader.exactly(HALF)) == (b"%d" % (2 * HALF), body * 2)
        assert idle.get("/after").body == b"/after"
        assert (idle.tls.getpeercert() or {})["serialNumber"] == old


def test_a_ticket_does_not_outlive_its_certificate(
    secret_sidecar: Sidecar, mounted: Path, authority: trustme.CA
) -> None:
    """A session of the old certificate does not resume under the new one: a full handshake takes its place."""
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    with secret_sidecar.connect(context) as client:
        client.get()
        session = client.tls.session
    pair = issue(authority)
    swap_secret(mounted, pair)
    assert_noticed(secret_sidecar, pair)
    with secret_sidecar.connect(context, session=session) as client:
        assert not client.tls.session_reused
        assert client.get("/again").body == b"/again"


def test_sighup_looks_and_says_what_it_found(secret_sidecar: Sidecar) -> None:
    """SIGHUP without a change says that there is none, and what is served."""
    secret_sidecar.signal(signal.SIGHUP)
    unchanged = f"unchanged: serial {serial(secret_sidecar)}"
    assert wait_until(lambda: secret_sidecar.told(unchanged), unchanged)[0]["level"] == "info"


def test_sighup_finds_a_change_without_an_event(secret_sidecar: Sidecar, mounted: Path, authority: trustme.CA) -> None:
    """A change that the file system tells nobody of is found at once when SIGHUP asks for it."""
    before, pair = padded(issue(authority)), padded(issue(authority))
    swap_secret(mounted, before)
    assert_noticed(secret_sidecar, before)
    with Traffic(secret_sidecar), silently_changed(mounted, pair):
        secret_sidecar.signal(signal.SIGHUP)
        assert_noticed(secret_sidecar, pair, within=1.0)


# Files that are written in place, in a process that compares them five times a second.


@pytest.fixture(scope="module")
def plain_dir(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Path:
    """tls.crt and tls.key as plain files."""
    directory = tmp_path_factory.mktemp("plain")
    place(directory, issue(authority))
    return directory


@pytest.fixture(scope="module")
def module_plain_sidecar(launch: Launch, session_app: ScriptedApp, plain_dir: Path) -> Iterator[Sidecar]:
    """A sidecar that serves them, with a resync five times a second."""
    with launch(APP_PORT=session_app.port, CERT_DIR=plain_dir, CERT_RESYNC_PERIOD="200ms") as process:
        yield process


@pytest.fixture
def plain_sidecar(module_plain_sidecar: Sidecar, app: ScriptedApp) -> Sidecar:
    """It, in front of an app that echoes."""
    app.script(echo)
    return module_plain_sidecar


@pytest.mark.parametrize("order", ["key first", "certificate first"])
def test_files_overwritten_with_a_pause_between(
    plain_sidecar: Sidecar, plain_dir: Path, authority: trustme.CA, order: str
) -> None:
    """While one file is new and the other old nothing happens and nothing is said; then the new pair is served."""
    pair, old = issue(authority), serial(plain_sidecar)
    writes = [(plain_dir / "tls.key", pair.key), (plain_dir / "tls.crt", pair.chain)]
    failed, complaints = reloads(plain_sidecar, "failed"), len(plain_sidecar.told("does not match"))
    (first, content), (second, other_content) = writes if order == "key first" else reversed(writes)
    with Traffic(plain_sidecar):
        first.write_bytes(content)
        until = time.monotonic() + BETWEEN
        while time.monotonic() < until:
            assert serial(plain_sidecar) == old
        second.write_bytes(other_content)
        assert_noticed(plain_sidecar, pair)
    assert (reloads(plain_sidecar, "failed"), len(plain_sidecar.told("does not match"))) == (failed, complaints)


def test_a_broken_pair_leaves_the_last_good_one(plain_sidecar: Sidecar, plain_dir: Path, authority: trustme.CA) -> None:
    """A key of another pair is reported once, shows as drift and changes nothing; a good pair is taken again."""
    good, stranger, old = issue(authority), issue(authority), serial(plain_sidecar)
    failed = reloads(plain_sidecar, "failed")
    with Traffic(plain_sidecar):
        (plain_dir / "tls.key").write_bytes(stranger.key)
        wait_for_failure(plain_sidecar, failed)
        assert drift(plain_sidecar) == 1
        assert serial(plain_sidecar) == old
        wait_for_failure(plain_sidecar, reloads(plain_sidecar, "failed"))  # at the next resync
        certificate = plain_sidecar.certificate()
        error = certificate["error"]
        assert isinstance(error, dict)
        assert error["result"] == "failed"
        assert certificate["serial"] == old
        assert plain_sidecar.ask_admin("/readyz").status == 200
        place(plain_dir, good)
        assert_noticed(plain_sidecar, good, within=NOTICED + 1)
    (complaint,) = plain_sidecar.told("does not match")
    assert complaint["level"] == "error"
    for part in (str(plain_dir / "tls.key"), str(plain_dir / "tls.crt"), f"serial {old} is served"):
        assert part in str(complaint["message"])
    assert drift(plain_sidecar) == 0
    assert plain_sidecar.certificate()["error"] is None


def test_files_that_go_leave_the_last_good_pair(plain_sidecar: Sidecar, plain_dir: Path, authority: trustme.CA) -> None:
    """Files that are deleted are missed, and the certificate is served on until they are back."""
    old, failed, back = serial(plain_sidecar), reloads(plain_sidecar, "failed"), issue(authority)
    for name in ("tls.crt", "tls.key"):
        (plain_dir / name).unlink()
    wait_for_failure(plain_sidecar, failed)
    assert (drift(plain_sidecar), serial(plain_sidecar)) == (1, old)
    place(plain_dir, back)
    assert_noticed(plain_sidecar, back, within=NOTICED + 1)
    assert drift(plain_sidecar) == 0


def test_the_resync_finds_a_change_without_an_event(
    sidecar: Launch, app: ScriptedApp, authority: trustme.CA, tmp_path: Path
) -> None:
    """A change that the file system tells nobody of is found when the files are compared."""
    app.script(echo)
    pair = padded(issue(authority))
    # Before the start, so that no event is on its way that could find what comes next.
    place(tmp_path, padded(issue(authority)))
    process = sidecar(CERT_DIR=tmp_path, CERT_RESYNC_PERIOD="300ms")
    with Traffic(process), silently_changed(tmp_path, pair):
        assert_noticed(process, pair)


def padded(pair: Pair) -> Pair:
    """The pair with newlines at the end, all of one size."""
    return Pair(pair.chain.ljust(FILE_SIZE, b"\n"), pair.key.ljust(FILE_SIZE, b"\n"))


@contextmanager
def silently_changed(directory: Path, pair: Pair) -> Iterator[None]:
    """Change the files through a mapping, which makes no event until it is closed (inotify(7))."""
    with ExitStack() as files:
        for name, content in (("tls.key", pair.key), ("tls.crt", pair.chain)):
            file = files.enter_context((directory / name).open("r+b"))
            files.enter_context(mmap.mmap(file.fileno(), FILE_SIZE))[:] = content
        yield
