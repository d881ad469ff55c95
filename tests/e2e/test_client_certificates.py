"""Mutual TLS: who gets in, who does not and is told why, and what the app learns of a client."""

import base64
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
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


def wait_until_refused(process: Sidecar, context: ssl.SSLContext) -> None:
    """Until a client that was believed is not any more, by a whole handshake."""
    wait_until(lambda: refusal(process, context), "new trust")


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
    assert b'Subject="CN=\\C3\\A9\\22\\0D\\0AX-Evil: 1"' in (app.request.get(b"X-Forwarded-Client-Cert") or b"")


def test_a_large_certificate_is_told_whole(
    required: Sidecar, app: ScriptedApp, authority: trustme.CA, issuer: trustme.CA, tmp_path: Path
) -> None:
    """One of 16 kB, which takes two records, reaches the app with all its names."""
    names = [x509.DNSName(f"{number:050}.example") for number in range(270)]
    path = issue_client(issuer, tmp_path, "reports", names)
    der = certificate_of(path).public_bytes(Encoding.DER)
    assert len(der) > 16_384
    assert ask(required, showing(authority, path)) == 200
    assert app.request.all(b"Client-Cert") == [b":%b:" % base64.b64encode(der)]
    assert (app.request.get(b"X-Forwarded-Client-Cert") or b"").count(b";DNS=") == len(names)


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


# --- Paths that are free of a certificate ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded_sidecar(
    launch: Launch,
    session_app: ScriptedApp,
    authority: trustme.CA,
    issuer: trustme.CA,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Sidecar]:
    """A sidecar that needs certificates on all but two paths, tells their chains, and is strict about hosts."""
    directory = tmp_path_factory.mktemp("guarded")
    mount_certificate(authority, directory)
    (directory / "ca.crt").write_bytes(issuer.cert_pem.bytes())
    with launch(
        APP_PORT=session_app.port,
        CERT_DIR=directory,
        SNI_STRICT="on",
        CLIENT_AUTH="optional",
        CLIENT_ALLOW="cn=reports",
        CLIENT_EXEMPT="/healthz,/ping",
        CLIENT_CHAIN="on",
    ) as process:
        yield process


@pytest.fixture
def guarded(guarded_sidecar: Sidecar, app: ScriptedApp) -> Sidecar:
    """The same, with the app fresh and its request lines forgotten."""
    guarded_sidecar.forget_lines()
    return guarded_sidecar


def test_probes_need_no_certificate(guarded: Sidecar, app: ScriptedApp) -> None:
    """On one connection the listed paths are served and others are not, which is counted and told of."""
    before = guarded.metrics().value("tlsproxy_clients_denied_total", reason="no_certificate")
    with guarded.connect() as client:
        assert client.get("/healthz?x").status == 200
        assert client.ask(b"HEAD /ping HTTP/1.1\r\nHost: localhost\r\n\r\n", "HEAD").status == 200
        answer = client.get("/admin")
        assert answer.status == 403
        assert b"a client certificate is needed here" in answer.body
        assert client.read_to_end() == b""
    assert [request.target for request in app.requests] == [b"/healthz?x", b"/ping"]
    line = guarded.wait_for_line(status=403)
    assert (line["target"], line["reason"], line["client_cert"]) == ("/admin", "denied", None)
    assert guarded.metrics().value("tlsproxy_clients_denied_total", reason="no_certificate") == before + 1
    assert guarded.told("client 127.0.0.1 denied: it has shown no certificate, and asked for more than TLSPROXY_CLIENT")


NO_PROBES = [
    b"GET /healthz/../admin HTTP/1.1\r\n",
    b"GET //healthz HTTP/1.1\r\n",
    b"GET /healthz;x HTTP/1.1\r\n",
    b"GET /%68ealthz HTTP/1.1\r\n",
    b"GET https://localhost/admin?/healthz HTTP/1.1\r\n",
    b"GET https://localhost//healthz HTTP/1.1\r\n",
    b"POST /healthz HTTP/1.1\r\nContent-Length: 0\r\n",
    b"GET /healthz HTTP/1.1\r\nContent-Length: 1\r\n",
    b"GET /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
    b"GET /healthz HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
    b"GET /healthz HTTP/1.1\r\nX-Original-URL: /admin\r\n",
]


