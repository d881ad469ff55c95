"""A certificate, its key and what they say, checked together: from bytes to a value that can be served.

Knows nothing of paths beyond their names in messages, and nothing of `ssl`. Here is what takes cryptography, which is
11 MB of a process: to be imported by those alone who have something to check.

Dates are no reason to refuse here. A certificate outside its dates carries a warning; the store keeps a valid
one in its place if it has one, and serves it otherwise: an expired certificate tells a client more than a
dead port does.
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tlsproxy.tls.certificate import Certificate
from tlsproxy.tls.files import Material, MaterialError

# NIST SP 800-57 part 1; OpenSSL's security level 2 and the public CAs draw the line at the same place.
MIN_RSA = 2048
# Broken since 2017 (SHAttered), and what OpenSSL's security level 2 refuses in a chain.
WEAK_DIGESTS = {"md5": "MD5", "sha1": "SHA-1"}
CURVES = {"secp256r1": "P-256", "secp384r1": "P-384"}
# Public chains have 2 to 4; a trust store that was mounted by mistake has hundreds.
MAX_CHAIN = 16

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

# What the library raises when it reads a part of a certificate that is not as it should be; TypeError for a name of an
# unusual type.
_DAMAGED = (ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
_MARKER = re.compile(rb"-----(BEGIN|END) ([A-Z0-9 ]+)-----")
_CERTIFICATES = frozenset({"CERTIFICATE", "X509 CERTIFICATE"})
_KEYS = frozenset({"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"})
_DECRYPT = "is encrypted, and nobody is there to type a passphrase: decrypt it with openssl pkey"
_UNSUPPORTED = "RSA, ECDSA P-256, ECDSA P-384 and Ed25519 are supported"
# What else stands in such files, and what to say when it stands there instead of what is needed.
_INSTEAD = {
    "CERTIFICATE REQUEST": "holds a signing request, which a CA has yet to make a certificate of",
    "NEW CERTIFICATE REQUEST": "holds a signing request, which a CA has yet to make a certificate of",
    "TRUSTED CERTIFICATE": "holds OpenSSL's trusted form: convert it with openssl x509",
    "PKCS7": "holds PKCS#7: convert it with openssl pkcs7 -print_certs",
    "PUBLIC KEY": "holds a public key",
    "OPENSSH PRIVATE KEY": f"holds an OpenSSH key, which is not for TLS: {_UNSUPPORTED}",
    "DSA PRIVATE KEY": f"holds a DSA key: {_UNSUPPORTED}",
    "ENCRYPTED PRIVATE KEY": f"holds a private key that {_DECRYPT}",
}


def check(material: Material, now: datetime) -> Certificate:
    """Make of the bytes what can be served, or say why not.

    Args:
        material: what was read; the key may stand in the certificate's file.
        now: the moment that dates are judged by, for warnings alone.

    Raises:
        MaterialError: names the file and the reason.
    """
    certificates = _certificates(material)
    key = _key(material)
    leaf = _leaf(certificates, key, material)
    chain = [leaf, *_issuers(leaf, [other for other in certificates if other != leaf])]
    _refuse_weak_signatures(chain, material.certificate_file)
    warnings = [
        *_order_warnings(certificates, chain),
        *_end_warnings(certificates, chain, material.authorities),
        *_leaf_warnings(leaf),
        *_date_warnings(chain, now),
    ]
    return Certificate(
        name=material.name,
        names=_names(leaf),
        serial=_serial(leaf),
        issuer=leaf.issuer.rfc4514_string(),
        subject=leaf.subject.rfc4514_string(),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        key_type=_key_type(key, material.key_file),
        fingerprint=_fingerprint(leaf),
        certificate_file=material.certificate_file,
        key_file=material.key_file,
        chain=tuple(map(_subject, chain)),
        missing_issuer="" if _issued(chain[-1], chain[-1]) else chain[-1].issuer.rfc4514_string(),
        chain_pem=b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain),
        key_pem=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        warnings=tuple(f"{material.certificate_file}: {warning}" for warning in warnings),
    )


def fingerprint_on_disk(material: Material) -> str:
    """That of the first certificate of material that need not be good, as in `Certificate`; empty: none is there."""
    try:
        return _fingerprint(_certificates(material)[0])
    except MaterialError:
        return ""


# PEM


def _blocks(content: bytes, file: str) -> Iterator[tuple[str, bytes]]:
    """The PEM blocks of a file with their labels; text around them is passed over, as OpenSSL does."""
    begin: re.Match[bytes] | None = None
    for marker in _MARKER.finditer(content):
        if marker[1] == b"BEGIN":
            if begin is not None:
                break
            begin = marker
        elif begin is not None and begin[2] == marker[2]:
            yield begin[2].decode("ascii"), content[begin.start() : marker.end()] + b"\n"
            begin = None
        else:
            raise MaterialError(f"{file} is damaged: it has an end of a PEM block without its beginning")
    if begin is not None:
        raise MaterialError(f"{file} is cut off: a PEM block in it has no end")


def _pem(content: bytes, file: str, what: str) -> list[tuple[str, bytes]]:
    """The blocks of a file, of which there is at least one."""
    if not content.strip():
        raise MaterialError(f"{file} is empty")
    blocks = list(_blocks(content, file))
    if blocks:
        return blocks
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise MaterialError(f"{file} is UTF-16 text: save it as plain ASCII")
    if content.startswith(b"\x30"):
        raise MaterialError(f"{file} is binary (DER or PKCS#12), not PEM: convert it with openssl {what}")
    raise MaterialError(f"{file} is not PEM: no '-----BEGIN' line is in it")


def _instead(labels: list[str], wanted: str) -> str:
    """What a file holds that lacks what is wanted."""
    return next((_INSTEAD[label] for label in labels if label in _INSTEAD), f"holds no {wanted}")


def _certificates(material: Material) -> list[x509.Certificate]:
    """Those of the certificate's file in its order, each once."""
    file = material.certificate_file
    blocks = _pem(material.certificate, file, "x509 or openssl pkcs12")
    found = [pem for label, pem in blocks if label in _CERTIFICATES]
    labels = [label for label, _ in blocks]
    if not found and _KEYS.intersection(labels):
        raise MaterialError(f"{file} holds a private key only, and no certificate")
    if not found:
        raise MaterialError(f"{file} {_instead(labels, 'certificate')}")
    if len(found) > MAX_CHAIN:
        raise MaterialError(f"{file} holds {len(found)} certificates: a chain of at most {MAX_CHAIN} is expected")
    try:
        certificates = list(dict.fromkeys(x509.load_pem_x509_certificate(pem) for pem in found))
        # Names are read lazily: whatever is wrong with them shows here and not later.
        _ = [(one.subject, one.issuer) for one in certificates]
    except _DAMAGED:
        # The library's words are of its parser's inside.
        raise MaterialError(f"{file} holds a damaged certificate: copy it again as it was issued") from None
    return certificates


