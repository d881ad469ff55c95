"""tlsproxy/tls/clients.py."""

import base64
import contextlib
import ssl
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.tls.material import NOW, Issued, Request, handshake, key, material, pem
from tlsproxy.client_rules import Identity, parse_rules
from tlsproxy.tls.checks import check
from tlsproxy.tls.clients import (
    ClientAuth,
    Clients,
    StaleSessionError,
    fields_for_app,
    verified_chain,
)
from tlsproxy.tls.context import build
from tlsproxy.tls.trust import TrustMaterial
from tlsproxy.tls.trust_checks import check_trust

CA = Request("clients", (), ca=True, key=key("secp256r1")).issue()
SERVER = check(material(*Request(key=key("secp256r1")).issue().pair), NOW)


def der(issued: Issued) -> bytes:
    return issued.certificate.public_bytes(Encoding.DER)


def named(*names: x509.GeneralName, common_name: str = "reports") -> Issued:
    extensions = ((x509.SubjectAlternativeName(names), False),) if names else ()
    return Request(common_name, (), CA, extensions=extensions).issue()


def listener(*authorities: Issued, required: bool = True) -> ssl.SSLContext:
    """A server that believes the CAs, or else the one that all have."""
    bundle = pem(*(one.certificate for one in authorities or (CA,)))
    trust = check_trust(TrustMaterial("ca.crt", "ca.crl", bundle, None), NOW, required=required)
    return build(SERVER, "intermediate", trust=trust)


def showing(issued: Issued | None, tmp_path: Path, *above: Issued) -> ssl.SSLContext:
    """A client that shows the certificate, and those above it."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    if issued is not None:
        certificate, private = issued.pair
        (tmp_path / "client.pem").write_bytes(certificate + pem(*(one.certificate for one in above)) + private)
        client.load_cert_chain(tmp_path / "client.pem")
    return client


def arrive(clients: Clients, issued: Issued | None, tmp_path: Path, *, required: bool = True) -> ssl.SSLObject:
    """The server's end after a handshake with a client that shows the certificate."""
    return handshake(listener(required=required), showing(issued, tmp_path))[1]


