"""What a client's certificate says of its holder.

To be imported by those alone who have a certificate to read: cryptography is 11 MB of a process.
"""

import re

from cryptography import x509
from cryptography.x509.oid import NameOID

from tlsproxy.client_rules import Identity

# Whatever cryptography makes of an encoding that OpenSSL has let pass.
_DAMAGED = (ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
# What RFC 4514 escapes by a backslash alone and has to be escaped otherwise, and what it would leave as it is.
_ESCAPED = re.compile(r'\\["\\]|[^ -~]')


def read_identity(der: bytes) -> Identity:
    """What a certificate says of its holder; what is damaged in it says nothing, so that no rule can match it."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.subject
        subject = _printable(names.rfc4514_string())
        common_names = _texts(names, NameOID.COMMON_NAME)
        units = _texts(names, NameOID.ORGANIZATIONAL_UNIT_NAME)
    except _DAMAGED:
        return Identity("")
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns = tuple(alternative.get_values_for_type(x509.DNSName))
        uris = tuple(alternative.get_values_for_type(x509.UniformResourceIdentifier))
    except (x509.ExtensionNotFound, *_DAMAGED):
        dns = uris = ()
    return Identity(subject, common_names, units, dns, uris)


def read_end(der: bytes) -> float:
    """When a certificate ends, in seconds since 1970; what is damaged has ended."""
    try:
        return x509.load_der_x509_certificate(der).not_valid_after_utc.timestamp()
    except _DAMAGED:
        return 0.0


def _texts(names: x509.Name, kind: x509.ObjectIdentifier) -> tuple[str, ...]:
    return tuple(text for one in names.get_attributes_for_oid(kind) if isinstance(text := one.value, str))


def _printable(subject: str) -> str:
    r"""The subject with all but printable ASCII, quotes and backslashes as \HH (RFC 4514 section 2.4).

    A value in quotes then holds neither a quote nor a backslash that a reader could take for the escape of the one that
    ends it.
    """
    return _ESCAPED.sub(_escaped, subject)


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"\\{byte:02X}" for byte in found[0][-1].encode("utf-8", "surrogatepass"))
