"""Bad material never wins: whatever is mounted, the last good pair is served on, and a good one is taken at once.

One process has a good pair under a name for each fault of the table, and all of them are spoilt; another has seen
nothing but faults.
"""

import shutil
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.e2e.bad_material import BAD, FLAWED, OUT_OF_DATES
from tests.e2e.certificates import Pair, issue, place
from tests.e2e.conftest import Launch
from tests.e2e.metrics import Metrics
from tests.e2e.polling import wait_until
from tests.e2e.raw_client import TlsClient
from tests.e2e.scripted_app import ScriptedApp
from tests.e2e.sidecar_process import Line, Sidecar

REPORTED = 15.0
"""Seconds within which what stays broken has been told of, and looked at again."""
NOTICED = 10.0
"""Seconds from forty good pairs to handshakes that show them all, on a busy machine."""
REFUSED = BAD | OUT_OF_DATES
ANYBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""A client that believes whatever it is shown."""
ANYBODY.check_hostname = False
ANYBODY.verify_mode = ssl.CERT_NONE


def host(name: str) -> str:
    return f"{name}.test"


def certificates(process: Sidecar) -> dict[str, Line]:
    """What /status tells of each name."""
    listed = process.status()["certificates"]
    assert isinstance(listed, list)
    return {one["name"]: one for one in listed}


def presented(process: Sidecar, name: str) -> str:
    """The fingerprint of what a client is shown that asks for the name."""
    with TlsClient(process.port, ANYBODY, server_name=host(name)) as client:
        shown = client.tls.getpeercert(binary_form=True)
    assert shown is not None
    return fingerprint(ssl.DER_cert_to_PEM_cert(shown).encode())


def fingerprint(chain: bytes) -> str:
    return x509.load_pem_x509_certificate(chain).fingerprint(hashes.SHA256()).hex()


def drifting(process: Sidecar) -> int:
    return sum(one["error"] is not None for one in certificates(process).values())


@dataclass
class Stage:
    """What was seen of the process at one time."""

    process: Sidecar
    pairs: dict[str, Pair]
    """What is to be served, by name."""
    status: dict[str, Line]
    metrics: Metrics
    presented: dict[str, str]
    """Fingerprints."""
    ready: int


def look(process: Sidecar, pairs: dict[str, Pair]) -> Stage:
    shown = {name: presented(process, name) for name in pairs}
    ready = process.ask_admin("/readyz").status
    return Stage(process, pairs, certificates(process), process.metrics(), shown, ready)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bad")


@pytest.fixture(scope="module")
def spoilt(launch: Launch, session_app: ScriptedApp, authority: trustme.CA, directory: Path) -> Iterator[Stage]:
    """All names had a good pair, each is spoilt in its own way, and that has been looked at at least twice."""
    pairs = {name: issue(authority, host(name)) for name in REFUSED}
    for name, pair in pairs.items():
        (directory / name).mkdir()
        place(directory / name, pair)
    names = ",".join(pairs)
    with launch(APP_PORT=session_app.port, CERT_DIR=directory, CERT_NAME=names, CERT_RESYNC_PERIOD="1s") as process:
        for name, fault in REFUSED.items():
            fault.make(directory / name)

        def all_seen_twice() -> bool:
            counts = process.metrics().by("tlsproxy_certificate_reloads_total", "name", "result")
            return all(counts.get((name, "failed"), 0) >= 2 for name in REFUSED)

        wait_until(all_seen_twice, f"each fault reported; {process.stderr()[-4000:]}", REPORTED)
        yield look(process, pairs)


@pytest.fixture(scope="module")
def restored(spoilt: Stage, authority: trustme.CA, directory: Path) -> Stage:
    """Then each name has got a new good pair."""
    process = spoilt.process
    pairs = {name: issue(authority, host(name)) for name in REFUSED}
    for name, pair in pairs.items():
        clear(directory / name)
        place(directory / name, pair)

    def served() -> bool:
        # What was looked at name by name is served in the end, all at once.
        return not drifting(process) and all(
            presented(process, name) == fingerprint(pairs[name].chain) for name in pairs
        )

    wait_until(served, f"all are good again: {process.stderr()[-4000:]}", NOTICED)
    return look(process, pairs)


def clear(path: Path) -> None:
    """An empty directory, whatever was there."""
    if path.is_dir():
        shutil.rmtree(path)
    with suppress(FileNotFoundError):
        path.unlink()
    path.mkdir()


@pytest.mark.parametrize("name", REFUSED)
def test_the_good_pair_is_served_on(spoilt: Stage, name: str) -> None:
    """Clients get the last good pair, and /status and metrics say what is wrong and since when, by fingerprint."""
    served, status = fingerprint(spoilt.pairs[name].chain), spoilt.status[name]
    assert spoilt.presented[name] == status["fingerprint"] == served
    error, drift = status["error"], status["drift"]
    assert isinstance(error, dict)
    assert isinstance(drift, dict)
    assert REFUSED[name].said in error["message"]
    assert error["time"] == drift["since"]
    assert drift["served"] == served
    assert str(status["next_check"]) > drift["since"]
    assert spoilt.metrics.value("tlsproxy_certificate_drift", name=name) == 1
    assert spoilt.metrics.value("tlsproxy_certificate_drift_began_timestamp_seconds", name=name) > 1.7e9
    assert spoilt.metrics.value("tlsproxy_certificate_reloads_total", name=name, result="loaded") == 1


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_said_once(spoilt: Stage, name: str) -> None:
    """One error names file and reason and what is served on, however often the files were looked at."""
    complaints = [line for line in spoilt.process.told(f"certificate {name}: ") if line["level"] == "error"]
    (complaint,) = complaints
    assert REFUSED[name].said in str(complaint["message"])
    assert str(complaint["message"]).endswith(f"; serial {spoilt.pairs[name].serial} is served")


def test_what_another_certificate_is_on_disk_is_told(spoilt: Stage) -> None:
    """Drift names the certificate that is there though it can't be served, where it can be read."""
    for name, seen in [("expired", True), ("another-certificate", True), ("empty-certificate", False)]:
        drift = spoilt.status[name]["drift"]
        assert isinstance(drift, dict)
        assert (drift["on_disk"] is not None) == seen
        assert drift["on_disk"] != drift["served"]


