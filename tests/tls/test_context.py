"""tlsproxy/tls/context.py."""

import os
import resource
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.tls.material import (
    NOT_FOR_SIGNING,
    NOW,
    Issued,
    Request,
    chain,
    handshake,
    key,
    material,
    pem,
    put,
    trusting,
)
from tlsproxy.tls.certificate import Certificate
from tlsproxy.tls.checks import check
from tlsproxy.tls.context import PROFILES, Presented, ProfileName, ServerObject, build, rehearse, switch_by_name
from tlsproxy.tls.files import MaterialError, find
from tlsproxy.tls.trust import TrustMaterial
from tlsproxy.tls.trust_checks import check_trust

ECDSA = Request(key=key("secp256r1")).issue()
CLIENTS = Request("clients", (), Request("root", (), ca=True).issue(), ca=True).issue()


def checked(pair: tuple[bytes, bytes] = ECDSA.pair) -> Certificate:
    return check(material(*pair), NOW)


def client(version: ssl.TLSVersion, suites: str = "DEFAULT") -> ssl.SSLContext:
    context = trusting(ECDSA.certificate)
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(suites)
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_intermediate_serves_both_versions(version: ssl.TLSVersion) -> None:
    """The intermediate profile completes handshakes of TLS 1.2 and 1.3."""
    one, _ = handshake(build(checked(), "intermediate"), client(version))
    assert one.version() == version.name.replace("_", ".")


def test_modern_serves_only_the_newest_version() -> None:
    """The modern profile completes TLS 1.3 and refuses 1.2."""
    context = build(checked(), "modern")
    one, _ = handshake(context, client(ssl.TLSVersion.TLSv1_3))
    assert one.version() == "TLSv1.3"
    with pytest.raises(ssl.SSLError, match=r"(?i)unsupported.protocol"):
        handshake(context, client(ssl.TLSVersion.TLSv1_2))


