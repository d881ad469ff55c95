"""Mutual TLS: who gets in, who does not and is told why, and what the app learns of a client."""

import base64
import ssl
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.e2e.certificates import mount_certificate
from tests.e2e.client_certificates import HOUR, certificate_of, issue_client, revocation_list, showing
from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.raw_client import TlsClient, get
from tests.e2e.scripted_app import ScriptedApp
from tests.e2e.sidecar_process import Sidecar

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def issuer() -> trustme.CA:
    """Who signs the clients' certificates; nobody else's word counts."""
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture
def mounted(authority: trustme.CA, issuer: trustme.CA, tmp_path: Path) -> Path:
    """A directory with the sidecar's certificate and the clients' CA beside it, as a Secret has them."""
    directory = tmp_path / "certs"
    directory.mkdir()
    mount_certificate(authority, directory)
    (directory / "ca.crt").write_bytes(issuer.cert_pem.bytes())
    return directory


@pytest.fixture(scope="module")
def required(
    launch: Launch,
    session_app: ScriptedApp,
    authority: trustme.CA,
    issuer: trustme.CA,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Sidecar]:
    """A sidecar that wants certificates of clients, and lets some of them in."""
    directory = tmp_path_factory.mktemp("mutual")
    mount_certificate(authority, directory)
    (directory / "ca.crt").write_bytes(issuer.cert_pem.bytes())
    rules = "cn=reports,dns=*.billing.svc,uri=spiffe://example.org/ns/*"
    with launch(APP_PORT=session_app.port, CERT_DIR=directory, CLIENT_AUTH="required", CLIENT_ALLOW=rules) as process:
        yield process


def ask(sidecar: Sidecar, context: ssl.SSLContext, *fields: str, session: ssl.SSLSession | None = None) -> int:
    """The status of one request over a connection of its own."""
    with sidecar.connect(context, session=session) as client:
        return client.get("/", *fields).status


