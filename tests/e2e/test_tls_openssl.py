"""`openssl s_client` against the process: what is refused and why, and what is agreed with those who may choose."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.e2e.certificates import issue, swap_secret
from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.programs import program
from tests.e2e.scripted_app import ScriptedApp
from tests.e2e.sidecar_process import Sidecar

WITHIN = 20
# Clients of the past are no longer let speak by their own OpenSSL, unless told so.
OLD = ("-cipher", "DEFAULT@SECLEVEL=0")
FAILURES = "tlsproxy_handshake_failures_total"


@pytest.fixture(scope="module")
def counted_sidecar(launch: Launch, session_app: ScriptedApp) -> Iterator[Sidecar]:
    """A sidecar of this module's own: its counts are nobody else's."""
    with launch(APP_PORT=session_app.port) as process:
        yield process


@pytest.fixture(scope="module")
def modern_sidecar(launch: Launch, session_app: ScriptedApp) -> Iterator[Sidecar]:
    """A sidecar with the modern profile."""
    with launch(APP_PORT=session_app.port, TLS_PROFILE="modern") as process:
        yield process


def s_client(sidecar: Sidecar, *options: str, said: bytes = b"") -> str:
    """What `openssl s_client` prints on both streams."""
    done = subprocess.run(
        [program("openssl", "openssl"), "s_client", "-connect", f"127.0.0.1:{sidecar.port}", *options],
        input=said,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=WITHIN,
        check=False,  # what it says is looked at
    )
    return done.stdout.decode("latin-1")


def failures(sidecar: Sidecar) -> dict[tuple[str, ...], float]:
    """Failed handshakes so far, by reason."""
    return sidecar.metrics().by(FAILURES, "reason")


@pytest.mark.parametrize(
    ("options", "reason", "alert"),
    [
        (("-tls1", *OLD), "unsupported_protocol", "alert protocol version"),
        (("-tls1_1", *OLD), "unsupported_protocol", "alert protocol version"),
        (("-tls1_2", "-fallback_scsv"), "unsupported_protocol", "alert inappropriate fallback"),
        (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"), "no_shared_cipher", "alert handshake failure"),
        (("-tls1_2", "-cipher", "AES128-GCM-SHA256"), "no_shared_cipher", "alert handshake failure"),
        (("-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"), "no_shared_cipher", "alert handshake failure"),
        (("-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"), "no_shared_cipher", "alert handshake failure"),
        (("-tls1_2", "-groups", "brainpoolP256r1"), "no_shared_cipher", "alert handshake failure"),
        (("-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"), "no_shared_signature", "alert handshake failure"),
        (("-tls1_2", "-verify_return_error"), "unknown_ca", ""),
        (("-tls1_3", "-verify_return_error"), "unknown_ca", ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_failure_is_told_and_counted(
    counted_sidecar: Sidecar, options: tuple[str, ...], reason: str, alert: str
) -> None:
    """What can't be agreed gets an alert that says so, and is counted once by its reason."""
    before = failures(counted_sidecar)
    assert alert in s_client(counted_sidecar, *options)
    expected = {**before, (reason,): before.get((reason,), 0) + 1}
    wait_until(lambda: failures(counted_sidecar) == expected, f"one more {reason}")


@pytest.mark.parametrize("options", [("-tls1", *OLD), ("-tls1_1", *OLD), ("-tls1_2",)], ids=lambda value: value[0])
def test_modern_has_no_other_version(modern_sidecar: Sidecar, options: tuple[str, ...]) -> None:
    """The modern profile refuses whatever is not TLS 1.3."""
    assert "alert protocol version" in s_client(modern_sidecar, *options)


def test_nobody_renegotiates(shared_sidecar: Sidecar) -> None:
    """A TLS 1.2 client that asks to renegotiate is told no_renegotiation (RFC 5246 section 7.2.2)."""
    told = s_client(shared_sidecar, "-tls1_2", said=b"R\n")
    assert "RENEGOTIATING" in told
    assert ":no renegotiation:" in told


def test_nothing_is_compressed(shared_sidecar: Sidecar) -> None:
    """A client that would compress (CRIME, CVE-2012-4929) agrees on none."""
    assert "Compression: NONE" in s_client(shared_sidecar, "-tls1_2", "-comp")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize(
    ("groups", "agreed"),
    [("X25519:P-256", "X25519"), ("P-256:X25519", "prime256v1"), ("P-256", "prime256v1")],
)
def test_the_key_exchange_is_the_clients_first(shared_sidecar: Sidecar, version: str, groups: str, agreed: str) -> None:
    """Of the groups that both have the client's first is taken; browsers and OpenSSL begin with X25519."""
    told = s_client(shared_sidecar, version, "-groups", groups)
    assert re.search(rf"Server Temp Key: .*{agreed}", told), told


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_x25519_is_what_openssl_agrees_on(shared_sidecar: Sidecar, version: str) -> None:
    """A client that leaves its groups alone gets X25519, or its post-quantum successor."""
    told = s_client(shared_sidecar, version)
    assert re.search(r"Server Temp Key: X25519|Negotiated TLS1.3 group: X25519MLKEM768", told), told


def test_a_handshake_cut_short_is_counted(counted_sidecar: Sidecar) -> None:
    """A client that hangs up in the middle of its handshake is counted as `reset`."""
    before = failures(counted_sidecar)
    with counted_sidecar.connect_plain() as client:
        client.send(b"\x16\x03\x01\x02\x00\x01")
    expected = {**before, ("reset",): before.get(("reset",), 0) + 1}
    wait_until(lambda: failures(counted_sidecar) == expected, "one more reset")


def test_a_session_ends_with_its_certificate(
    sidecar: Launch, app: ScriptedApp, authority: trustme.CA, tmp_path: Path
) -> None:
    """A client resumes its session until the certificate is another; then its handshake is a whole one."""
    mounted = tmp_path / "certs"
    mounted.mkdir()
    swap_secret(mounted, issue(authority))
    process = sidecar(CERT_DIR=mounted)
    sessions = {version: str(tmp_path / version) for version in ("-tls1_2", "-tls1_3")}
    for version, session in sessions.items():
        # The ticket of TLS 1.3 comes behind the handshake: read on until the answer and the end.
        s_client(process, version, "-sess_out", session, "-ign_eof", said=b"GET / HTTP/1.0\r\n\r\n")
        assert "\nReused, " in s_client(process, version, "-sess_in", session), version
    swap_secret(mounted, after := issue(authority))
    wait_until(lambda: process.certificate()["serial"] == after.serial, "the next certificate")
    for version, session in sessions.items():
        assert "\nNew, " in s_client(process, version, "-sess_in", session), version