def test_only_forward_secret_authenticated_suites_are_offered() -> None:
    """Of TLS 1.2 the suites are those of the table and no other."""
    offered = {suite["name"] for suite in build(checked(), "intermediate").get_ciphers()}
    assert {name for name in offered if not name.startswith("TLS_")} == set(PROFILES["intermediate"].suites)
    with pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
        handshake(build(checked(), "intermediate"), client(ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA256"))


@pytest.mark.parametrize("first", ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES256-GCM-SHA384"])
def test_the_client_chooses_the_suite(first: str) -> None:
    """Of the shared suites the client's first is taken."""
    suites = f"{first}:ECDHE-ECDSA-AES128-GCM-SHA256"
    one, _ = handshake(build(checked(), "intermediate"), client(ssl.TLSVersion.TLSv1_2, suites))
    assert (one.cipher() or ("",))[0] == first


@pytest.mark.parametrize("profile", PROFILES)
def test_a_context_is_lean_and_takes_no_renegotiation(profile: ProfileName) -> None:
    """One ticket for each handshake, no renegotiation, no compression."""
    context = build(checked(), profile)
    assert context.num_tickets == 1
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


@pytest.mark.parametrize(
    ("ours", "theirs", "agreed"),
    [
        (("http/1.1",), ["h2", "http/1.1"], "http/1.1"),
        (("h2", "http/1.1"), ["http/1.1", "h2"], "h2"),
        (("http/1.1",), ["h2"], None),
        ((), ["h2", "http/1.1"], None),
    ],
)
def test_protocols_are_agreed_in_our_order(ours: tuple[str, ...], theirs: list[str], agreed: str | None) -> None:
    """The first of ours that the client offers is agreed upon; without an overlap none is."""
    context = client(ssl.TLSVersion.TLSv1_3)
    context.set_alpn_protocols(theirs)
    one, other = handshake(build(checked(), "intermediate", ours), context)
    assert one.selected_alpn_protocol() == other.selected_alpn_protocol() == agreed


def test_the_whole_chain_is_presented() -> None:
    """A client that knows only the root verifies."""
    made = chain()
    certificates = pem(made.leaf.certificate, made.lower.certificate, made.upper.certificate)
    context = build(checked((certificates, made.leaf.pair[1])), "intermediate")
    handshake(context, trusting(made.root.certificate))


def test_files_are_not_looked_at_again(tmp_path: Path) -> None:
    """What was read is served though the files are gone before the context is built."""
    put(tmp_path, ECDSA.pair)
    certificate = check(find(tmp_path, "tls"), NOW)
    for path in tmp_path.iterdir():
        path.unlink()
    handshake(build(certificate, "intermediate"), trusting(ECDSA.certificate))


def test_no_descriptor_is_left_open() -> None:
    """The memory that carries the key into OpenSSL is given back, after a failure too."""
    good, bad = checked(), checked(short_issuer())
    before = descriptors()
    build(good, "intermediate")
    with pytest.raises(MaterialError):
        build(bad, "intermediate")
    assert descriptors() == before


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def short_issuer() -> tuple[bytes, bytes]:
    issuer = Request("weak", (), key=key("rsa-1024"), ca=True).issue()
    leaf = Request(issuer=issuer).issue()
    return pem(leaf.certificate, issuer.certificate), leaf.pair[1]


def test_what_openssl_refuses_is_told_in_words() -> None:
    """A chain that OpenSSL does not take is refused with the file's name, its reason and what that means."""
    with pytest.raises(MaterialError) as caught:
        build(checked(short_issuer()), "intermediate")
    assert str(caught.value) == (
        "/certs/tls.crt cannot be served: OpenSSL says CA_KEY_TOO_SMALL "
        "(an issuer in the chain has a key that is too short)"
    )


def test_what_the_kernel_refuses_is_told_in_words() -> None:
    """Without a descriptor for its bytes a certificate is refused like a bad one, and the last good one stays."""
    certificate = checked()
    free = os.dup(0)
    os.close(free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(MaterialError) as caught:
            build(certificate, "intermediate")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert str(caught.value) == "/certs/tls.crt cannot be served: it cannot be loaded: Too many open files"


def test_a_good_context_passes_the_rehearsal() -> None:
    """A context that works is rehearsed without a word, for each profile."""
    for profile in PROFILES:
        rehearse(build(checked(), profile), checked())


def test_the_rehearsal_finds_what_the_checks_cannot() -> None:
    """A context that no client can use is found out: here one without a certificate."""
    with pytest.raises(MaterialError) as caught:
        rehearse(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), checked())
    assert str(caught.value) == (
        "/certs/tls.crt cannot be served: no client could connect with TLSv1_2: OpenSSL says NO_SHARED_CIPHER"
    )


def test_the_rehearsal_tries_each_version() -> None:
    """A certificate that works for one version of the profile and not for another is found out."""
    pair = Request(extensions=((NOT_FOR_SIGNING, True),)).issue().pair
    certificate = checked(pair)
    rehearse(build(certificate, "modern"), certificate)
    with pytest.raises(MaterialError, match="TLSv1_2"):
        rehearse(build(certificate, "intermediate"), certificate)


def verifying(*, required: bool) -> ssl.SSLContext:
    bundle = TrustMaterial("ca.crt", "ca.crl", pem(CLIENTS.certificate), None)
    return build(checked(), "intermediate", trust=check_trust(bundle, NOW, required=required))


def showing(issued: Issued, directory: Path) -> ssl.SSLContext:
    (directory / "client.pem").write_bytes(b"".join(issued.pair))
    context = client(ssl.TLSVersion.TLSv1_2)
    context.load_cert_chain(directory / "client.pem")
    return context


def test_clients_are_verified(tmp_path: Path) -> None:
    """With a trust, whom a CA of it has signed comes in, also by an intermediate alone; a stranger does not."""
    signed = Request("reports", (), CLIENTS).issue()
    _, server = handshake(verifying(required=True), showing(signed, tmp_path))
    assert server.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(pem(signed.certificate).decode())
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(verifying(required=True), showing(Request("reports", (), ECDSA).issue(), tmp_path))


def test_a_servers_certificate_is_no_clients(tmp_path: Path) -> None:
    """What may only serve, by its extended key usage, does not come in."""
    serving = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(
            verifying(required=True),
            showing(Request("reports", (), CLIENTS, extensions=((serving, False),)).issue(), tmp_path),
        )


def test_a_certificate_may_be_asked_for_without_being_required() -> None:
    """A client that has none comes in where it is optional, and nowhere else."""
    handshake(verifying(required=False), client(ssl.TLSVersion.TLSv1_2))
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(verifying(required=True), client(ssl.TLSVersion.TLSv1_2))


@pytest.mark.parametrize("suite", ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"])
@pytest.mark.parametrize("first", ["secp256r1", "rsa-2048"])
def test_a_companion_serves_clients_that_need_its_kind_of_key(suite: str, first: str) -> None:
    """A context holds a certificate of each kind with its own chain, and OpenSSL picks by the client's means."""
    issuers = {kind: Request(kind, (), ca=True).issue() for kind in ("secp256r1", "rsa-2048")}
    pairs = {kind: Request(key=key(kind), issuer=issuer).issue() for kind, issuer in issuers.items()}
    (second,) = pairs.keys() - {first}
    one, other = (
        checked((pem(pairs[kind].certificate, issuers[kind].certificate), pairs[kind].pair[1]))
        for kind in (first, second)
    )
    expected = issuers["rsa-2048" if "RSA" in suite else "secp256r1"]
    trust = trusting(expected.certificate)
    trust.maximum_version = ssl.TLSVersion.TLSv1_2
    trust.set_ciphers(suite)
    handshake(build(one, "intermediate", companions=[other]), trust)


def test_a_handshake_goes_on_with_what_is_picked() -> None:
    """The picked context presents its certificate, and the connection remembers the name and what it is for."""
    stranger = Request().issue()
    context, inner = build(checked(), "intermediate"), build(checked(stranger.pair), "intermediate")
    asked: list[str | None] = []

    def pick(name: str | None) -> Presented | None:
        asked.append(name)
        return Presented(inner if name == "localhost" else None, {b"a": True}.__contains__)

    switch_by_name(context, pick)
    _, other = handshake(context, trusting(stranger.certificate))
    assert isinstance(other, ServerObject)
    assert other.server_name == "localhost"
    assert other.covers is not None
    assert other.covers(b"a")
    kept = trusting(ECDSA.certificate)
    kept.check_hostname = False
    handshake(context, kept, "elsewhere")
    assert asked == ["localhost", "elsewhere"]


def test_what_is_not_picked_is_refused() -> None:
    """None for a name ends the handshake."""
    context = build(checked(), "intermediate")
    switch_by_name(context, lambda _: None)
    with pytest.raises(ssl.SSLError, match="CALLBACK_FAILED"):
        handshake(context)