def test_requests_are_served_as_before(spoilt: Stage) -> None:
    """Readiness does not change: the last good pairs are valid."""
    assert spoilt.ready == 200


@pytest.mark.parametrize("name", REFUSED)
def test_a_good_pair_is_taken_at_once(restored: Stage, name: str) -> None:
    """When the files are good again they are served, and nothing is wrong any more."""
    status = restored.status[name]
    assert restored.presented[name] == status["fingerprint"] == fingerprint(restored.pairs[name].chain)
    assert status["error"] is status["drift"] is None
    assert restored.metrics.value("tlsproxy_certificate_drift", name=name) == 0
    assert restored.metrics.value("tlsproxy_certificate_reloads_total", name=name, result="loaded") == 2


# From the start


@pytest.fixture(scope="module")
def bad_from_the_start(
    launch: Launch, session_app: ScriptedApp, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Sidecar, Path]]:
    """A process that has never seen a good pair, and where its certificates lie."""
    directory = tmp_path_factory.mktemp("start")
    for name, fault in BAD.items():
        (directory / name).mkdir()
        place(directory / name, issue(authority, host(name)))
        fault.make(directory / name)
    with launch(wait=False, APP_PORT=session_app.port, CERT_DIR=directory, CERT_NAME=",".join(BAD)) as process:
        wait_until(lambda: process.told(f"certificate {[*BAD][-1]}: "), "all faults", REPORTED)
        yield process, directory


@pytest.mark.parametrize("name", BAD)
def test_each_is_refused_at_the_start(bad_from_the_start: tuple[Sidecar, Path], name: str) -> None:
    """Without a good pair before it each fault is said too, and that nothing is served."""
    process, _ = bad_from_the_start
    (complaint,) = process.told(f"certificate {name}: ")
    assert REFUSED[name].said in str(complaint["message"])
    assert str(complaint["message"]).endswith("; nothing is served")


def test_the_first_good_pair_ends_the_wait(bad_from_the_start: tuple[Sidecar, Path], authority: trustme.CA) -> None:
    """While there is nothing to serve, probes say no; the first good pair is served at once, whatever lies beside."""
    process, directory = bad_from_the_start
    for path in ("/startupz", "/readyz"):
        answer = process.ask_admin(path)
        assert answer.status == 503
        assert b"[-]certificate: " in answer.body
    name = "empty-key"
    pair = issue(authority, host(name), "localhost")
    place(directory / name, pair)
    process.wait_until_listening()
    assert presented(process, name) == fingerprint(pair.chain)
    assert process.ask_admin("/readyz").status == 200


@pytest.fixture(scope="module")
def flawed(launch: Launch, session_app: ScriptedApp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """A process that has nothing but flawed material, and looks at it all the time."""
    directory = tmp_path_factory.mktemp("flawed")
    for name, flaw in FLAWED.items():
        (directory / name).mkdir()
        flaw.make(directory / name)
    names = ",".join(FLAWED)
    with launch(APP_PORT=session_app.port, CERT_DIR=directory, CERT_NAME=names, CERT_RESYNC_PERIOD="200ms") as process:
        yield process


@pytest.mark.parametrize("name", FLAWED)
def test_what_can_be_served_is(flawed: Sidecar, name: str) -> None:
    """A chain in the wrong order is mended and one without its intermediate served, each with a warning, once."""
    (warning,) = flawed.told(FLAWED[name].said)
    assert warning["level"] == "warning"
    assert f"certificate {name}: " in str(warning["message"])
    status = certificates(flawed)[name]
    assert any(FLAWED[name].said in text for text in status["warnings"])  # type: ignore[attr-defined]  # a list
    assert flawed.ask_admin("/readyz").status == 200


@pytest.mark.parametrize("name", OUT_OF_DATES)
def test_not_ready_only_where_nothing_valid_is(
    sidecar: Launch, app: ScriptedApp, authority: trustme.CA, tmp_path: Path, name: str
) -> None:
    """A certificate outside its dates is served where there is no other, but it is not ready; a valid one ends that."""
    OUT_OF_DATES[name].make(tmp_path)
    process = sidecar(CERT_DIR=tmp_path)
    assert process.ask_admin("/startupz").status == 200
    answer = process.ask_admin("/readyz")
    assert answer.status == 503
    assert b"[-]certificate: nothing that is served is within its dates\n" in answer.body
    assert presented(process, name)
    pair = issue(authority)
    place(tmp_path, pair)
    wait_until(lambda: presented(process, name) == fingerprint(pair.chain), "the valid one", NOTICED)
    assert process.ask_admin("/readyz").status == 200
