"""tlsproxy/tls/clients.py."""

import base64
import ssl
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.tls.material import NOW, Issued, Request, handshake, key, material, pem
from tlsproxy.client_rules import Identity, parse_rules
from tlsproxy.tls.certificate import check
from tlsproxy.tls.clients import ClientAuth, Clients, fields_for_app, read_identity
from tlsproxy.tls.context import build
from tlsproxy.tls.trust import TrustMaterial, check_trust

CA = Request("clients", (), ca=True, key=key("secp256r1")).issue()
SERVER = check(material(*Request(key=key("secp256r1")).issue().pair), NOW)


def der(issued: Issued) -> bytes:
    return issued.certificate.public_bytes(Encoding.DER)


def named(*names: x509.GeneralName, common_name: str = "reports") -> Issued:
    extensions = ((x509.SubjectAlternativeName(names), False),) if names else ()
    return Request(common_name, (), CA, extensions=extensions).issue()


def arrive(clients: Clients, issued: Issued | None, tmp_path: Path, *, required: bool = True) -> ssl.SSLObject:
    """The server's end after a handshake with a client that shows the certificate."""
    trust = check_trust(TrustMaterial("ca.crt", "ca.crl", pem(CA.certificate), None), NOW, required=required)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    if issued is not None:
        (tmp_path / "client.pem").write_bytes(b"".join(issued.pair))
        client.load_cert_chain(tmp_path / "client.pem")
    return handshake(build(SERVER, "intermediate", trust=trust), client)[1]


def test_what_a_certificate_says() -> None:
    """Subject, common names, units and the alternative names that rules know."""
    names = x509.DNSName("a.svc"), x509.UniformResourceIdentifier("spiffe://x/y"), x509.RFC822Name("a@b")
    assert read_identity(der(named(*names))) == Identity("CN=reports", ("reports",), (), ("a.svc",), ("spiffe://x/y",))


def test_units_are_read() -> None:
    """Each organizational unit counts."""
    subject = [(NameOID.ORGANIZATIONAL_UNIT_NAME, "a"), (NameOID.ORGANIZATIONAL_UNIT_NAME, "b")]
    builder = x509.CertificateBuilder(
        CA.certificate.subject,
        x509.Name([x509.NameAttribute(kind, value) for kind, value in subject]),
        CA.key.public_key(),
        7,
        CA.certificate.not_valid_before_utc,
        CA.certificate.not_valid_after_utc,
    )
    signed = builder.sign(CA.key, CA.certificate.signature_hash_algorithm)  # type: ignore[arg-type]  # an ECDSA key's
    identity = read_identity(signed.public_bytes(Encoding.DER))
    assert (identity.units, identity.common_names) == (("a", "b"), ())


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("reports", "CN=reports"),
        ("a, b", r"CN=a\, b"),
        ("a\r\nX-Evil: 1", r"CN=a\0D\0AX-Evil: 1"),
        ("é\u2028", r"CN=\C3\A9\E2\80\A8"),
        ('"', r"CN=\""),
        ("a\\", r"CN=a\\"),
    ],
)
def test_subjects_are_printable(name: str, subject: str) -> None:
    """Nobody forges a line or a field by a name: all but printable ASCII is escaped as RFC 4514 has it."""
    assert read_identity(der(named(common_name=name))).subject == subject


def test_a_damaged_certificate_says_nothing() -> None:
    """What cannot be read matches no rule, and raises nothing."""
    assert read_identity(b"0\x00") == Identity("")


@pytest.mark.parametrize(
    ("identity", "told"),
    [
        (Identity("CN=a"), 'Subject="CN=a"'),
        (Identity(""), 'Subject=""'),
        (Identity("", dns=("a", "b"), uris=("spiffe://x/y",)), 'Subject="";URI=spiffe://x/y;DNS=a;DNS=b'),
        (Identity("", uris=("a:b;Hash=0",)), 'Subject="";URI="a:b;Hash=0"'),
        (Identity("", uris=('a:b",Hash=0',)), 'Subject="";URI="a:b\\",Hash=0"'),
        (Identity("", dns=("a\r\nX: 1",)), 'Subject="";DNS="a\\\\0D\\\\0AX: 1"'),
    ],
)
def test_what_the_app_is_told(identity: Identity, told: str) -> None:
    """The certificate as RFC 9440 has it, and Envoy's elements, of which no value looks like two."""
    fields = fields_for_app(b"der", identity).decode().split("\r\n")
    encoded = base64.b64encode(b"der").decode()
    hashed = sha256(b"der").hexdigest()
    assert fields == [f"Client-Cert: :{encoded}:", f"X-Forwarded-Client-Cert: Hash={hashed};{told}", ""]


@pytest.mark.parametrize(
    ("auth", "rules", "denied", "observed"),
    [
        ("required", "cn=reports", False, {}),
        ("required", "cn=other", True, {}),
        ("optional", "cn=other", True, {}),
        ("observe", "cn=other", False, {"not_allowed": 1}),
        ("observe", "cn=reports", False, {}),
    ],
)
def test_rules_decide(auth: ClientAuth, rules: str, denied: bool, observed: dict[str, int], tmp_path: Path) -> None:
    """Outside the rules a client is denied and counted, and where they are only tried, counted alone."""
    clients = Clients(auth, parse_rules(rules))
    caller = clients.arrived(arrive(clients, named(), tmp_path), lambda: "192.0.2.1")
    assert caller is not None
    assert caller.denied is denied
    assert clients.denied == ({"not_allowed": 1} if denied else {})
    assert clients.observed == observed


@pytest.mark.parametrize(("auth", "observed"), [("optional", {}), ("observe", {"no_certificate": 1})])
def test_who_shows_none(auth: ClientAuth, observed: dict[str, int], tmp_path: Path) -> None:
    """A client without a certificate is nobody, which is counted where certificates are to be required one day."""
    clients = Clients(auth)
    assert clients.arrived(arrive(clients, None, tmp_path, required=False), lambda: "192.0.2.1") is None
    assert clients.observed == observed


def test_a_certificate_is_read_once(tmp_path: Path) -> None:
    """Connections with the same certificate share what it says, and what is remembered is bounded."""
    clients = Clients("required")
    clients.BOUND = 2
    issued = [named() for _ in range(3)]
    first = clients.arrived(arrive(clients, issued[0], tmp_path), str)
    assert clients.arrived(arrive(clients, issued[0], tmp_path), str) is first
    for one in issued[1:]:
        clients.arrived(arrive(clients, one, tmp_path), str)
    assert repr(clients) == "<Clients required rules=0 known=1>"
