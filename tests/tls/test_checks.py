"""tlsproxy/tls/checks.py."""

import base64
import subprocess
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from tests.tls.material import (
    DAY,
    NOW,
    Issued,
    Key,
    Request,
    chain,
    handshake,
    key,
    key_pem,
    material,
    pem,
    signed_with_sha1,
    trusting,
)
from tlsproxy.tls import context
from tlsproxy.tls.certificate import Certificate
from tlsproxy.tls.checks import check, fingerprint_on_disk
from tlsproxy.tls.files import MaterialError

Format = serialization.PrivateFormat
KEYS = {"rsa-2048": "RSA 2048", "secp256r1": "ECDSA P-256", "secp384r1": "ECDSA P-384", "ed25519": "Ed25519"}
FORMS = [(kind, form) for kind in KEYS for form in (Format.PKCS8, Format.TraditionalOpenSSL)]
GOOD = Request(key=key("secp256r1")).issue()
CERTIFICATE, KEY = GOOD.pair
GARBLED_NAMES = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"garbage")
DER = GOOD.certificate.public_bytes(serialization.Encoding.DER)


def verdict(certificate: bytes, private: bytes) -> Certificate:
    return check(material(certificate, private), NOW)


def refusal(certificate: bytes, private: bytes) -> str:
    with pytest.raises(MaterialError) as caught:
        verdict(certificate, private)
    return str(caught.value)


@pytest.mark.parametrize(("kind", "form"), [one for one in FORMS if one != ("ed25519", Format.TraditionalOpenSSL)])
def test_each_key_type_in_each_form_is_served(kind: str, form: serialization.PrivateFormat) -> None:
    """RSA, P-256, P-384 and Ed25519 keys are read in PKCS#8 and in PKCS#1 or SEC1, and a client connects."""
    issued = Request(key=key(kind)).issue()
    checked = verdict(pem(issued.certificate), key_pem(issued.key, form))
    assert checked.key_type == KEYS[kind]
    client, _ = handshake(context.build(checked, "intermediate"), trusting(issued.certificate))
    assert client.getpeercert(binary_form=True) == issued.certificate.public_bytes(serialization.Encoding.DER)


def test_parameters_before_an_elliptic_key_are_passed_over(tmp_path: Path) -> None:
    """The two blocks that `openssl ecparam -genkey` writes are read."""
    command = ["openssl", "ecparam", "-name", "prime256v1", "-genkey"]
    made = subprocess.run(command, capture_output=True, check=True).stdout
    assert b"BEGIN EC PARAMETERS" in made
    private = serialization.load_pem_private_key(made[made.index(b"-----BEGIN EC PRIVATE") :], None)
    issued = Request(key=private).issue()  # type: ignore[arg-type]  # the union of all keys, of which this is one
    assert verdict(pem(issued.certificate), made).key_type == "ECDSA P-256"


def test_a_name_of_an_unusual_type_is_damage() -> None:
    """A certificate whose name is a bit string is refused in plain words: the library raises a TypeError there."""
    mangled = DER.replace(b"\x0c\x09localhost", b"\x03\x09localhost")
    assert mangled != DER
    damaged = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(mangled) + b"-----END CERTIFICATE-----\n"
    assert "tls.crt holds a damaged certificate" in refusal(damaged, KEY)


def test_one_file_may_hold_both() -> None:
    """Certificate and key in one file, text around them and Windows line ends are read."""
    both = b"Bag Attributes\r\n" + (KEY + b"subject=localhost\n" + CERTIFICATE).replace(b"\n", b"\r\n")
    assert verdict(both, both).names == ("localhost",)


def test_it_says_what_openssl_says(tmp_path: Path) -> None:
    """Serial, dates, fingerprint and names are those that openssl prints."""
    names = x509.SubjectAlternativeName([x509.DNSName("a.example"), x509.DNSName("*.b.example")])
    issued = Request("a.example", (), serial=0xABC, extensions=((names, False),)).issue()
    path = tmp_path / "tls.crt"
    path.write_bytes(pem(issued.certificate))
    flags = ["-serial", "-fingerprint", "-sha256", "-enddate", "-noout", "-dateopt", "iso_8601"]
    printed = subprocess.run(
        ["openssl", "x509", "-in", path, *flags], capture_output=True, check=True, text=True
    ).stdout
    checked = verdict(*issued.pair)
    assert f"serial={checked.serial}\n" in printed
    assert checked.fingerprint.upper() in printed.replace(":", "")
    assert f"notAfter={checked.not_after:%Y-%m-%d %H:%M:%SZ}" in printed
    assert checked.not_after.tzinfo is UTC
    assert checked.names == ("a.example", "*.b.example")
    assert (checked.subject, checked.issuer) == ("CN=a.example", "CN=a.example")
    assert checked.warnings == ()


