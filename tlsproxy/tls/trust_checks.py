"""From the bytes of a bundle and its revocation lists to a value that OpenSSL can be given.

Python's ssl tells nobody which certificate it has refused, so what refuses clients by itself (a list that is over, a CA
without a list of its own) is said here, before it happens. To be imported by those alone who verify clients:
cryptography is 11 MB of a process.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from tlsproxy.tls.description import moment
from tlsproxy.tls.files import MaterialError
from tlsproxy.tls.trust import Trust, TrustMaterial

_DAMAGED = (ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension, UnsupportedAlgorithm)
_MARKER = re.compile(rb"-----(BEGIN|END) ([A-Z0-9 ]+)-----")
PEM = Encoding.PEM
_CERTIFICATE, _LIST = b"CERTIFICATE", b"X509 CRL"


def check_trust(material: TrustMaterial, now: datetime, *, required: bool) -> Trust:
    """Make of the bytes what clients can be verified with, or say why not.

    Args:
        material: what was read.
        now: the moment that dates are judged by.
        required: as `Trust` has it.

    Raises:
        MaterialError: names the file and the reason.
    """
    found = _certificates(material)
    authorities = [one for one in found if _may_issue(one)]
    if not authorities:
        raise MaterialError(f"{material.bundle_file} holds no CA, but {_subject(found[0])}: its issuer belongs there")
    lists = _lists(material)
    for one in lists:
        _refuse_forged(one, authorities, material.lists_file)
    ending = [(one.next_update_utc, one.last_update_utc) for one in lists if one.next_update_utc is not None]
    ends, began = min(ending, default=(None, None))
    return Trust(
        required=required,
        authorities=tuple(map(_subject, authorities)),
        revoked=sum(map(len, lists)) if material.lists is not None else None,
        list_began=began,
        list_ends=ends,
        pem=b"".join([one.public_bytes(PEM) for one in authorities] + [one.public_bytes(PEM) for one in lists]),
        warnings=(
            *_authority_warnings(found, material.bundle_file, now),
            *(_list_warnings(authorities, lists, material.lists_file) if material.lists is not None else ()),
        ),
    )


def _blocks(content: bytes, file: str) -> Iterator[tuple[bytes, bytes]]:
    """The PEM blocks of a file with their labels; one that is cut off makes the file half-written."""
    begin: re.Match[bytes] | None = None
    for marker in _MARKER.finditer(content):
        if (marker[1] == b"BEGIN") is not (begin is None) or (begin is not None and begin[2] != marker[2]):
            raise MaterialError(f"{file} is damaged: its PEM blocks do not begin and end in turn")
        if begin is None:
            begin = marker
        else:
            yield begin[2], content[begin.start() : marker.end()] + b"\n"
            begin = None
    if begin is not None:
        raise MaterialError(f"{file} is cut off: a PEM block in it has no end")


def _certificates(material: TrustMaterial) -> list[x509.Certificate]:
    file = material.bundle_file
    blocks = list(_blocks(material.bundle, file))
    if any(label == _LIST for label, _ in blocks):
        raise MaterialError(f"{file} holds revocation lists, which are looked for in {material.lists_file}")
    try:
        found = [x509.load_pem_x509_certificate(pem) for label, pem in blocks if label == _CERTIFICATE]
        _ = [(one.subject, one.public_key(), one.extensions) for one in found]
    except _DAMAGED:
        what = "a damaged certificate, or one of a kind that is not known"
        raise MaterialError(f"{file} holds {what}: copy it again as it was issued") from None
    if not found:
        raise MaterialError(f"{file} holds no certificate in PEM: no client could be verified")
    return list(dict.fromkeys(found))


def _may_issue(certificate: x509.Certificate) -> bool:
    """Whether it says that it is a CA's (RFC 5280 section 4.2.1.9)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return certificate.version == x509.Version.v1 and certificate.subject == certificate.issuer


def _lists(material: TrustMaterial) -> list[x509.CertificateRevocationList]:
    if material.lists is None:
        return []
    file = material.lists_file
    try:
        found = [x509.load_pem_x509_crl(pem) for label, pem in _blocks(material.lists, file) if label == _LIST]
        _ = [(one.issuer, one.next_update_utc, one.last_update_utc) for one in found]
    except _DAMAGED:
        raise MaterialError(f"{file} holds a damaged revocation list: fetch it again") from None
    if not found:
        raise MaterialError(f"{file} holds no revocation list in PEM: convert it with openssl crl")
    return found


def _refuse_forged(one: x509.CertificateRevocationList, authorities: Sequence[x509.Certificate], file: str) -> None:
    """A list in the name of a CA has its signature; that of an intermediate which is not in the bundle may be good."""
    issuers = [authority for authority in authorities if authority.subject == one.issuer]
    if issuers and not any(_signed(one, issuer) for issuer in issuers):
        raise MaterialError(f"{file} holds a revocation list that {one.issuer.rfc4514_string()} has not signed")


def _signed(one: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        # The key of a DSA or X25519 authority is a TypeError there, and no signature.
        return one.is_signature_valid(cast(CertificateIssuerPublicKeyTypes, issuer.public_key()))  # noqa: TC006 - vulture reads no strings
    except _DAMAGED:
        return False


def _authority_warnings(found: Sequence[x509.Certificate], file: str, now: datetime) -> Iterator[str]:
    for one in found:
        if not _may_issue(one):
            yield f"{file}: {_subject(one)} is no CA and is left out"
        elif now > one.not_valid_after_utc:
            yield f"{file}: {_subject(one)} has expired, on {moment(one.not_valid_after_utc)}: its clients are refused"


def _list_warnings(
    authorities: Sequence[x509.Certificate], lists: Sequence[x509.CertificateRevocationList], file: str
) -> Iterator[str]:
    issuers = {one.issuer for one in lists}
    for authority in authorities:
        if authority.subject not in issuers:
            yield f"{file} has no revocation list of {_subject(authority)}: ALL ITS CLIENTS ARE REFUSED until it has"


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or f"serial {certificate.serial_number:X}"
