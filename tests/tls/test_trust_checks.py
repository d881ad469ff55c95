"""tlsproxy/tls/trust_checks.py."""

import re
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.tls.material import DAY, NOW, Issued, Request, key, key_pem, pem
from tlsproxy.tls.files import MaterialError
from tlsproxy.tls.trust import Trust, TrustMaterial
from tlsproxy.tls.trust_checks import check_trust

CA = Request("clients", (), ca=True, key=key("secp256r1")).issue()
OTHER = Request("others", (), ca=True).issue()
LEAF = Request("leaf", (), CA).issue()


def revocation_list(
    issuer: Issued = CA, *revoked: Issued, ends: timedelta = DAY, signer: Issued | None = None
) -> bytes:
    builder = x509.CertificateRevocationListBuilder(issuer.certificate.subject, NOW - 2 * DAY, NOW + ends)
    for one in revoked:
        entry = x509.RevokedCertificateBuilder(one.certificate.serial_number, NOW - DAY)
        builder = builder.add_revoked_certificate(entry.build())
    private = (signer or issuer).key
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return builder.sign(private, hashes.SHA256()).public_bytes(Encoding.PEM)


def trust(bundle: bytes, lists: bytes | None = None) -> Trust:
    return check_trust(TrustMaterial("ca.crt", "ca.crl", bundle, lists), NOW, required=True)


def test_a_bundle() -> None:
    """Its CAs, each once, are those that clients are verified with; without a list none is asked."""
    made = trust(b"text\n" + pem(CA.certificate, OTHER.certificate, CA.certificate))
    assert made.authorities == ("CN=clients", "CN=others")
    assert (made.revoked, made.list_ends, made.warnings) == (None, None, ())
    assert made.pem == pem(CA.certificate, OTHER.certificate)


def test_lists() -> None:
    """The lists count what they revoke, and the one that is over first says when."""
    lists = revocation_list(CA, LEAF, ends=2 * DAY) + revocation_list(OTHER, ends=DAY)
    made = trust(pem(CA.certificate, OTHER.certificate), lists)
    assert made.revoked == 1
    assert made.list_ends == (NOW + DAY).replace(microsecond=0)
    assert made.warnings == ()
    assert not made.is_over(NOW)
    assert made.is_over(NOW + 2 * DAY)


BAD = [
    (b"", None, "ca.crt holds no certificate"),
    (b"0\x82 DER", None, "ca.crt holds no certificate"),
    (pem(CA.certificate)[:-30], None, "ca.crt is cut off"),
    (pem(CA.certificate)[30:], None, "ca.crt is damaged"),
    (pem(CA.certificate).replace(b"\nMI", b"\nXX", 1), None, "ca.crt holds a damaged certificate"),
    (pem(LEAF.certificate), None, "ca.crt holds no CA, but CN=leaf"),
    (key_pem(CA.key), None, "ca.crt holds no certificate"),
    (pem(CA.certificate) + revocation_list(), None, "ca.crt holds revocation lists, which are looked for in ca.crl"),
    (pem(CA.certificate), b"", "ca.crl holds no revocation list"),
    (pem(CA.certificate), pem(CA.certificate), "ca.crl holds no revocation list"),
    (pem(CA.certificate), revocation_list()[:-30], "ca.crl is cut off"),
    (pem(CA.certificate), revocation_list().replace(b"\nMI", b"\nXX", 1), "ca.crl holds a damaged"),
    (pem(CA.certificate), revocation_list(signer=OTHER), "revocation list that CN=clients has not signed"),
]


@pytest.mark.parametrize(("bundle", "lists", "reason"), BAD)
def test_bad_files(bundle: bytes, lists: bytes | None, reason: str) -> None:
    """What verifies nobody, is half-written or forged is refused, with the file and the reason."""
    with pytest.raises(MaterialError, match=re.escape(reason)):
        trust(bundle, lists)


def test_what_refuses_clients_is_warned_of() -> None:
    """A CA without a list, one that has expired, and what is no CA: each costs somebody the handshake."""
    old = Request("old", (), ca=True, not_before=NOW - 2 * DAY, not_after=NOW - DAY).issue()
    made = trust(pem(CA.certificate, old.certificate, LEAF.certificate), revocation_list())
    assert list(made.warnings[1:]) == [
        "ca.crt: CN=leaf is no CA and is left out",
        "ca.crl has no revocation list of CN=old: ALL ITS CLIENTS ARE REFUSED until it has",
    ]
    assert made.warnings[0].startswith("ca.crt: CN=old has expired, on ")
    assert made.authorities == ("CN=clients", "CN=old")


def test_a_list_of_a_ca_that_is_not_in_the_bundle_may_be_good() -> None:
    """It is an intermediate's that clients bring along."""
    assert trust(pem(CA.certificate), revocation_list() + revocation_list(OTHER, LEAF)).revoked == 1