def test_trustme_addresses_are_names() -> None:
    """Addresses stand among the names."""
    leaf = trustme.CA().issue_cert("example.org", "127.0.0.1", "::1")
    checked = verdict(b"".join(blob.bytes() for blob in leaf.cert_chain_pems), leaf.private_key_pem.bytes())
    assert checked.names == ("example.org", "127.0.0.1", "::1")


def test_the_key_does_not_show() -> None:
    """Neither form of the value shows the key, whole or in part."""
    shown = repr(verdict(CERTIFICATE, KEY)) + repr(material(CERTIFICATE, KEY))
    assert "PRIVATE" not in shown
    assert KEY.splitlines()[1].decode() not in shown


def encrypted(form: serialization.PrivateFormat) -> bytes:
    return GOOD.key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"x"))


def other_kind() -> bytes:
    weak = dsa.generate_private_key(1024)  # noqa: S505  it is refused for its kind, and a longer one is slow to make
    return weak.private_bytes(serialization.Encoding.PEM, Format.PKCS8, serialization.NoEncryption())


BAD_CERTIFICATES = {
    "empty": (b" \n", "tls.crt is empty"),
    "der": (DER, "tls.crt is binary (DER or PKCS#12), not PEM"),
    "utf-16": (CERTIFICATE.decode().encode("utf-16"), "tls.crt is UTF-16"),
    "garbage": (b"hello", "tls.crt is not PEM"),
    "key only": (KEY, "tls.crt holds a private key only"),
    "request": (
        CERTIFICATE.replace(b"CERTIFICATE", b"CERTIFICATE REQUEST"),
        "tls.crt holds a signing request",
    ),
    "pkcs7": (CERTIFICATE.replace(b"CERTIFICATE", b"PKCS7"), "tls.crt holds PKCS#7"),
    "revocations": (CERTIFICATE.replace(b"CERTIFICATE", b"X509 CRL"), "tls.crt holds no certificate"),
    "cut off": (CERTIFICATE[:-40], "tls.crt is cut off"),
    "cut off in the middle": (CERTIFICATE[:-40] + CERTIFICATE, "tls.crt is cut off"),
    "without beginning": (CERTIFICATE[5:], "tls.crt is damaged"),
    "damaged": (
        CERTIFICATE.replace(CERTIFICATE.splitlines()[1], b"A" * 64),
        "tls.crt holds a damaged certificate",
    ),
    "trust store": (b"".join(Request().issue().pair[0] for _ in range(17)), "tls.crt holds 17 certificates"),
}
BAD_KEYS = {
    "empty": (b"", "tls.key is empty"),
    "garbage": (b"hello", "tls.key is not PEM"),
    "certificate only": (CERTIFICATE, "tls.key holds no private key"),
    "public": (
        GOOD.key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        "tls.key holds a public key",
    ),
    "encrypted PKCS#8": (encrypted(Format.PKCS8), "tls.key holds a private key that is encrypted"),
    "encrypted SEC1": (encrypted(Format.TraditionalOpenSSL), "tls.key holds a private key that is encrypted"),
    "damaged": (KEY.replace(KEY.splitlines()[1], b"A" * 64), "tls.key holds a damaged private key"),
    "two": (KEY + key_pem(key("ed25519")), "tls.key holds 2 private keys"),
    "DSA": (other_kind(), "tls.key holds a key of type DSA: RSA, ECDSA"),
    "OpenSSH": (key_pem(GOOD.key, Format.OpenSSH), "tls.key holds an OpenSSH key"),
}


@pytest.mark.parametrize("case", BAD_CERTIFICATES)
def test_bad_certificates_are_refused_with_file_and_reason(case: str) -> None:
    """Each kind of bad certificate file has a message that names the file and what is wrong."""
    certificate, expected = BAD_CERTIFICATES[case]
    message = refusal(certificate, KEY)
    assert message.startswith(f"/certs/{expected}"), message


