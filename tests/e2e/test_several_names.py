"""Several certificates behind one port: picked by SNI and by the client's means, each reloaded on its own."""

import contextlib
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.e2e.certificates import Pair, issue, place
from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.raw_client import TlsClient, get
from tests.e2e.scripted_app import ScriptedApp
from tests.e2e.sidecar_process import Sidecar
from tests.tls import material

NEVER = "1h"
WITHIN = 5.0
"""Seconds in which a change is seen; a name that vanishes is given two to come back."""
UNRECOGNIZED_NAME = "TLSV1_UNRECOGNIZED_NAME"


def mount(authority: trustme.CA, directory: Path, name: str, *hosts: str) -> Pair:
    """A fresh certificate for the hosts, else for NAME.example, under the name."""
    pair = issue(authority, *(hosts or (f"{name}.example",)))
    (directory / name).mkdir(exist_ok=True)
    place(directory / name, pair)
    return pair


def client(sidecar: Sidecar, host: str | None, trust: ssl.SSLContext | None = None) -> TlsClient:
    """A connection that asks for the host by SNI, or for none, and looks at no name itself."""
    trust = trust or ssl.create_default_context(cadata=sidecar.authority.cert_pem.bytes().decode())
    trust.check_hostname = False
    return TlsClient(sidecar.port, trust, server_name=host)


def shown(sidecar: Sidecar, host: str | None, trust: ssl.SSLContext | None = None) -> str:
    """The serial number of the certificate that a client gets who asks for the host."""
    with client(sidecar, host, trust) as connection:
        return str((connection.tls.getpeercert() or {})["serialNumber"])


def wait_for(sidecar: Sidecar, host: str, pair: Pair) -> None:
    wait_until(lambda: shown(sidecar, host) == pair.serial, f"{host} shows {pair.serial}", WITHIN)


# A list


@pytest.fixture(scope="module")
def listed_dir(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Path:
    """Three certificates, one with a wildcard; tests may change `blog`."""
    directory = tmp_path_factory.mktemp("listed")
    mount(authority, directory, "shop")
    mount(authority, directory, "blog", "blog.example", "xn--bcher-kva.example")
    mount(authority, directory, "wild", "*.shop.example")
    return directory


@pytest.fixture(scope="module")
def module_listed(launch: Launch, session_app: ScriptedApp, listed_dir: Path) -> Iterator[Sidecar]:
    """A sidecar that serves them, with nothing but events to go by."""
    with launch(
        APP_PORT=session_app.port, CERT_DIR=listed_dir, CERT_NAME="shop,blog,wild", CERT_RESYNC_PERIOD=NEVER
    ) as process:
        yield process


@pytest.fixture
def listed(module_listed: Sidecar, app: ScriptedApp) -> Sidecar:
    """It, before `app`."""
    return module_listed


def mounted(directory: Path, name: str) -> str:
    """The serial number of what is mounted under the name."""
    return Pair((directory / name / "tls.crt").read_bytes(), b"").serial


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("shop.example", "shop"),
        ("blog.example", "blog"),
        ("BLOG.Example", "blog"),
        ("b\xfccher.example", "blog"),
        ("eu.shop.example", "wild"),
        ("a.eu.shop.example", "shop"),
        ("stranger.example", "shop"),
        (None, "shop"),
    ],
)
def test_sni_picks_the_certificate(listed: Sidecar, listed_dir: Path, host: str | None, name: str) -> None:
    """Exactly, else by a wildcard for one label, else the default; the request is served whatever its Host."""
    assert shown(listed, host) == mounted(listed_dir, name)
    with client(listed, host) as connection:
        assert connection.ask(get(host="elsewhere.example")).status == 200


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssls_client_gets_what_it_asks_for(listed: Sidecar, listed_dir: Path, version: str, tmp_path: Path) -> None:
    """`openssl s_client -servername` verifies the host of each certificate."""
    ca = tmp_path / "ca.crt"
    ca.write_bytes(listed.authority.cert_pem.bytes())
    for host in ("shop.example", "blog.example", "eu.shop.example"):
        told = openssl(listed, version, "-servername", host, "-verify_hostname", host, "-CAfile", str(ca))
        assert "Verification: OK" in told
        assert f"Verified peername: {host}" in told or f"Verified peername: *.{host.partition('.')[2]}" in told