@pytest.mark.parametrize(
    ("identity", "told"),
    [
        (Identity("CN=a"), 'Subject="CN=a"'),
        (Identity(""), 'Subject=""'),
        (Identity("", dns=("a", "b"), uris=("spiffe://x/y",)), 'Subject="";URI=spiffe://x/y;DNS=a;DNS=b'),
        (Identity("", uris=("a:b;Hash=0",)), 'Subject="";URI="a:b;Hash=0"'),
        (Identity("", uris=('a:b",Hash=0',)), 'Subject="";URI="a:b%22,Hash=0"'),
        (Identity("", uris=("a:b\\",)), 'Subject="";URI=a:b%5C'),
        (Identity("", uris=("a:\u00e9\0",)), 'Subject="";URI=a:%C3%A9%00'),
        (Identity("", dns=("a\r\nX: 1",)), 'Subject="";DNS="a%0D%0AX: 1"'),
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


def test_a_storm_of_one_client_is_a_line_with_a_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that comes again and again is told of every ten seconds, with how often it came; another one at once."""
    moment = 100.0
    monkeypatch.setattr("tlsproxy.tls.clients.monotonic", lambda: moment)
    clients = Clients("required", parse_rules("cn=other"))
    shown = arrive(clients, named(), tmp_path)
    refusal = ssl.SSLError("no certificate")
    for _ in range(4):
        clients.arrived(shown, lambda: "192.0.2.1")
        clients.refused(refusal, "192.0.2.1")
    clients.arrived(shown, lambda: "192.0.2.2")
    moment = 111.0
    clients.arrived(shown, lambda: "192.0.2.1")
    denied = "denied: CN=reports; none of TLSPROXY_CLIENT_ALLOW=cn=other lets it in"
    assert caplog.messages == [
        f"client 192.0.2.1 {denied}",
        "client 192.0.2.1 refused: certificate_required: it has shown no certificate (TLSPROXY_CLIENT_AUTH=required)",
        f"client 192.0.2.2 {denied}",
        f"client 192.0.2.1 {denied} (3 more since the last such line)",
    ]
    assert clients.denied == {"not_allowed": 6}


def test_who_shows_none_where_one_is_needed_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The log tells the address, and what would have been free."""
    clients = Clients("optional", exempt=("/healthz", "/ping"))
    clients.uncertified("192.0.2.1")
    assert clients.denied == {"no_certificate": 1}
    (message,) = caplog.messages
    assert message.startswith("client 192.0.2.1 denied: it has shown no certificate")
    assert message.endswith("TLSPROXY_CLIENT_EXEMPT=/healthz,/ping")


def test_many_who_show_none_where_one_is_needed_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever has no certificate can ask as often as he likes: each is counted, and of many alike one is told."""
    clients = Clients("optional", exempt=("/healthz",))
    for _ in range(5):
        clients.uncertified("192.0.2.1")
    assert clients.denied == {"no_certificate": 5}
    assert len(caplog.messages) == 1


# --- The chain -----------------------------------------------------------------------------------------------

MIDDLE = Request("middle", (), CA, ca=True, key=key("secp256r1")).issue()
BELOW = Request("reports", (), MIDDLE).issue()


def told_chain(fields: bytes) -> list[bytes]:
    """The certificates of Client-Cert-Chain; none where there is no such line."""
    lines = dict(line.split(": ", 1) for line in fields.decode().splitlines())
    encoded = lines.get("Client-Cert-Chain", "")
    return [base64.b64decode(one.strip(" ").strip(":"), validate=True) for one in encoded.split(",") if one]


def test_verified_chain_is_there(tmp_path: Path) -> None:
    """Python tells the chain of a handshake by a private way before 3.13: where that is gone, this says so."""
    context, client = listener(), showing(BELOW, tmp_path, MIDDLE)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    one, other = handshake(context, client)
    assert verified_chain(other) == (der(BELOW), der(MIDDLE), der(CA))
    assert verified_chain(resumed(context, client, one.session)) == ()


def resumed(context: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None) -> ssl.SSLObject:
    """The server's end of a connection that resumes the session."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(down, up, server_hostname="localhost", session=session)
    other = context.wrap_bio(up, down, server_side=True)
    for side in (one, other, one, other):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert other.session_reused
    return other


@pytest.mark.parametrize(
    ("bundle", "issued", "above", "told"),
    [
        ((CA,), BELOW, (MIDDLE,), (MIDDLE, CA)),
        ((CA, MIDDLE), BELOW, (), (MIDDLE,)),
        ((MIDDLE,), BELOW, (), (MIDDLE,)),
        ((CA,), named(), (), (CA,)),
        ((CA,), named(), (MIDDLE,), (CA,)),
        ((CA,), CA, (), ()),
    ],
    ids=["whole", "completed", "partial", "direct", "unrelated", "itself"],
)
def test_the_chain_is_that_of_the_verification(
    bundle: tuple[Issued, ...], issued: Issued, above: tuple[Issued, ...], told: tuple[Issued, ...], tmp_path: Path
) -> None:
    """From the certificate's own issuer up to the first that is in the bundle, whatever else the client has sent."""
    clients = Clients("required", chain=True)
    caller = clients.arrived(handshake(listener(*bundle), showing(issued, tmp_path, *above))[1], str)
    assert caller is not None
    assert told_chain(caller.fields) == [der(one) for one in told]
    assert caller.fields.startswith(b"Client-Cert: ")


def test_without_being_asked_no_chain_is_told(tmp_path: Path) -> None:
    """There is no such line by itself."""
    caller = Clients("required").arrived(handshake(listener(), showing(BELOW, tmp_path, MIDDLE))[1], str)
    assert caller is not None
    assert b"Chain" not in caller.fields


def test_a_certificate_may_come_by_another_chain(tmp_path: Path) -> None:
    """The one by which it was verified last is told, of sessions that resume as well."""
    again = Request("middle", (), CA, ca=True, key=MIDDLE.key).issue()
    clients = Clients("required", chain=True)
    for middle in (MIDDLE, again, MIDDLE):
        caller = clients.arrived(handshake(listener(), showing(BELOW, tmp_path, middle))[1], str)
        assert caller is not None
        assert told_chain(caller.fields) == [der(middle), der(CA)]


def test_a_resumed_session_has_the_chain_of_its_beginning_or_is_none(tmp_path: Path) -> None:
    """What Python can't tell again is remembered; what is forgotten is not made up."""
    clients = Clients("required", chain=True)
    context, client = listener(), showing(BELOW, tmp_path, MIDDLE)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    one, other = handshake(context, client)
    first = clients.arrived(other, str)
    assert first is not None
    assert clients.arrived(resumed(context, client, one.session), str) is first
    with pytest.raises(StaleSessionError, match="session_forgotten"):
        Clients("required", chain=True).arrived(resumed(context, client, one.session), str)
    assert Clients("required").arrived(resumed(context, client, one.session), str)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_does_not_outlive_the_certificate(
    tmp_path: Path, version: ssl.TLSVersion, caplog: pytest.LogCaptureFixture
) -> None:
    """OpenSSL resumes it, whatever the date; a client whose certificate has expired since is told of and not let in."""
    now = [BELOW.certificate.not_valid_after_utc.timestamp()]
    clients = Clients("required", clock=lambda: now[0])
    context, client = listener(), showing(BELOW, tmp_path, MIDDLE)
    client.minimum_version = client.maximum_version = version
    one, other = handshake(context, client)
    assert clients.arrived(other, str)
    assert clients.arrived(resumed(context, client, one.session), str)
    now[0] += 1
    with pytest.raises(StaleSessionError) as caught:
        clients.arrived(resumed(context, client, one.session), lambda: "192.0.2.1")
    assert caught.value.reason == "client_certificate_expired"
    assert caplog.messages == [
        "client 192.0.2.1 refused: its certificate has expired since its session began: CN=reports"
    ]
