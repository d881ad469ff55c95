"""The certificate that is mounted is served: from each layout, with each kind of key, as soon as it is there."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.e2e.certificates import Pair, issue, mount_certificate, place, swap_secret
from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.scripted_app import ScriptedApp
from tests.e2e.sidecar_process import Sidecar
from tests.tls import material

BOTH = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


# Where it lies


@pytest.mark.parametrize(
    ("name", "certificate", "key"),
    [
        ("shop", "shop/tls.crt", "shop/tls.key"),
        ("tls", "tls/tls.crt", "tls/tls.key"),
        ("tls", "tls.crt", "tls.key"),
        ("shop", "shop/fullchain.pem", "shop/privkey.pem"),
        ("shop", "shop.crt", "shop.key"),
        ("shop", "shop.pem", "shop.pem"),
    ],
)
def test_each_layout_is_served(
    sidecar: Launch, authority: trustme.CA, tmp_path: Path, name: str, certificate: str, key: str
) -> None:
    """A certificate is found in each of the contract's places, and /status and the start line name its file."""
    pair = issue(authority)
    (tmp_path / certificate).parent.mkdir(exist_ok=True)
    (tmp_path / key).write_bytes(pair.key)
    (tmp_path / certificate).write_bytes(pair.chain + (pair.key if key == certificate else b""))
    process = sidecar(CERT_DIR=tmp_path, CERT_NAME=name)
    with process.connect() as client:
        assert (client.tls.getpeercert() or {})["serialNumber"] == pair.serial
        assert client.get().status == 200
    files = list(dict.fromkeys((str(tmp_path / certificate), str(tmp_path / key))))
    assert process.certificate()["files"] == files
    assert str(tmp_path / certificate) in str(process.told("serving HTTPS")[0]["message"])


def test_the_layouts_have_an_order(sidecar: Launch, authority: trustme.CA, tmp_path: Path) -> None:
    """Where several are there, the Secret's own directory comes first."""
    (tmp_path / "tls").mkdir()
    mount_certificate(authority, tmp_path)
    first = mount_certificate(authority, tmp_path / "tls")
    assert sidecar(CERT_DIR=tmp_path).certificate()["serial"] == first.serial


# What it is


@pytest.fixture(scope="module")
def root() -> material.Issued:
    """A CA that signs certificates for any kind of key."""
    return material.Request("root", (), ca=True).issue()


@pytest.fixture(scope="module")
def changing_dir(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Path:
    """A Secret whose certificate tests change."""
    directory = tmp_path_factory.mktemp("keys")
    swap_secret(directory, issue(authority))
    return directory


@pytest.fixture(scope="module")
def changing_sidecar(launch: Launch, session_app: ScriptedApp, changing_dir: Path) -> Iterator[Sidecar]:
    """The sidecar that serves it."""
    with launch(APP_PORT=session_app.port, CERT_DIR=changing_dir) as process:
        yield process


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("rsa-2048", "RSA 2048"),
        ("secp256r1", "ECDSA P-256"),
        ("rsa-3072", "RSA 3072"),
        ("secp384r1", "ECDSA P-384"),
        ("ed25519", "Ed25519"),
    ],
)
def test_each_kind_of_key_is_served(
    changing_sidecar: Sidecar, app: ScriptedApp, changing_dir: Path, root: material.Issued, kind: str, told: str
) -> None:
    """Each kind of key of the contract takes a former one's place, and verifies with TLS 1.2 and 1.3."""
    pair = Pair(*material.Request(issuer=root, key=material.key(kind)).issue().pair)
    swap_secret(changing_dir, pair)
    wait_until(lambda: changing_sidecar.certificate()["serial"] == pair.serial, "the new certificate")
    assert changing_sidecar.certificate()["key_type"] == told
    for version in BOTH:
        client_context = material.trusting(root.certificate)
        client_context.minimum_version = client_context.maximum_version = version
        with changing_sidecar.connect(client_context) as client:
            assert (client.tls.getpeercert() or {})["serialNumber"] == pair.serial
            assert client.get().status == 200