@pytest.mark.parametrize("lines", NO_PROBES)
def test_nothing_else_comes_in_by_a_probes_path(guarded: Sidecar, app: ScriptedApp, lines: bytes) -> None:
    """Whatever an app could read otherwise, or goes beyond a GET or HEAD, needs a certificate."""
    with guarded.connect() as client:
        assert client.ask(lines + b"Host: localhost\r\n\r\n").status == 403
    assert app.requests == []


def test_with_a_certificate_all_is_as_before(
    guarded: Sidecar, app: ScriptedApp, authority: trustme.CA, issuer: trustme.CA, tmp_path: Path
) -> None:
    """Who is let in is on each path, who is not is on none, and hosts are judged besides."""
    with guarded.connect(showing(authority, issue_client(issuer, tmp_path, "reports"))) as client:
        assert client.get("/admin").status == 200
        assert client.ask(get(host="other.example")).status == 421
    for path in ("/admin", "/healthz"):
        with guarded.connect(showing(authority, issue_client(issuer, tmp_path, "other"))) as client:
            assert client.get(path).status == 403
    with guarded.connect() as client:
        assert client.ask(get("/healthz", host="other.example")).status == 421
    assert len(app.requests) == 1


def test_curl_probes(guarded: Sidecar, app: ScriptedApp, tmp_path: Path) -> None:
    """curl gets a probe's answer without a certificate, and by no trick of its path another."""
    trusted = tmp_path / "server.crt"
    trusted.write_bytes(guarded.authority.cert_pem.bytes())
    command = ["curl", "--silent", "--path-as-is", "--cacert", str(trusted), "--write-out", "%{http_code} "]
    targets = ("healthz", "healthz/../admin", "healthz%2f..%2fadmin", "ping?x")
    urls = [f"https://localhost:{guarded.port}/{target}" for target in targets]
    outputs = [part for _ in urls for part in ("--output", "/dev/null")]
    said = subprocess.run([*command, *outputs, *urls], check=True, timeout=10, capture_output=True, text=True).stdout
    assert said.split() == ["200", "403", "403", "200"]
    assert [request.target for request in app.requests] == [b"/healthz", b"/ping?x"]


# --- The chain -----------------------------------------------------------------------------------------------


def issue_below(issuer: trustme.CA, directory: Path, common_name: str) -> tuple[Path, list[bytes]]:
    """A certificate of an intermediate's, which stands behind it in the file, and the header that tells its chain."""
    middle = issuer.create_child_ca(key_type=trustme.KeyType.ECDSA)
    path = issue_client(middle, directory, common_name)
    path.write_bytes(path.read_bytes() + middle.cert_pem.bytes())
    above = [ssl.PEM_cert_to_DER_cert(one.cert_pem.bytes().decode()) for one in (middle, issuer)]
    return path, [b", ".join(b":%b:" % base64.b64encode(one) for one in above)]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_app_is_told_the_chain(
    guarded: Sidecar,
    app: ScriptedApp,
    authority: trustme.CA,
    issuer: trustme.CA,
    tmp_path: Path,
    version: ssl.TLSVersion,
) -> None:
    """Client-Cert-Chain has what is above the certificate, resumed or not, and never what a client says."""
    path, told = issue_below(issuer, tmp_path, "reports")
    context = showing(authority, path, version)
    session = None
    for _ in range(3):
        with guarded.connect(context, session=session) as client:
            assert client.get("/", "Client-Cert-Chain: :AAAA:", "Client_Cert_Chain: :AAAA:").status == 200
            session = client.tls.session
            assert session is None or not session.has_ticket
            client.finish_sending()
            client.read_to_end()
    assert [request.all(b"Client-Cert-Chain") for request in app.requests] == [told] * 3
    assert [request.all(b"Client_Cert_Chain") for request in app.requests] == [[]] * 3