def openssl(sidecar: Sidecar, *arguments: str) -> str:
    if not shutil.which("openssl"):
        pytest.skip("openssl is missing")
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{sidecar.port}", *arguments]
    return subprocess.run(command, input="", capture_output=True, text=True, timeout=10, check=False).stdout


def test_a_request_line_has_the_name_that_was_asked_for(listed: Sidecar) -> None:
    """Whichever context the handshake went on with."""
    listed.forget_lines()
    with client(listed, "blog.example") as connection:
        connection.get("/named")
    assert listed.wait_for_line(target="/named")["sni"] == "blog.example"


def test_each_reloads_on_its_own(listed: Sidecar, listed_dir: Path, authority: trustme.CA) -> None:
    """A new certificate is served, a bad one is told of and leaves its last good one; the others stay as they were."""
    others = {host: shown(listed, host) for host in ("shop.example", "eu.shop.example")}
    pair = mount(authority, listed_dir, "blog")
    wait_for(listed, "blog.example", pair)
    (listed_dir / "blog" / "tls.key").write_bytes(issue(authority).key)
    wait_until(lambda: listed.metrics().value("tlsproxy_certificate_drift", name="blog"), "drift of blog", WITHIN)
    assert shown(listed, "blog.example") == pair.serial
    (complaint,) = listed.told("certificate blog: the key in")
    assert complaint["level"] == "error"
    metrics = listed.metrics()
    assert metrics.by("tlsproxy_certificate_drift", "name") == {("blog",): 1}
    assert metrics.value("tlsproxy_certificate_reloads_total", name="shop", result="loaded") == 1
    assert listed.ask_admin("/readyz").status == 200
    # Beside a name that stays broken another's change is seen as soon as ever.
    shop = mount(authority, listed_dir, "shop")
    wait_for(listed, "shop.example", shop)
    mended = mount(authority, listed_dir, "blog", "blog.example", "xn--bcher-kva.example")
    wait_for(listed, "blog.example", mended)
    wait_until(lambda: not listed.metrics().by("tlsproxy_certificate_drift", "name"), "no drift", WITHIN)
    assert shown(listed, "eu.shop.example") == others["eu.shop.example"]
    certificates = listed.status()["certificates"]
    assert isinstance(certificates, list)
    assert [certificate["name"] for certificate in certificates] == ["shop", "blog", "wild"]


def test_one_bad_pair_among_good_ones(sidecar: Launch, app: ScriptedApp, authority: trustme.CA, tmp_path: Path) -> None:
    """At the start too: the good ones are served, the first of them to whoever asks for no name or a bad one's."""
    (tmp_path / "bad").mkdir()
    place(tmp_path / "bad", Pair(issue(authority).chain, issue(authority).key))
    good = mount(authority, tmp_path, "good")
    process = sidecar(CERT_DIR=tmp_path, CERT_NAME="bad,absent,good")
    assert {shown(process, host) for host in ("good.example", "bad.example", None)} == {good.serial}
    assert process.told("certificate bad: the key in")
    assert process.told("no certificate named 'absent'")
    assert process.ask_admin("/readyz").status == 200


# Everything that is there