@pytest.mark.parametrize("case", BAD_KEYS)
def test_bad_keys_are_refused_with_file_and_reason(case: str) -> None:
    """Each kind of bad key file has a message that names the file and the fault and shows nothing of it."""
    private, expected = BAD_KEYS[case]
    message = refusal(CERTIFICATE, private)
    assert message.startswith(f"/certs/{expected}"), message
    assert not any(line.decode("latin-1") in message for line in private.splitlines() if len(line) > 40)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("rsa-1024", "tls.key holds an RSA key of 1024 bits: at least 2048"),
        ("secp521r1", "tls.key holds an ECDSA key on the curve secp521r1"),
        ("secp256k1", "tls.key holds an ECDSA key on the curve secp256k1"),
    ],
)
def test_weak_and_unusual_keys_are_refused(kind: str, expected: str) -> None:
    """Short RSA keys and curves that clients do not offer are refused by name."""
    assert expected in refusal(*Request(key=key(kind)).issue().pair)


def test_a_key_of_another_pair_is_refused() -> None:
    """A key that is not the certificate's is refused; both files and the certificate's serial are named."""
    message = refusal(CERTIFICATE, key_pem(key("secp384r1")))
    assert "the key in /certs/tls.key does not match the certificate in /certs/tls.crt" in message
    assert f"serial {verdict(CERTIFICATE, KEY).serial}" in message


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (0, 2, 1)])
def test_the_chain_is_mended(order: tuple[int, ...]) -> None:
    """In whatever order the file has them, leaf and issuers are served in the right one and verified."""
    made = chain()
    right = [made.leaf.certificate, made.lower.certificate, made.upper.certificate]
    checked = verdict(pem(*(right[place] for place in order)), made.leaf.pair[1])
    assert checked.chain_pem == pem(*right)
    assert any("not in order" in warning for warning in checked.warnings) == (order != (0, 1, 2))
    handshake(context.build(checked, "intermediate"), trusting(made.root.certificate))


def test_strangers_are_left_out_and_a_root_stays() -> None:
    """A certificate that issued nothing of the chain is dropped with a warning; a repeated one without."""
    made, stranger = chain(), Request("stranger", ()).issue()
    right = [made.leaf.certificate, made.lower.certificate, made.upper.certificate, made.root.certificate]
    checked = verdict(pem(*right, stranger.certificate, made.upper.certificate), made.leaf.pair[1])
    assert checked.chain_pem == pem(*right)
    assert checked.warnings == ("/certs/tls.crt: CN=stranger is no part of the chain and is left out",)


def test_a_missing_intermediate_is_warned_about() -> None:
    """A leaf alone under an intermediate, or a chain with a gap, names the issuer that is not in the file."""
    made = chain()
    for certificates, lonely, missing in [
        ([made.leaf], "it", "CN=lower"),
        ([made.leaf, made.lower, made.root], "CN=lower", "CN=upper"),
    ]:
        checked = verdict(pem(*(one.certificate for one in certificates)), made.leaf.pair[1])
        assert f"/certs/tls.crt: {lonely} comes without its issuer, {missing}: " in checked.warnings[-1]
        assert checked.missing_issuer == missing


@pytest.mark.parametrize("part", ["upper", "root", "leaf alone"])
def test_roots_are_the_clients_own(part: str) -> None:
    """A chain that ends below a root or with it is whole; so is a leaf alone whose issuer lies beside it as ca.crt."""
    made = chain()
    whole = [made.leaf, made.lower, made.upper, made.root]
    certificates = whole[: {"leaf alone": 1, "upper": 3, "root": 4}[part]]
    mounted = material(pem(*(one.certificate for one in certificates)), made.leaf.pair[1])
    beside = replace(
        mounted, authorities=pem(made.lower.certificate if part == "leaf alone" else made.root.certificate)
    )
    checked = check(beside, NOW)
    assert checked.warnings == ()
    assert checked.chain == tuple(f"CN={one.certificate.subject.rfc4514_string()[3:]}" for one in certificates)
    assert checked.missing_issuer == {"leaf alone": "CN=lower", "upper": "CN=root", "root": ""}[part]