def test_a_mixed_up_chain_is_mended(sidecar: Launch, app: ScriptedApp, tmp_path: Path) -> None:
    """A chain in the wrong order with a stranger in it is served in order, and a warning says so."""
    chain = material.chain()
    stranger = material.Request("stranger", (), ca=True).issue()
    wrong = material.pem(*(one.certificate for one in (chain.upper, stranger, chain.leaf, chain.lower)))
    place(tmp_path, Pair(wrong, chain.leaf.pair[1]))
    process = sidecar(CERT_DIR=tmp_path)
    with process.connect(material.trusting(chain.root.certificate)) as client:
        assert client.get().status == 200
    assert process.told("the chain is not in order")[0]["level"] == "warning"


def test_the_modern_profile_refuses_tls_1_2(sidecar: Launch, app: ScriptedApp) -> None:
    """TLS_PROFILE=modern speaks TLS 1.3 alone, and a client of 1.2 is told why."""
    process = sidecar(TLS_PROFILE="modern")
    old = ssl.create_default_context(cadata=process.authority.cert_pem.bytes().decode())
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError) as alerted:
        process.connect(old)
    assert "PROTOCOL_VERSION" in str(alerted.value).upper().replace(" ", "_")
    with process.connect() as client:
        assert client.tls.version() == "TLSv1.3"
        assert client.get().status == 200


# When it comes


def test_a_certificate_is_waited_for(sidecar: Launch, app: ScriptedApp, authority: trustme.CA, tmp_path: Path) -> None:
    """Without a certificate the process is alive but neither started nor ready; once it is there, it is served."""
    directory = tmp_path / "certs"
    process = sidecar(wait=False, CERT_DIR=directory)
    wait_until(lambda: process.told("does not exist"), "word of the missing directory", 15)
    assert process.ask_admin("/livez").status == 200
    for path in ("/startupz", "/readyz"):
        answer = process.ask_admin(path)
        assert answer.status == 503
        assert b"[-]certificate: " in answer.body
        assert b"[-]listening" in answer.body
    directory.mkdir()
    wait_until(lambda: process.told("no certificate named 'tls'"), "word of the missing files")
    pair = mount_certificate(authority, directory)
    process.wait_until_listening()
    with process.connect() as client:
        assert (client.tls.getpeercert() or {})["serialNumber"] == pair.serial
        assert client.get().status == 200
    assert process.ask_admin("/startupz").status == process.ask_admin("/readyz").status == 200
    for word in ("does not exist", "no certificate named"):
        assert len(process.told(word)) == 1, "it is said once, not at each look"


def test_the_wait_has_an_end(sidecar: Launch, tmp_path: Path) -> None:
    """When CERT_WAIT is over the process ends with status 3, and has named every place that it looked at."""
    process = sidecar(wait=False, CERT_DIR=tmp_path, CERT_NAME="shop", CERT_WAIT="300ms")
    assert process.wait() == 3
    tried = [
        "shop/tls.crt",
        "shop/tls.key",
        "shop/fullchain.pem",
        "shop/privkey.pem",
        "shop.crt",
        "shop.key",
        "shop.pem",
    ]
    for place_tried in tried:
        assert str(tmp_path / place_tried) in process.stderr()
    assert "TLSPROXY_CERT_WAIT" in process.stderr()
    assert "TLSPROXY_CERT_NAME" in process.stderr()


