"""An `SSLContext` from a checked certificate and a profile, loaded from memory, and its rehearsal.

The profiles are Mozilla's Server Side TLS guidelines, version 5.7.
"""

import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal, cast

from tlsproxy.tls.certificate import Certificate
from tlsproxy.tls.files import MaterialError
from tlsproxy.tls.trust import Trust

ProfileName = Literal["intermediate", "modern"]
_SniCallback = Callable[[ssl.SSLObject | ssl.SSLSocket, str | None, ssl.SSLContext], int | None]


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
    covers: Callable[[bytes], bool] | None = None
    """Whether a request's Host is among the names that its certificate is for; None: nobody is to ask."""


@dataclass(frozen=True, slots=True)
class Presented:
    """What a client that asks for one name, or for none, is served with."""

    context: ssl.SSLContext | None
    """None: the listening one, which the handshake began with."""
    covers: Callable[[bytes], bool] | None
    """As `ServerObject` has it from then on."""


def _remember_server_name(tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
    if isinstance(tls, ServerObject):
        tls.server_name = name


def switch_by_name(context: ssl.SSLContext, pick: Callable[[str | None], Presented | None]) -> None:
    """Let the handshakes that begin with this context go on with what is picked for the name that is asked for.

    Args:
        context: as `build` made it; the keys of tickets and the versions stay its own.
        pick: given the name, None where the client asked for none; None refuses with `unrecognized_name`
            (RFC 6066 section 3). It holds no reference to the context: that would be a cycle through OpenSSL.
    """

    def switch(tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> int | None:
        presented = pick(name)
        if presented is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        if isinstance(tls, ServerObject):
            tls.server_name = name
            tls.covers = presented.covers
        if presented.context is not None:
            tls.context = presented.context
        return None

    context.sni_callback = switch


def note_names(context: ssl.SSLContext, note: Callable[[str], None]) -> None:
    """Call `note` with each name that is asked for in a handshake that begins with this context.

    Args:
        context: whose `sni_callback` is set already; it is called as before.
        note: holds no reference to the context, and does not raise.
    """
    before = cast("_SniCallback", context.sni_callback)

    def noting(tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, begun: ssl.SSLContext) -> int | None:
        if name:
            note(name)
        return before(tls, name, begun)

    context.sni_callback = noting


def withhold_tickets(context: ssl.SSLContext) -> None:
    """Give clients of handshakes that begin with this context nothing to resume by.

    Sessions of TLS 1.2 that OpenSSL keeps by their id it resumes none the less, in this process alone.
    """
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET


def build(
    certificate: Certificate,
    profile: ProfileName,
    alpn: tuple[str, ...] = (),
    companions: Sequence[Certificate] = (),
    trust: Trust | None = None,
) -> ssl.SSLContext:
    """A server's context that presents the certificate.

    Args:
        certificate: checked; loaded from its bytes, the files are not looked at again.
        profile: which of `PROFILES`.
        alpn: protocol names in order of preference (RFC 7301); empty: the extension is not answered.
        companions: certificates with other kinds of key, one of each; OpenSSL picks by what the client can do.
        trust: what clients are verified with; None: they are asked for no certificate.

    Raises:
        MaterialError: OpenSSL does not take a certificate or the trust, in its own words, or there is no descriptor
            or memory to hand it over.
    """
    rules = PROFILES[profile]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = rules.minimum
    if rules.suites:
        context.set_ciphers(":".join(rules.suites))
    # All suites are strong: the client, which knows whether it has AES in hardware, chooses (guidelines 5.7).
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    # That nothing is compressed Python sees to (CRIME, CVE-2012-4929).
    context.options |= ssl.OP_NO_RENEGOTIATION
    # OpenSSL sends two tickets after each full TLS 1.3 handshake; the second costs 5 % of a new connection.
    context.num_tickets = 1
    if alpn:
        context.set_alpn_protocols(alpn)
    context.sslobject_class = ServerObject
    context.sni_callback = _remember_server_name
    for one in (certificate, *companions):
        _load(context, one)
    if trust is not None:
        _ask_clients(context, trust)
    return context


def _ask_clients(context: ssl.SSLContext, trust: Trust) -> None:
    """Verify clients with the checked bytes; that is done by each context that a handshake may go on with."""
    context.verify_mode = ssl.CERT_REQUIRED if trust.required else ssl.CERT_OPTIONAL
    # Whatever CA is in the bundle is believed by itself, whether its own issuer is there or not.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if trust.revoked is not None:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    try:
        with _as_file(trust.pem) as path:
            context.load_verify_locations(path)
    except OSError as error:
        raise MaterialError(f"the client CAs cannot be used: {_reason(error)}") from None


def _load(context: ssl.SSLContext, certificate: Certificate) -> None:
    try:
        with _as_file(certificate.chain_pem + certificate.key_pem) as path:
            context.load_cert_chain(path)
    except OSError as error:
        raise MaterialError(f"{certificate.certificate_file} cannot be served: {_reason(error)}") from None


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path to the checked bytes, which is no file's: what Python's ssl loads, it takes from paths only."""
    with os.fdopen(os.memfd_create("certificate", os.MFD_CLOEXEC), "wb") as memory:
        memory.write(content)
        memory.flush()
        yield f"/proc/self/fd/{memory.fileno()}"


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
                    f"{version.name}: {_reason(error)}"
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


@cache
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


def _reason(error: OSError) -> str:
    """OpenSSL's reason, with its meaning where the code alone does not tell the operator; or the kernel's."""
    if not isinstance(error, ssl.SSLError):
        # No descriptor or memory for the bytes, or no /proc to read them by.
        return f"it cannot be loaded: {error.strerror}"
    reason = error.reason or str(error)
    return "OpenSSL says " + (f"{reason} ({_MEANINGS[reason]})" if reason in _MEANINGS else reason)