def test_a_star_follows_the_directory(sidecar: Launch, app: ScriptedApp, authority: trustme.CA, tmp_path: Path) -> None:
    """What is added is served, what vanishes is dropped after a while, and what is open goes on."""
    first = mount(authority, tmp_path, "m")
    (tmp_path / "y").mkdir()
    process = sidecar(CERT_DIR=tmp_path, CERT_NAME="*", CERT_RESYNC_PERIOD=NEVER)
    with client(process, "m.example") as opened:
        added = mount(authority, tmp_path, "z")
        wait_for(process, "z.example", added)
        filled = mount(authority, tmp_path, "y")
        wait_for(process, "y.example", filled)
        flat = issue(authority, "b.example")
        (tmp_path / "b.key").write_bytes(flat.key)
        (tmp_path / "b.crt").write_bytes(flat.chain)
        wait_for(process, "b.example", flat)
        renewed = mount(authority, tmp_path, "z")
        wait_for(process, "z.example", renewed)
        assert shown(process, None) == flat.serial, "the first by the alphabet"
        shutil.rmtree(tmp_path / "z")
        wait_for(process, "z.example", flat)
        assert process.told("certificate z: its files are gone")[0]["level"] == "warning"
        assert process.metrics().value("tlsproxy_certificate_expiry_timestamp_seconds", name="z") == 0
        default = mount(authority, tmp_path, "tls", "anything.example")
        wait_for(process, "stranger.example", default)
        assert shown(process, "m.example") == first.serial
        assert opened.get().status == 200


def test_a_directory_that_is_replaced_loses_no_name(
    sidecar: Launch, app: ScriptedApp, authority: trustme.CA, tmp_path: Path
) -> None:
    """A name whose directory is gone for a moment is served all the while."""
    mount(authority, tmp_path, "a")
    old = mount(authority, tmp_path, "b")
    process = sidecar(CERT_DIR=tmp_path, CERT_NAME="*", CERT_RESYNC_PERIOD=NEVER)
    (tmp_path / "b").rename(tmp_path / ".old")
    with contextlib.suppress(AssertionError):
        # For as long as a burst of events takes to be over, and a little more.
        wait_until(lambda: shown(process, "b.example") != old.serial, "another certificate", 0.8)
    assert shown(process, "b.example") == old.serial
    new = mount(authority, tmp_path, "b")
    wait_for(process, "b.example", new)
    assert not process.told("its files are gone")


def test_a_star_waits_for_the_first_certificate(
    sidecar: Launch, app: ScriptedApp, authority: trustme.CA, tmp_path: Path
) -> None:
    """Where nothing is mounted that is said once, and the first that comes is served."""
    process = sidecar(wait=False, CERT_DIR=tmp_path, CERT_NAME="*")
    wait_until(lambda: process.told("certificate *: none is there yet"), "word of the empty directory", 15)
    pair = mount(authority, tmp_path, "late")
    process.wait_until_listening()
    assert shown(process, "late.example") == pair.serial
    assert len(process.told("none is there yet")) == 1


# Several kinds of key for one name


@pytest.fixture(scope="module")
def root() -> material.Issued:
    """A CA that signs certificates for any kind of key."""
    return material.Request("root", (), ca=True).issue()


@pytest.mark.parametrize("name", ["ec,rsa", "*"])
def test_the_client_picks_the_kind_of_key(
    sidecar: Launch, app: ScriptedApp, root: material.Issued, tmp_path: Path, name: str
) -> None:
    """RSA for those who know nothing else, ECDSA for the rest, with TLS 1.2 and 1.3; either may be renewed."""

    def lay(kind: str, key: str) -> str:
        pair = Pair(*material.Request(names=("both.example",), issuer=root, key=material.key(key)).issue().pair)
        (tmp_path / kind).mkdir(exist_ok=True)
        place(tmp_path / kind, pair)
        return pair.serial

    ec, rsa = lay("ec", "secp256r1"), lay("rsa", "rsa-2048")
    process = sidecar(CERT_DIR=tmp_path, CERT_NAME=name)

    def by_suite(suite: str) -> str:
        trust = material.trusting(root.certificate)
        trust.maximum_version = ssl.TLSVersion.TLSv1_2
        trust.set_ciphers(suite)
        return shown(process, "both.example", trust)

    assert by_suite("ECDHE-RSA-AES128-GCM-SHA256") == rsa
    assert by_suite("ECDHE-ECDSA-AES128-GCM-SHA256") == ec
    for algorithms, kind in [("RSA-PSS+SHA256", "RSA-PSS"), ("ECDSA+SHA256", "ECDSA")]:
        told = openssl(process, "-tls1_3", "-servername", "both.example", "-sigalgs", algorithms)
        assert f"Peer signature type: {kind}" in told
    renewed = lay("rsa", "rsa-2048")
    wait_until(lambda: by_suite("ECDHE-RSA-AES128-GCM-SHA256") == renewed, "the renewed one", WITHIN)
    assert by_suite("ECDHE-ECDSA-AES128-GCM-SHA256") == ec