def encrypted(pair: Pair) -> Pair:
    """The pair, its key under a passphrase."""
    key = load_pem_private_key(pair.key, None)
    form = (Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    return Pair(pair.chain, key.private_bytes(*form))


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda pair: Pair(pair.chain, material.key_pem(material.key("secp256r1"))), "does not match"),
        (lambda pair: Pair(pair.key, pair.key), "holds a private key only"),
        (encrypted, "is encrypted"),
    ],
    ids=["another's key", "swapped", "encrypted"],
)
def test_what_cannot_be_served_ends_the_start(
    sidecar: Launch,
    authority: trustme.CA,
    tmp_path: Path,
    break_it: Callable[[Pair], Pair],
    said: str,
) -> None:
    """A bad certificate or key ends the process with status 3 and one plain reason, and shows nothing of the key."""
    pair = issue(authority)
    place(tmp_path, break_it(pair))
    process = sidecar(wait=False, CERT_DIR=tmp_path, CERT_WAIT="0")
    assert process.wait() == 3
    assert process.told(said)
    assert str(tmp_path) in process.stderr()
    secret = b"".join(pair.key.splitlines()[1:-1])[40:60].decode()
    assert secret not in process.stderr()


def test_an_expired_certificate_is_served_with_a_warning(sidecar: Launch, app: ScriptedApp, tmp_path: Path) -> None:
    """At the start an expired certificate is better than a dead port: clients are told, and so is the operator."""
    day = material.DAY
    expired = material.Request(not_before=material.NOW - 9 * day, not_after=material.NOW - day).issue()
    place(tmp_path, Pair(*expired.pair))
    process = sidecar(CERT_DIR=tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        process.connect(material.trusting(expired.certificate))
    assert process.told("has expired")[0]["level"] == "warning"


# For development


def test_self_signed(sidecar: Launch, app: ScriptedApp, tmp_path: Path) -> None:
    """With SELF_SIGNED a certificate is made where none is mounted, whose CA is written and verifies; loudly."""
    ca_file = tmp_path / "ca.crt"
    process = sidecar(CERT_DIR=tmp_path / "absent", SELF_SIGNED="on", SELF_SIGNED_CA=ca_file)
    strict = ssl.create_default_context(cafile=str(ca_file))
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    with process.connect(strict) as client:
        assert client.get().status == 200
    (warning,) = process.told("FOR DEVELOPMENT ONLY")
    assert warning["level"] == "warning"
    for part in ("TLSPROXY_SELF_SIGNED", str(ca_file)):
        assert part in str(warning["message"])
    assert x509.load_pem_x509_certificate(ca_file.read_bytes()).extensions
    assert "PRIVATE KEY" not in ca_file.read_text()


def test_a_mounted_certificate_takes_the_made_ones_place(
    sidecar: Launch, app: ScriptedApp, authority: trustme.CA, tmp_path: Path
) -> None:
    """With SELF_SIGNED a certificate that is mounted later is served from then on."""
    process = sidecar(CERT_DIR=tmp_path, SELF_SIGNED="on")
    pair = mount_certificate(authority, tmp_path)
    wait_until(lambda: process.certificate()["serial"] == pair.serial, "the mounted certificate")
    assert process.get().status == 200


def test_self_signed_leaves_a_mounted_certificate_alone(sidecar: Launch, tmp_path: Path) -> None:
    """With SELF_SIGNED and a certificate that is mounted, that one is served, and nothing is made or written."""
    process = sidecar(SELF_SIGNED="on", SELF_SIGNED_CA=tmp_path / "ca.crt")
    with process.connect() as client:
        assert client.tls.getpeercert()
    assert not process.told("FOR DEVELOPMENT ONLY")
    assert not (tmp_path / "ca.crt").exists()


def test_a_ca_that_cannot_be_written_ends_the_start(sidecar: Launch, tmp_path: Path) -> None:
    """A SELF_SIGNED_CA that can't be written is status 3, with the path and the variable named."""
    ca_file = tmp_path / "absent" / "ca.crt"
    process = sidecar(wait=False, CERT_DIR=tmp_path, SELF_SIGNED="on", SELF_SIGNED_CA=ca_file, CERT_WAIT="0")
    assert process.wait() == 3
    assert process.told(f"{ca_file} (TLSPROXY_SELF_SIGNED_CA) cannot be written")
