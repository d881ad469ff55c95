"""An `SSLContext` from a checked certificate and a profile, loaded from memory, and its rehearsal.

The profiles are Mozilla's Server Side TLS guidelines, version 5.7.
"""

import os
import ssl
from dataclasses import dataclass
from typing import Literal

from tlsproxy.tls.certificate import Certificate
from tlsproxy.tls.files import MaterialError

ProfileName = Literal["intermediate", "modern"]


@dataclass(frozen=True, slots=True)
class Profile:
    """What a listener agrees to."""

    minimum: ssl.TLSVersion
    suites: tuple[str, ...]
    """Of TLS 1.2, by OpenSSL's names; those of TLS 1.3 are OpenSSL's own three, as in the guidelines."""


# Without the guideline's DHE suites: they need a group of their own to be configured, serve no client younger
# than ECDHE, and let a client cost the server far more than itself (CVE-2002-20001).
_FORWARD_SECRET = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
# Refusals of OpenSSL's security level 2, which Python sets.
_MEANINGS = {
    "CA_MD_TOO_WEAK": "a certificate of the chain is signed with MD5 or SHA-1",
    "CA_KEY_TOO_SMALL": "an issuer in the chain has a key that is too short",
    "EE_KEY_TOO_SMALL": "its key is too short",
}
PROFILES: dict[ProfileName, Profile] = {
    "intermediate": Profile(ssl.TLSVersion.TLSv1_2, _FORWARD_SECRET),
    "modern": Profile(ssl.TLSVersion.TLSv1_3, ()),
}


class ServerObject(ssl.SSLObject):
    """A server's SSLObject that remembers what name its client asked for: Python tells it to `sni_callback` alone."""

    server_name: str | None = None


def _remember_server_name(tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
    if isinstance(tls, ServerObject):
        tls.server_name = name


def build(certificate: Certificate, profile: ProfileName, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    """A server's context that presents the certificate.

    Args:
        certificate: checked; loaded from its bytes, the files are not looked at again.
        profile: which of `PROFILES`.
        alpn: protocol names in order of preference (RFC 7301); empty: the extension is not answered.

    Raises:
        MaterialError: OpenSSL does not take the certificate, in its own words.
    """
    rules = PROFILES[profile]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = rules.minimum
    if rules.suites:
        context.set_ciphers(":".join(rules.suites))
    # All suites are strong: the client, which knows whether it has AES in hardware, chooses (guidelines 5.7).
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    # OpenSSL sends two tickets after each full TLS 1.3 handshake; the second costs 5 % of a new connection.
    context.num_tickets = 1
    if alpn:
        context.set_alpn_protocols(alpn)
    context.sslobject_class = ServerObject
    context.sni_callback = _remember_server_name
    _load(context, certificate)
    return context


def _load(context: ssl.SSLContext, certificate: Certificate) -> None:
    """Hand over the checked bytes: `load_cert_chain` takes only paths, so they get one that is no file's."""
    with os.fdopen(os.memfd_create("certificate", os.MFD_CLOEXEC), "wb") as memory:
        memory.write(certificate.chain_pem + certificate.key_pem)
        memory.flush()
        try:
            context.load_cert_chain(f"/proc/self/fd/{memory.fileno()}")
        except ssl.SSLError as error:
            raise MaterialError(
                f"{certificate.certificate_file} cannot be served: OpenSSL says {_reason(error)}"
            ) from None


def rehearse(context: ssl.SSLContext, certificate: Certificate) -> None:
    """Let a client of each version that the context offers complete a handshake with it, in memory.

    Args:
        context: as `build` made it.
        certificate: what it was made of, for the message.

    Raises:
        MaterialError: one could not; the reason is OpenSSL's.
    """
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        if version >= context.minimum_version:
            try:
                _connect(context, version)
            except ssl.SSLError as error:
                raise MaterialError(
                    f"{certificate.certificate_file} cannot be served: no client could connect with "
                    f"{version.name}: OpenSSL says {_reason(error)}"
                ) from None


def _connect(context: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    upward, downward = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(upward, downward, server_side=True)
    client = _client(version).wrap_bio(downward, upward)
    # Two flights from either side are all that a handshake of either version takes.
    for side in (client, server, client, server):
        _advance(side)
    client.do_handshake()
    server.do_handshake()


def _client(version: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that believes anyone: whether the certificate is trusted is for the real ones to say."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    return context


def _advance(side: ssl.SSLObject) -> None:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's reason, with its meaning where the code alone does not tell the operator."""
    reason = error.reason or str(error)
    return f"{reason} ({_MEANINGS[reason]})" if reason in _MEANINGS else reason