# Strictly


@pytest.fixture(scope="module")
def module_strict(
    launch: Launch, session_app: ScriptedApp, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sidecar]:
    """A sidecar that serves two names, and no stranger's."""
    directory = tmp_path_factory.mktemp("strict")
    mount(authority, directory, "shop", "shop.example", "127.0.0.1")
    mount(authority, directory, "wild", "*.wild.example")
    with launch(APP_PORT=session_app.port, CERT_DIR=directory, CERT_NAME="shop,wild", SNI_STRICT="on") as process:
        yield process


@pytest.fixture
def strict(module_strict: Sidecar, app: ScriptedApp) -> Sidecar:
    """It, before `app`."""
    module_strict.forget_lines()
    return module_strict


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_strict_refuses_a_strangers_name(strict: Sidecar, authority: trustme.CA, version: ssl.TLSVersion) -> None:
    """A name that no certificate is for is refused by its alert, and counted; no name gets the default."""
    before = strict.metrics().value("tlsproxy_handshake_failures_total", reason="unrecognized_name")
    trust = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    trust.minimum_version = trust.maximum_version = version
    with pytest.raises(ssl.SSLError) as refused:
        client(strict, "stranger.example", trust)
    assert refused.value.reason == UNRECOGNIZED_NAME
    assert strict.metrics().value("tlsproxy_handshake_failures_total", reason="unrecognized_name") == before + 1
    with client(strict, None) as connection:
        assert connection.ask(get(host="shop.example")).status == 200


@pytest.mark.parametrize(
    ("asked", "host", "status"),
    [
        ("shop.example", "shop.example", 200),
        ("shop.example", "SHOP.example.:8443", 200),
        ("shop.example", "127.0.0.1", 200),
        ("shop.example", "a.wild.example", 421),
        ("shop.example", "stranger.example", 421),
        ("a.wild.example", "b.wild.example", 200),
        ("a.wild.example", "wild.example", 421),
        (None, "shop.example", 200),
        (None, "a.wild.example", 421),
    ],
)
def test_strict_answers_for_the_connections_own_hosts(
    strict: Sidecar, app: ScriptedApp, asked: str | None, host: str, status: int
) -> None:
    """A Host that the connection's certificate is not for gets 421, which the app never sees."""
    with client(strict, asked) as connection:
        answer = connection.ask(get("/which", host=host))
        assert answer.status == status
    assert len(app.connections) == (status == 200)
    line = strict.wait_for_line(target="/which")
    assert (line["status"], line["reason"]) == (status, None if status == 200 else "misdirected")


def test_strict_judges_each_request_of_a_connection(strict: Sidecar, app: ScriptedApp) -> None:
    """A request in absolute form is judged by its authority, one behind another too; 421 ends the connection."""
    with client(strict, "shop.example") as connection:
        assert connection.ask(get(host="shop.example")).status == 200
        absolute = get("https://a.wild.example/", host="shop.example")
        answer = connection.ask(absolute)
        assert answer.status == 421
        assert b"http_request_error" in (answer.get(b"Proxy-Status") or b"")
        assert connection.read_to_end() == b""


def test_strict_keeps_a_post_for_another_host_from_the_app(strict: Sidecar, app: ScriptedApp) -> None:
    """Its body is thrown away, and the answer is read."""
    with client(strict, "shop.example") as connection:
        head = b"POST / HTTP/1.1\r\nHost: stranger.example\r\nContent-Length: 100000\r\n\r\n"
        assert connection.ask(head + b"x" * 100_000, "POST").status == 421
    assert app.connections == []


def test_strict_serves_a_request_that_names_no_host(strict: Sidecar, app: ScriptedApp) -> None:
    """An HTTP/1.0 client that sends no Host is on the right connection, whichever that is."""
    with client(strict, "a.wild.example") as connection:
        assert connection.ask(b"GET / HTTP/1.0\r\n\r\n").status == 200