@pytest.mark.parametrize("authorities", [b"", b"garbage", pem(chain().root.certificate)])
def test_what_lies_beside_proves_nothing_by_itself(authorities: bytes) -> None:
    """A ca.crt that is none, or that did not issue the leaf, does not quieten the warning."""
    made = chain()
    mounted = replace(material(*made.leaf.pair), authorities=authorities)
    assert "comes without its issuer, CN=lower" in check(mounted, NOW).warnings[0]


@pytest.mark.parametrize("selfsigned", [True, False])
def test_a_weak_signature_is_refused(tmp_path: Path, selfsigned: bool) -> None:
    """A leaf that is signed with SHA-1 is refused, by its own key or a CA's."""
    message = refusal(*signed_with_sha1(tmp_path, selfsigned))
    assert message.startswith("/certs/tls.crt: CN=weak is signed with SHA-1, which ")


def test_a_roots_own_signature_does_not_matter(tmp_path: Path) -> None:
    """A root that signed itself with SHA-1 is no reason to refuse a chain: nobody verifies that signature."""
    root = signed_with_sha1(tmp_path, selfsigned=True)
    issuer = Issued(x509.load_pem_x509_certificate(root[0]), private_of(root[1]))
    leaf = Request(issuer=issuer).issue()
    checked = verdict(leaf.pair[0] + root[0], leaf.pair[1])
    assert checked.chain == ("CN=localhost", "CN=weak")
    context.build(checked, "intermediate")


def private_of(pem_: bytes) -> Key:
    loaded = serialization.load_pem_private_key(pem_, None)
    assert isinstance(loaded, Key)
    return loaded


def test_what_lies_on_disk_has_a_fingerprint_though_it_is_not_good() -> None:
    """Material that is refused is told apart by its first certificate; without one there is nothing to tell."""
    other = key_pem(key("secp384r1"))
    assert fingerprint_on_disk(material(CERTIFICATE, other)) == verdict(CERTIFICATE, KEY).fingerprint
    assert fingerprint_on_disk(material(b"garbage", KEY)) == ""


def test_an_issuer_of_the_same_name_is_told_by_its_signature() -> None:
    """Of two issuers with the same name only the one that signed is taken."""
    made = chain()
    impostor = Request("lower", (), made.upper, ca=True).issue()
    checked = verdict(pem(made.leaf.certificate, impostor.certificate, made.lower.certificate), made.leaf.pair[1])
    assert checked.chain_pem == pem(made.leaf.certificate, made.lower.certificate)


def test_a_cross_signed_issuer_follows_the_straight_way() -> None:
    """A second certificate of the same issuer is kept, behind the way that the first one begins."""
    made = chain()
    elsewhere = Request("elsewhere", (), ca=True).issue()
    crossed = Request("lower", (), elsewhere, key=made.lower.key, ca=True).issue()
    straight = [made.leaf.certificate, made.lower.certificate, made.upper.certificate, crossed.certificate]
    checked = verdict(pem(*straight), made.leaf.pair[1])
    assert checked.chain_pem == pem(*straight)
    assert checked.warnings == ()


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Request(names=()), "no subject alternative names"),
        (Request(not_before=NOW - 2 * DAY, not_after=NOW - DAY), "CN=localhost has expired, on "),
        (Request(not_before=NOW + DAY), "CN=localhost is not valid before "),
        (
            Request(extensions=((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),)),
            "does not allow it for a server",
        ),
        (Request(names=(), extensions=((GARBLED_NAMES, False),)), "its extensions are damaged"),
    ],
)
def test_what_clients_will_refuse_is_warned_about(request_: Request, expected: str) -> None:
    """What is served though clients will not like it carries a warning with the file's name."""
    (warning,) = verdict(*request_.issue().pair).warnings
    assert warning.startswith("/certs/tls.crt: ")
    assert expected in warning


def test_without_alternative_names_the_common_name_is_the_name() -> None:
    """The name of a certificate that has only a common name is that."""
    assert verdict(*Request("old.example", ()).issue().pair).names == ("old.example",)


def test_an_expired_issuer_is_warned_about() -> None:
    """An intermediate outside its dates is named: clients fail on it while the leaf looks well."""
    root = Request("root", (), ca=True).issue()
    lower = Request("lower", (), root, ca=True, not_before=NOW - 2 * DAY, not_after=NOW - DAY).issue()
    leaf = Request(issuer=lower).issue()
    (warning,) = verdict(pem(leaf.certificate, lower.certificate), leaf.pair[1]).warnings
    assert "CN=lower has expired" in warning
