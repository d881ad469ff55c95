"""CERT_ROTATION_GRACE: connections that show an older certificate end in time, and none of them loses anything.

Each test has a process of its own: what is retired is what came before a rotation.
"""

import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from tests.e2e.certificates import issue, place
from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.raw_client import get
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar
from tests.e2e.test_rotation import assert_noticed
from tests.e2e.traffic import SWITCH

GRACE = 2.0
SLACK = 1.5
"""Seconds for the sweep, which comes twice a second, and for a busy machine."""


@pytest.fixture
def directory(tmp_path: Path, authority: trustme.CA) -> Path:
    """A mounted directory."""
    place(tmp_path, issue(authority))
    return tmp_path


@pytest.fixture
def process(sidecar: Launch, directory: Path) -> Sidecar:
    """A sidecar that ends old connections within two seconds."""
    return sidecar(CERT_DIR=directory, CERT_ROTATION_GRACE=f"{GRACE:g}s")


def rotate(process: Sidecar, directory: Path, authority: trustme.CA) -> None:
    """Serve a new certificate."""
    pair = issue(authority)
    place(directory, pair)
    assert_noticed(process, pair)


def test_idle_connections_are_closed(process: Sidecar, directory: Path, authority: trustme.CA) -> None:
    """Who asks for nothing is closed in order, one after the other and not all at once; who came later is not."""
    with ExitStack() as clients:
        old = [clients.enter_context(process.connect()) for _ in range(6)]
        rotate(process, directory, authority)
        new = clients.enter_context(process.connect())
        ends: list[float] = []

        def watch(number: int) -> None:
            assert old[number].receive() == b""
            ends.append(time.monotonic())

        threads = [threading.Thread(target=watch, args=(number,)) for number in range(len(old))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(GRACE + SLACK)
        assert len(ends) == len(old)
        assert {client.ended for client in old} == {"close_notify"}
        assert max(ends) - min(ends) > 0.3
        assert new.is_silent(GRACE)
        assert new.get("/after").status == 200


def test_busy_connections_are_told(process: Sidecar, app: ScriptedApp, directory: Path, authority: trustme.CA) -> None:
    """A client that goes on asking loses nothing: one of its answers says that it was the last."""
    app.answer(lambda request: response(request.target))
    with process.connect() as client:
        client.get()
        rotate(process, directory, authority)
        start = time.monotonic()
        while (answer := client.get("/more")).get(b"Connection") != b"close":
            assert answer.body == b"/more"
            assert time.monotonic() - start < GRACE + SLACK
            time.sleep(0.01)
        assert client.read_to_end() == b""
        assert client.ended == "close_notify"


def test_what_is_under_way_is_finished(
    process: Sidecar, app: ScriptedApp, directory: Path, authority: trustme.CA
) -> None:
    """A download that is longer than the time comes whole, and its connection ends with it; a tunnel stays."""
    finish = threading.Event()

    def script(connection: AppConnection) -> None:
        while request := connection.read_request():
            if request.target == b"/download":
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"first")
                assert finish.wait(10)
                connection.send(b"after")
            elif request.target == b"/tunnel":
                connection.send(SWITCH)
                while data := connection.reader.some():
                    connection.send(data)
            else:
                connection.send(response(b"ok"))

    app.script(script)
    with process.connect() as download, process.connect() as tunnel, process.connect() as idle:
        download.send(get("/download"))
        head = download.read_head()
        assert download.reader.exactly(5) == b"first"
        tunnel.send(get("/tunnel", "Connection: Upgrade", "Upgrade: websocket"))
        assert tunnel.read_head().status == 101
        rotate(process, directory, authority)
        assert idle.receive() == b""
        wait_until(lambda: process.metrics().value("tlsproxy_connections", state="idle") == 0, "nothing is idle")
        finish.set()
        assert (head.status, download.read_to_end()) == (200, b"after")
        assert download.ended == "close_notify"
        tunnel.send(b"still here")
        assert tunnel.reader.exactly(10) == b"still here"


def test_a_handshake_from_before_counts(process: Sidecar, directory: Path, authority: trustme.CA) -> None:
    """A handshake that began before the rotation shows the old certificate, and its connection is an old one."""
    with process.connect(handshake=False) as client:
        wait_until(lambda: process.metrics().value("tlsproxy_connections", state="handshake") == 1, "a handshake")
        before = process.certificate()["serial"]
        rotate(process, directory, authority)
        client.handshake()
        assert (client.tls.getpeercert() or {})["serialNumber"] == before
        start = time.monotonic()
        assert client.receive() == b""
        assert time.monotonic() - start < GRACE + SLACK
        assert client.ended == "close_notify"


def test_a_change_of_trust_counts(sidecar: Launch, directory: Path, authority: trustme.CA) -> None:
    """Connections that were let in by the old client CAs end in time like those that show an old certificate."""
    bundle = directory / "ca.crt"
    bundle.write_bytes(authority.cert_pem.bytes())
    process = sidecar(CERT_DIR=directory, CERT_ROTATION_GRACE="1s", CLIENT_AUTH="optional")
    with process.connect() as asking, process.connect() as idle:
        asking.get()
        bundle.write_bytes(trustme.CA().cert_pem.bytes())
        wait_until(lambda: len(process.told("client CAs: ")) == 2, "the new client CAs")
        start = time.monotonic()
        while (answer := asking.get("/more")).get(b"Connection") != b"close":
            assert time.monotonic() - start < GRACE + SLACK
            time.sleep(0.01)
        assert (answer.status, asking.read_to_end(), asking.ended) == (200, b"", "close_notify")
        assert idle.receive() == b""
        assert idle.ended == "close_notify"
        assert time.monotonic() - start < GRACE + SLACK


def test_without_it_old_connections_live_on(sidecar: Launch, directory: Path, authority: trustme.CA) -> None:
    """Unless it is asked for, a rotation ends no connection."""
    process = sidecar(CERT_DIR=directory)
    with process.connect() as client:
        rotate(process, directory, authority)
        assert client.is_silent(1.0)
        assert client.get().status == 200
