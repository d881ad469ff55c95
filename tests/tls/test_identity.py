"""tlsproxy/tls/identity.py."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.tls.test_clients import CA, der, named
from tlsproxy.client_rules import Identity
from tlsproxy.tls.identity import read_end, read_identity


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
        ('"', r"CN=\22"),
        ("a\\", r"CN=a\5C"),
        ('\\"', r"CN=\5C\22"),
        ('\\,"', r"CN=\5C\,\22"),
    ],
)
def test_subjects_are_printable(name: str, subject: str) -> None:
    """Nobody forges a line or a field by a name: all but printable ASCII is escaped as RFC 4514 has it."""
    assert read_identity(der(named(common_name=name))).subject == subject


def test_a_damaged_certificate_says_nothing() -> None:
    """What cannot be read matches no rule, and raises nothing."""
    assert read_identity(b"0\x00") == Identity("")


def test_a_damaged_certificate_has_ended() -> None:
    """No session is resumed by what cannot be read."""
    assert read_end(b"0\x00") == 0