def refusal(sidecar: Sidecar, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> str:
    """The alert with which a client is refused, as OpenSSL calls it; empty: it is not."""
    try:
        ask(sidecar, context, session=session)
    except ssl.SSLError as error:
        return error.reason or str(error)
    return ""


def wait_for_new_trust(process: Sidecar) -> None:
    """Until clients are verified with the second bundle since the start."""
    wait_until(
        lambda: len(process.told("no revocation list; from ") + process.told("revoked; from ")) == 2, "new trust"
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_the_app_learns_who_calls(
    required: Sidecar,
    app: ScriptedApp,
    authority: trustme.CA,
    issuer: trustme.CA,
    tmp_path: Path,
    version: ssl.TLSVersion,
) -> None:
    """Client-Cert has the certificate (RFC 9440), X-Forwarded-Client-Cert Envoy's words, the log line the subject."""
    required.forget_lines()
    names = (x509.DNSName("api.billing.svc"), x509.UniformResourceIdentifier("urn:uuid:1"))
    path = issue_client(issuer, tmp_path, "a, b", names)
    der = certificate_of(path).public_bytes(Encoding.DER)
    spoofs = ("Client-Cert: :AAAA:", "Client_Cert: :AAAA:", "X-Forwarded-Client-Cert: Hash=0", "Client-Cert-Chain: x")
    assert ask(required, showing(authority, path, version), *spoofs) == 200
    assert app.request.all(b"Client-Cert") == [b":%b:" % base64.b64encode(der)]
    assert app.request.all(b"Client-Cert-Chain") == []
    assert app.request.all(b"Client_Cert") == []
    told = f'Hash={sha256(der).hexdigest()};Subject="CN=a\\, b";URI=urn:uuid:1;DNS=api.billing.svc'
    assert app.request.all(b"X-Forwarded-Client-Cert") == [told.encode()]
    assert required.wait_for_line(status=200)["client_cert"] == "CN=a\\, b"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_without_a_certificate_is_told_so(
    required: Sidecar, authority: trustme.CA, version: ssl.TLSVersion
) -> None:
    """It gets the alert of its version, and is counted and told of in the log."""
    before = required.metrics().value("tlsproxy_handshake_failures_total", reason="certificate_required")
    wanted = "CERTIFICATE_REQUIRED" if version == ssl.TLSVersion.TLSv1_3 else "HANDSHAKE_FAILURE"
    assert wanted in refusal(required, showing(authority, version=version))
    after = required.metrics().value("tlsproxy_handshake_failures_total", reason="certificate_required")
    assert after == before + 1
    assert required.told("client 127.0.0.1 refused: certificate_required")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_of_a_foreign_ca_is_refused(
    required: Sidecar, authority: trustme.CA, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """What the bundle's CAs have not signed fails the handshake, whatever it is called."""
    path = issue_client(trustme.CA(key_type=trustme.KeyType.ECDSA), tmp_path, "reports")
    assert "UNKNOWN_CA" in refusal(required, showing(authority, path, version))
    assert required.metrics().value("tlsproxy_handshake_failures_total", reason="unknown_client_ca")


def test_the_certificates_own_ca_is_not_enough(required: Sidecar, authority: trustme.CA, tmp_path: Path) -> None:
    """Who signed the sidecar's certificate signs for no client."""
    assert "UNKNOWN_CA" in refusal(required, showing(authority, issue_client(authority, tmp_path, "reports")))


def test_a_client_outside_the_rules_gets_403(
    required: Sidecar, app: ScriptedApp, authority: trustme.CA, issuer: trustme.CA, tmp_path: Path
) -> None:
    """Nothing of its request reaches the app; the log has its subject and the rules, the request line the reason."""
    required.forget_lines()
    before = required.metrics().value("tlsproxy_clients_denied_total", reason="not_allowed")
    assert ask(required, showing(authority, issue_client(issuer, tmp_path, "reports2"))) == 403
    assert app.requests == []
    line = required.wait_for_line(status=403)
    assert (line["reason"], line["client_cert"]) == ("denied", "CN=reports2")
    assert required.metrics().value("tlsproxy_clients_denied_total", reason="not_allowed") == before + 1
    (audit,) = required.told("CN=reports2")
    assert "CLIENT_ALLOW=cn=reports,dns=*.billing.svc,uri=spiffe://example.org/ns/*" in str(audit["message"])


def test_a_name_cannot_forge_a_header(
    sidecar: Launch, app: ScriptedApp, authority: trustme.CA, issuer: trustme.CA, mounted: Path, tmp_path: Path
) -> None:
    """Line ends and other than ASCII in a subject are written as RFC 4514 escapes, for the app and in the log."""
    process = sidecar(CERT_DIR=mounted, CLIENT_AUTH="required")
    path = issue_client(issuer, tmp_path, 'é"\r\nX-Evil: 1')
    assert ask(process, showing(authority, path)) == 200
    assert app.request.get(b"X-Evil") is None
    assert b'Subject="CN=\\C3\\A9\\"\\0D\\0AX-Evil: 1"' in (app.request.get(b"X-Forwarded-Client-Cert") or b"")


def test_optional_lets_in_who_shows_nothing(
    sidecar: Launch, app: ScriptedApp, authority: trustme.CA, issuer: trustme.CA, mounted: Path, tmp_path: Path
) -> None:
    """Probes need no certificate, and the app is told of none; one that is shown has to be good."""
    process = sidecar(CERT_DIR=mounted, CLIENT_AUTH="optional", CLIENT_ALLOW="cn=reports")
    assert ask(process, showing(authority), "Client-Cert: :AAAA:") == 200
    assert app.request.get(b"Client-Cert") is None
    assert app.request.get(b"X-Forwarded-Client-Cert") is None
    assert ask(process, showing(authority, issue_client(issuer, tmp_path, "reports"))) == 200
    assert ask(process, showing(authority, issue_client(issuer, tmp_path, "other"))) == 403
    assert "UNKNOWN_CA" in refusal(process, showing(authority, issue_client(authority, tmp_path, "reports")))


def test_observe_tells_who_would_be_refused(
    sidecar: Launch, app: ScriptedApp, authority: trustme.CA, issuer: trustme.CA, mounted: Path, tmp_path: Path
) -> None:
    """Clients without a certificate or outside the rules are let in, counted and logged; a foreign CA's are not."""
    process = sidecar(CERT_DIR=mounted, CLIENT_AUTH="observe", CLIENT_ALLOW="cn=reports")
    assert ask(process, showing(authority)) == 200
    assert ask(process, showing(authority, issue_client(issuer, tmp_path, "other"))) == 200
    assert ask(process, showing(authority, issue_client(issuer, tmp_path, "reports"))) == 200
    assert process.metrics().by("tlsproxy_clients_observed_total", "reason") == {
        ("no_certificate",): 1,
        ("not_allowed",): 1,
    }
    assert process.metrics().by("tlsproxy_clients_denied_total", "reason") == {}
    assert process.told("has no certificate and is let in")
    assert process.told("would be denied, and is let in (TLSPROXY_CLIENT_AUTH=observe): CN=other")
    assert "UNKNOWN_CA" in refusal(process, showing(authority, issue_client(authority, tmp_path, "reports")))
    assert process.metrics().value("tlsproxy_handshake_failures_total", reason="unknown_client_ca") == 1


def test_tcp_mode_closes_on_who_is_denied(
    sidecar: Launch, app: ScriptedApp, authority: trustme.CA, issuer: trustme.CA, mounted: Path, tmp_path: Path
) -> None:
    """Outside the rules the connection ends before the app hears of it, without looking like an answer."""
    process = sidecar(CERT_DIR=mounted, MODE="tcp", CLIENT_AUTH="required", CLIENT_ALLOW="cn=reports")
    with process.connect(showing(authority, issue_client(issuer, tmp_path, "other"))) as client:
        assert client.read_to_end() == b""
        assert client.ended != "close_notify"
    assert app.connections == []
    assert process.told("denied: CN=other")
    assert process.wait_for_line(status=403)["reason"] == "denied"
    with process.connect(showing(authority, issue_client(issuer, tmp_path, "reports"))) as client:
        assert client.ask(get()).status == 200


def test_curl_shows_its_certificate(required: Sidecar, app: ScriptedApp, issuer: trustme.CA, tmp_path: Path) -> None:
    """curl --cert comes in, curl without it does not."""
    path, trusted = issue_client(issuer, tmp_path, "reports"), tmp_path / "server.crt"
    trusted.write_bytes(required.authority.cert_pem.bytes())
    command: list[str | Path] = [
        "curl",
        "--silent",
        "--show-error",
        "--fail",
        "--cacert",
        trusted,
        f"https://localhost:{required.port}/",
    ]
    subprocess.run([*command, "--cert", path], check=True, timeout=10, capture_output=True)
    assert app.request.get(b"Client-Cert")
    assert subprocess.run(command, check=False, timeout=10, capture_output=True).returncode != 0


# --- Tickets -------------------------------------------------------------------------------------------------


def ticket(process: Sidecar, context: ssl.SSLContext) -> ssl.SSLSession:
    """A session that resumes at this moment."""
    with process.connect(context) as client:
        assert client.get().status == 200
        session = client.tls.session
    assert session is not None
    with process.connect(context, session=session) as client:
        assert client.get().status == 200
        assert client.tls.session_reused
    return session


@pytest.mark.parametrize("version", VERSIONS)
def test_a_resumed_session_is_judged_and_told_of_as_well(
    required: Sidecar,
    app: ScriptedApp,
    authority: trustme.CA,
    issuer: trustme.CA,
    tmp_path: Path,
    version: ssl.TLSVersion,
) -> None:
    """The app learns of the certificate on a resumed connection too."""
    path = issue_client(issuer, tmp_path, "reports")
    ticket(required, showing(authority, path, version))
    first, resumed = app.requests
    assert first.get(b"Client-Cert") == resumed.get(b"Client-Cert") is not None


@pytest.mark.parametrize("change", ["bundle", "list"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_ticket_does_not_outlive_its_trust(
    sidecar: Launch,
    app: ScriptedApp,
    authority: trustme.CA,
    issuer: trustme.CA,
    mounted: Path,
    tmp_path: Path,
    version: ssl.TLSVersion,
    change: str,
) -> None:
    """A client whose CA left the bundle, or that is on the new list, does not come in on a session from before."""
    other = trustme.CA(key_type=trustme.KeyType.ECDSA)
    (mounted / "ca.crt").write_bytes(issuer.cert_pem.bytes() + other.cert_pem.bytes())
    (mounted / "ca.crl").write_bytes(revocation_list(issuer) + revocation_list(other))
    process = sidecar(CERT_DIR=mounted, CLIENT_AUTH="required", CERT_RESYNC_PERIOD="1h")
    path = issue_client(issuer, tmp_path, "reports")
    context = showing(authority, path, version)
    session = ticket(process, context)
    if change == "bundle":
        (mounted / "ca.crt").write_bytes(other.cert_pem.bytes())
    else:
        (mounted / "ca.crl").write_bytes(revocation_list(issuer, path) + revocation_list(other))
    wait_for_new_trust(process)
    alert = "UNKNOWN_CA" if change == "bundle" else "CERTIFICATE_REVOKED"
    assert alert in refusal(process, context, session)
    assert alert in refusal(process, context)
    assert ask(process, showing(authority, issue_client(other, tmp_path, "reports"), version)) == 200


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssls_session_does_not_outlive_its_trust(
    sidecar: Launch, authority: trustme.CA, issuer: trustme.CA, mounted: Path, tmp_path: Path, version: str
) -> None:
    """The same with a session that openssl s_client has saved in a file, and under another name."""
    process = sidecar(CERT_DIR=mounted, CLIENT_AUTH="required", CERT_RESYNC_PERIOD="1h")
    path, session = issue_client(issuer, tmp_path, "reports"), tmp_path / "session"
    (tmp_path / "server.crt").write_bytes(authority.cert_pem.bytes())
    saved = s_client(process, path, version, "localhost", "-sess_out", session)
    assert b"200 OK" in saved
    assert b"Reused" in s_client(process, path, version, "localhost", "-sess_in", session)
    (mounted / "ca.crt").write_bytes(trustme.CA(key_type=trustme.KeyType.ECDSA).cert_pem.bytes())
    wait_for_new_trust(process)
    for name in ("localhost", "other.example"):
        answer = s_client(process, path, version, name, "-sess_in", session)
        assert b"200 OK" not in answer
        assert b"Reused" not in answer


def s_client(process: Sidecar, certificate: Path, version: str, name: str, *options: str | Path) -> bytes:
    """What openssl s_client says and is told, asking for one page."""
    command = [
        "openssl",
        "s_client",
        "-connect",
        f"127.0.0.1:{process.port}",
        "-servername",
        name,
        version,
        "-cert",
        certificate,
        "-ign_eof",
        *options,
    ]
    asked = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    return subprocess.run(command, input=asked, capture_output=True, check=False, timeout=10).stdout


# --- What the trust is made of -------------------------------------------------------------------------------


def test_what_is_under_way_goes_on(
    sidecar: Launch, app: ScriptedApp, authority: trustme.CA, issuer: trustme.CA, mounted: Path, tmp_path: Path
) -> None:
    """A connection from before a change of trust goes on; the change closes none."""
    process = sidecar(CERT_DIR=mounted, CLIENT_AUTH="required", CERT_RESYNC_PERIOD="1h")
    with process.connect(showing(authority, issue_client(issuer, tmp_path, "reports"))) as client:
        assert client.get().status == 200
        (mounted / "ca.crt").write_bytes(trustme.CA(key_type=trustme.KeyType.ECDSA).cert_pem.bytes())
        wait_for_new_trust(process)
        assert client.get().status == 200


def test_a_bundle_elsewhere_is_watched(
    sidecar: Launch, authority: trustme.CA, issuer: trustme.CA, mounted: Path, tmp_path: Path
) -> None:
    """CLIENT_CA may lie anywhere, and is reloaded by the same events."""
    bundle = tmp_path / "clients" / "bundle.pem"
    bundle.parent.mkdir()
    bundle.write_bytes(trustme.CA(key_type=trustme.KeyType.ECDSA).cert_pem.bytes())
    process = sidecar(CERT_DIR=mounted, CLIENT_AUTH="required", CLIENT_CA=bundle, CERT_RESYNC_PERIOD="1h")
    context = showing(authority, issue_client(issuer, tmp_path, "reports"))
    assert refusal(process, context)
    bundle.write_bytes(issuer.cert_pem.bytes())
    wait_until(lambda: not refusal(process, context), "the new CA is believed")


def test_bad_trust_never_wins(
    sidecar: Launch, authority: trustme.CA, issuer: trustme.CA, mounted: Path, tmp_path: Path
) -> None:
    """An empty bundle or a lost list changes nothing, and is an error and a drift until it is good again."""
    revoked, good = issue_client(issuer, tmp_path, "reports"), issue_client(issuer, tmp_path, "reports")
    (mounted / "ca.crl").write_bytes(revocation_list(issuer, revoked))
    process = sidecar(CERT_DIR=mounted, CLIENT_AUTH="required")
    (mounted / "ca.crl").unlink()
    wait_until(lambda: process.told("ca.crl is gone"), "the lost list is told of", 10)
    assert process.metrics().value("tlsproxy_client_ca_drift") == 1
    assert "CERTIFICATE_REVOKED" in refusal(process, showing(authority, revoked))
    (mounted / "ca.crt").write_bytes(b"")
    wait_until(lambda: process.told("holds no certificate"), "the empty bundle is told of", 10)
    assert ask(process, showing(authority, good)) == 200
    (mounted / "ca.crt").write_bytes(issuer.cert_pem.bytes())
    (mounted / "ca.crl").write_bytes(revocation_list(issuer))
    wait_until(lambda: process.metrics().value("tlsproxy_client_ca_drift") == 0, "all is well again", 10)
    assert ask(process, showing(authority, revoked)) == 200


def test_a_list_that_is_over_and_one_that_is_missing_are_told_of_loudly(
    sidecar: Launch, authority: trustme.CA, issuer: trustme.CA, mounted: Path, tmp_path: Path
) -> None:
    """Both refuse every client of their CA, which OpenSSL tells nobody: the log says so, and a metric has the date."""
    other = trustme.CA(key_type=trustme.KeyType.ECDSA)
    (mounted / "ca.crt").write_bytes(issuer.cert_pem.bytes() + other.cert_pem.bytes())
    (mounted / "ca.crl").write_bytes(revocation_list(issuer, ends=-HOUR))
    process = sidecar(CERT_DIR=mounted, CLIENT_AUTH="required")
    assert process.told("ALL CLIENTS OF ITS CA ARE REFUSED")
    assert process.told("ALL ITS CLIENTS ARE REFUSED")
    assert refusal(process, showing(authority, issue_client(issuer, tmp_path, "reports")))
    assert refusal(process, showing(authority, issue_client(other, tmp_path, "reports")))
    failures = process.metrics().by("tlsproxy_handshake_failures_total", "reason")
    assert failures == {("client_crl_expired",): 1, ("client_crl_missing",): 1}
    assert process.metrics().value("tlsproxy_client_crl_expiry_timestamp_seconds") > 0


def test_without_a_bundle_nothing_is_served(sidecar: Launch, mounted: Path) -> None:
    """Where no client could be verified the start ends as for a missing certificate, and names the file."""
    (mounted / "ca.crt").unlink()
    process = sidecar(wait=False, CERT_DIR=mounted, CLIENT_AUTH="required", CERT_WAIT="0")
    assert process.wait() == 3
    assert "ca.crt is not there: mount the CAs that issue client certificates" in process.stderr()


def test_each_name_verifies_with_the_same_trust(
    sidecar: Launch, authority: trustme.CA, issuer: trustme.CA, mounted: Path, tmp_path: Path
) -> None:
    """Whatever name is asked for, the bundle is the listener's; a ticket of one name is as dead under another."""
    second = mounted / "second"
    second.mkdir()
    mount_certificate(authority, second, "second.example")
    process = sidecar(CERT_DIR=mounted, CERT_NAME="tls,second", CLIENT_AUTH="required", CERT_RESYNC_PERIOD="1h")
    context = showing(authority, issue_client(issuer, tmp_path, "reports"), ssl.TLSVersion.TLSv1_3)
    context.check_hostname = False
    with TlsClient(process.port, context, server_name="second.example") as client:
        assert client.get().status == 200
        session = client.tls.session
    (mounted / "ca.crt").write_bytes(trustme.CA(key_type=trustme.KeyType.ECDSA).cert_pem.bytes())
    wait_for_new_trust(process)
    for name in ("second.example", "localhost"):
        with (
            pytest.raises(ssl.SSLError, match=r"(?i)unknown.ca"),
            TlsClient(process.port, context, server_name=name, session=session) as client,
        ):
            client.get()
