"""What the operator is told of certificates: each rotation in one line, names that are missed, and ends that come."""

import time
from pathlib import Path

import pytest
import trustme

from tests.e2e.certificates import Pair, issue, mount_certificate, place
from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.raw_client import TlsClient
from tests.e2e.scripted_app import ScriptedApp
from tests.e2e.sidecar_process import Sidecar
from tests.tls import material

DAY = material.DAY


def ask_for(process: Sidecar, *names: str) -> None:
    """Handshakes with these server names, by a client that verifies them."""
    for name in names:
        TlsClient(process.port, process.trust, server_name=name).close()


def rotate(process: Sidecar, directory: Path, authority: trustme.CA, *names: str) -> Pair:
    """Mount a new pair for these names and wait until it is served."""
    pair = mount_certificate(authority, directory, *names)
    wait_until(lambda: process.certificate()["serial"] == pair.serial, "the new certificate")
    return pair


def test_a_rotation_is_one_line(sidecar: Launch, app: ScriptedApp, authority: trustme.CA, tmp_path: Path) -> None:
    """Serials, both ends and the names that came and went are in it, and nothing else is said."""
    place(tmp_path, old := issue(authority, "localhost", "stays.test", "goes.test"))
    process = sidecar(CERT_DIR=tmp_path)
    process.wait_for_stderr("serving HTTPS")
    before = len(process.stderr().splitlines())
    new = rotate(process, tmp_path, authority, "localhost", "stays.test", "comes.test")
    (line,) = process.stderr().splitlines()[before:]
    assert f"certificate tls: serial {old.serial} -> {new.serial}, for localhost, stays.test, comes.test, " in line
    assert line.count("valid until ") == 2
    assert "; gained comes.test; lost goes.test" in line


def test_a_name_that_clients_ask_for_is_missed(
    sidecar: Launch, app: ScriptedApp, authority: trustme.CA, tmp_path: Path
) -> None:
    """When a rotation loses names, those that clients have asked for are warned about, by wildcard or exactly."""
    place(tmp_path, issue(authority, "localhost", "asked.test", "unasked.test", "*.wild.test"))
    process = sidecar(CERT_DIR=tmp_path)
    ask_for(process, "asked.test", "asked.test", "one.wild.test", "localhost")
    rotate(process, tmp_path, authority, "localhost")
    (warning,) = wait_until(lambda: process.told("clients have asked for"), "the warning")
    assert warning["level"] == "warning"
    assert "clients have asked for asked.test, one.wild.test, and none is for that any more" in str(warning["message"])
    rotate(process, tmp_path, authority, "localhost")
    assert len(process.told("clients have asked for")) == 1, "it is said when they go"


def test_names_that_stay_are_not_missed(
    sidecar: Launch, app: ScriptedApp, authority: trustme.CA, tmp_path: Path
) -> None:
    """A name that a wildcard, or another certificate, is for from then on is still served."""
    for name, host in (("one", "a.wild.test"), ("two", "b.test")):
        (tmp_path / name).mkdir()
        mount_certificate(authority, tmp_path / name, host)
    process = sidecar(CERT_DIR=tmp_path, CERT_NAME="one,two")
    ask_for(process, "a.wild.test", "b.test")
    pairs = [mount_certificate(authority, tmp_path / "one", "*.wild.test", "b.test")]
    pairs.append(mount_certificate(authority, tmp_path / "two", "c.test"))
    for pair in pairs:
        wait_until(lambda: process.told(f"-> {pair.serial}"), pair.serial)  # noqa: B023  # awaited at once
    assert not process.told("clients have asked for")


@pytest.mark.parametrize(("warning", "told"), [("5d", True), ("3d", False), ("0", False)])
def test_an_end_that_comes_is_warned_about(
    sidecar: Launch, app: ScriptedApp, tmp_path: Path, warning: str, told: bool
) -> None:
    """From CERT_EXPIRY_WARNING on a warning tells the days that are left, once; /status and metrics do always."""
    place(tmp_path, Pair(*material.Request(not_after=material.NOW + 4 * DAY).issue().pair))
    process = sidecar(CERT_DIR=tmp_path, CERT_RESYNC_PERIOD="100ms", CERT_EXPIRY_WARNING=warning)
    assert 3.9 < float(str(process.certificate()["days_left"])) < 4.1
    begins = process.metrics().value("tlsproxy_certificate_expiry_warning_timestamp_seconds", name="tls")
    assert (begins < time.time()) == told
    looked_at = process.certificate()["next_check"]
    wait_until(lambda: process.certificate()["next_check"] != looked_at, "further looks at the files")
    warnings = process.told("expires in ")
    assert [line["level"] for line in warnings] == ["warning"] * told