def test_no_certificate_has_no_chain(guarded: Sidecar, app: ScriptedApp) -> None:
    """What a client says of one is dropped on a probe's path too."""
    with guarded.connect() as client:
        assert client.get("/healthz", "Client-Cert-Chain: :AAAA:", "Client-Cert: :AAAA:").status == 200
    assert app.request.all(b"Client-Cert-Chain") == app.request.all(b"Client-Cert") == []


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssls_saved_session_has_the_same_chain(
    guarded: Sidecar, app: ScriptedApp, issuer: trustme.CA, tmp_path: Path, version: str
) -> None:
    """What openssl s_client has saved resumes with TLS 1.2 at most, and with what was verified at its beginning."""
    path, told = issue_below(issuer, tmp_path, "reports")
    session, chain = tmp_path / "session", ("-cert_chain", path)
    assert b"200 OK" in s_client(guarded, path, version, "localhost", *chain, "-sess_out", session)
    if session.exists():
        assert b"200 OK" in s_client(guarded, path, version, "localhost", *chain, "-sess_in", session)
    assert session.exists() is (version == "-tls1_2")
    assert [request.all(b"Client-Cert-Chain") for request in app.requests] == [told] * len(app.requests)


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
    wait_until_refused(process, context)
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
    wait_until_refused(process, showing(authority, path))
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


@pytest.mark.soak
def test_openssls_session_does_not_outlive_its_certificate(
    required: Sidecar, issuer: trustme.CA, tmp_path: Path
) -> None:
    """A session that openssl s_client has saved is of no use once the certificate that it began with has expired."""
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    path, versions = issue_client(issuer, tmp_path, "reports", ends=ends), ("-tls1_2", "-tls1_3")
    for version in versions:
        session = tmp_path / version
        assert b"200 OK" in s_client(required, path, version, "localhost", "-sess_out", session)
        assert b"200 OK" in s_client(required, path, version, "localhost", "-sess_in", session)
    wait_until(lambda: datetime.now(UTC) > ends + timedelta(seconds=1), "the certificate has expired")
    for version in versions:
        answer = s_client(required, path, version, "localhost", "-sess_in", tmp_path / version)
        assert b"Reused" in answer
        assert b"HTTP/1.1" not in answer
    assert len(required.told("refused: its certificate has expired since its session began: CN=reports")) == 2


@pytest.mark.soak
def test_a_ticket_does_not_outlive_the_list(
    sidecar: Launch, authority: trustme.CA, issuer: trustme.CA, mounted: Path, tmp_path: Path
) -> None:
    """Once a revocation list is over nobody comes in on a session from before, as nobody does without one."""
    (mounted / "ca.crl").write_bytes(revocation_list(issuer, ends=timedelta(seconds=4)))
    process = sidecar(CERT_DIR=mounted, CLIENT_AUTH="required", CERT_RESYNC_PERIOD="500ms")
    path = issue_client(issuer, tmp_path, "reports")
    contexts = [showing(authority, path, version) for version in VERSIONS]
    sessions = [ticket(process, context) for context in contexts]
    wait_until(lambda: process.told("ALL CLIENTS OF ITS CA ARE REFUSED"), "the list is over", 10)
    for context, session in zip(contexts, sessions, strict=True):
        wait_until(lambda: "EXPIRED" in refusal(process, context, session), "it is refused")  # noqa: B023 - called here


# --- What the trust is made of -------------------------------------------------------------------------------


def test_what_is_under_way_goes_on(
    sidecar: Launch, app: ScriptedApp, authority: trustme.CA, issuer: trustme.CA, mounted: Path, tmp_path: Path
) -> None:
    """A connection from before a change of trust goes on; the change closes none."""
    process = sidecar(CERT_DIR=mounted, CLIENT_AUTH="required", CERT_RESYNC_PERIOD="1h")
    context = showing(authority, issue_client(issuer, tmp_path, "reports"))
    with process.connect(context) as client:
        assert client.get().status == 200
        (mounted / "ca.crt").write_bytes(trustme.CA(key_type=trustme.KeyType.ECDSA).cert_pem.bytes())
        wait_until_refused(process, context)
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
    wait_until_refused(process, context)
    for name in ("second.example", "localhost"):
        with (
            pytest.raises(ssl.SSLError, match=r"(?i)unknown.ca"),
            TlsClient(process.port, context, server_name=name, session=session) as client,
        ):
            client.get()