# The key


def _key(material: Material) -> Key:
    """The one private key of the key's file."""
    file = material.key_file
    blocks = _pem(material.key, file, "pkey or openssl pkcs12")
    found = [pem for label, pem in blocks if label in _KEYS]
    if not found:
        raise MaterialError(f"{file} {_instead([label for label, _ in blocks], 'private key')}")
    if len(found) > 1:
        raise MaterialError(f"{file} holds {len(found)} private keys: leave the one of the certificate")
    try:
        # To prove an RSA key's primes holds the loop for 0.25 s at 4096 bits, and the rehearsal's signatures
        # show as much: a key that does not sign for the certificate serves no handshake.
        key = serialization.load_pem_private_key(found[0], password=None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        raise MaterialError(f"{file} holds a private key that {_DECRYPT}") from None
    except (ValueError, UnsupportedAlgorithm):
        # The library's words are not passed on: they may quote what they choked on.
        raise MaterialError(f"{file} holds a damaged private key, or one of a kind that is not known") from None
    if not isinstance(key, Key):
        kind = type(key).__name__.removesuffix("PrivateKey").lstrip("_")
        raise MaterialError(f"{file} holds a key of type {kind}: {_UNSUPPORTED}")
    return key


def _key_type(key: Key, file: str) -> str:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "Ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < MIN_RSA:
            raise MaterialError(f"{file} holds an RSA key of {key.key_size} bits: at least {MIN_RSA} are needed")
        return f"RSA {key.key_size}"
    if key.curve.name not in CURVES:
        raise MaterialError(f"{file} holds an ECDSA key on the curve {key.curve.name}: {_UNSUPPORTED}")
    return f"ECDSA {CURVES[key.curve.name]}"


# The chain


def _leaf(certificates: list[x509.Certificate], key: Key, material: Material) -> x509.Certificate:
    """The certificate that the key is for."""
    own = _identity(key.public_key)
    for certificate in certificates:
        if _identity(certificate.public_key) == own:
            return certificate
    raise MaterialError(
        f"the key in {material.key_file} does not match the certificate in {material.certificate_file} "
        f"({_subject(certificates[0])}, serial {_serial(certificates[0])}): they are of different pairs"
    )


def _identity(public_key: Callable[[], PublicKeyTypes]) -> bytes | None:
    """What tells public keys apart; None for a kind that is not known."""
    try:
        return public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return None


def _issuers(certificate: x509.Certificate, rest: list[x509.Certificate]) -> Iterator[x509.Certificate]:
    """The way up from a certificate; a second issuer of the same name and key (cross-signed) comes after it.

    What is found is taken out of `rest`.
    """
    while issuer := next((other for other in rest if _issued(other, certificate)), None):
        rest.remove(issuer)
        yield issuer
        yield from _issuers(issuer, rest)


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _refuse_weak_signatures(chain: list[x509.Certificate], file: str) -> None:
    """What proves nothing any more; nobody verifies the signature of a root on itself."""
    for one in chain:
        digest = _digest(one)
        if digest in WEAK_DIGESTS and (one is chain[0] or one.subject != one.issuer):
            raise MaterialError(
                f"{file}: {_subject(one)} is signed with {WEAK_DIGESTS[digest]}, which can be forged and which clients "
                "refuse: have it issued again with SHA-256"
            )


def _digest(certificate: x509.Certificate) -> str:
    """What it is signed with; empty where the signature has no digest of its own (Ed25519) or an unknown one."""
    try:
        digest = certificate.signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return ""
    return digest.name if digest is not None else ""


# What is worth a warning


def _order_warnings(found: list[x509.Certificate], chain: list[x509.Certificate]) -> Iterator[str]:
    if [one for one in found if one in chain] != chain:
        yield "the chain is not in order (the certificate, then its issuer, and so on); it is served mended"
    for stranger in found:
        if stranger not in chain:
            yield f"{_subject(stranger)} is no part of the chain and is left out"


def _end_warnings(found: list[x509.Certificate], chain: list[x509.Certificate], authorities: bytes) -> Iterator[str]:
    """Whether an intermediate seems to be missing: roots are the clients' own, and nobody has to present them."""
    top, whole = chain[-1], len(chain) > 1 and len(chain) == len(found)
    if whole or _issued(top, top) or any(_issued(root, top) for root in _roots(authorities)):
        return
    yield (
        f"{_subject(top) if len(chain) > 1 else 'it'} comes without its issuer, {top.issuer.rfc4514_string()}: unless "
        "clients have that as a root they will refuse it; put the intermediate behind it in the file"
    )


def _roots(authorities: bytes) -> list[x509.Certificate]:
    """What lies beside the certificate as ca.crt; none where that is no use."""
    try:
        return x509.load_pem_x509_certificates(authorities)
    except _DAMAGED:
        return []


def _leaf_warnings(leaf: x509.Certificate) -> Iterator[str]:
    """What clients will hold against it though the handshake works."""
    try:
        extensions = leaf.extensions
    except _DAMAGED as error:
        yield f"its extensions are damaged ({error}); clients may refuse it"
        return
    if not _alternative_names(leaf):
        yield "it has no subject alternative names, and clients ignore the common name (RFC 9110, 4.3.4)"
    try:
        usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if ExtendedKeyUsageOID.SERVER_AUTH not in usage and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in usage:
        yield "its extended key usage does not allow it for a server; clients will refuse it"


def _date_warnings(chain: list[x509.Certificate], now: datetime) -> Iterator[str]:
    for one in chain:
        if now > one.not_valid_after_utc:
            yield f"{_subject(one)} has expired, on {one.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        elif now < one.not_valid_before_utc:
            yield f"{_subject(one)} is not valid before {one.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"


# What it says


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    common = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return _alternative_names(leaf) or tuple(str(attribute.value) for attribute in common)


def _alternative_names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *_DAMAGED):
        return ()
    addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or f"serial {_serial(certificate)}"


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def _serial(certificate: x509.Certificate) -> str:
    digits = f"{certificate.serial_number:X}"
    return digits if len(digits) % 2 == 0 else f"0{digits}"
