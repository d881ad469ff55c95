"""Mutual TLS: who a client is by its certificate, whether the rules let it in, and the fields that tell the app.

OpenSSL has verified the certificate before anything here looks at it. A certificate is read once: what it says is
remembered by its fingerprint, and a connection, a resumed one too, costs one look-up.
"""

import base64
import logging
import re
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal

from cryptography import x509
from cryptography.x509.oid import NameOID

from tlsproxy.client_rules import Identity, Rules, allowed, spell_rules
from tlsproxy.measures import Measure

ClientAuth = Literal["optional", "observe", "required"]
"""What is asked of clients; see TLSPROXY_CLIENT_AUTH."""

log = logging.getLogger("tlsproxy.clients")

# Whatever cryptography makes of an encoding that OpenSSL has let pass.
_DAMAGED = (ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
# X509_V_ERR_* of OpenSSL's x509_vfy.h, as labels of a bounded set; any other is `bad_certificate`.
_VERDICTS = {
    2: "unknown_client_ca",
    3: "client_crl_missing",
    9: "client_certificate_not_yet_valid",
    10: "client_certificate_expired",
    12: "client_crl_expired",
    18: "unknown_client_ca",
    19: "unknown_client_ca",
    20: "unknown_client_ca",
    21: "unknown_client_ca",
    23: "client_certificate_revoked",
}
_UNPRINTABLE = re.compile(r"[^ -~]")
_QUOTED = re.compile(r'[",;=\\ ]')


@dataclass(frozen=True, slots=True, eq=False)
class Caller:
    """A client that has shown a certificate which was verified."""

    identity: Identity
    fields: bytes = field(repr=False)
    """The lines that tell the app of it."""
    denied: bool
    """Whether the rules keep it out."""

    @property
    def subject(self) -> str:
        """Whose certificate it is, in printable ASCII."""
        return self.identity.subject


class Clients:
    """What the connections of a listener that asks for client certificates share.

    Args:
        auth: what is asked.
        rules: who of the verified is let in; empty: all of them.
    """

    BOUND = 1024

    def __init__(self, auth: ClientAuth, rules: Rules = ()) -> None:
        self.denied: Counter[str] = Counter()
        """Verified clients that were turned away, by reason."""
        self.observed: Counter[str] = Counter()
        """Clients that were let in and would not be if certificates were required, by reason."""
        self._auth = auth
        self._rules = rules
        self._callers: dict[bytes, Caller] = {}

    def __repr__(self) -> str:
        return f"<Clients {self._auth} rules={len(self._rules)} known={len(self._callers)}>"

    def arrived(self, tls: ssl.SSLObject, address: Callable[[], str]) -> Caller | None:
        """Judge the client of a connection whose handshake is over; None: it has shown no certificate.

        Args:
            tls: the connection's.
            address: tells the client's, for the log.
        """
        der = tls.getpeercert(binary_form=True)
        if der is None:
            if self._auth == "observe":
                self.observed["no_certificate"] += 1
                log.warning("client %s has no certificate and is let in (TLSPROXY_CLIENT_AUTH=observe)", address())
            return None
        caller = self._caller(der)
        if self._rules and not allowed(self._rules, caller.identity):
            self._outside(caller, address())
        return caller

    def refused(self, error: ssl.SSLError, address: str) -> str:
        """Tell of a client that OpenSSL has refused, whose certificate Python does not hand over; why, as a label."""
        if isinstance(error, ssl.SSLCertVerificationError):
            reason, detail = _VERDICTS.get(error.verify_code, "bad_certificate"), error.verify_message
        else:
            reason, detail = "certificate_required", "it has shown no certificate"
        log.warning("client %s refused: %s: %s (TLSPROXY_CLIENT_AUTH=%s)", address, reason, detail, self._auth)
        return reason

    def _outside(self, caller: Caller, address: str) -> None:
        subject, rules = caller.subject or "without a subject", spell_rules(self._rules)
        if caller.denied:
            self.denied["not_allowed"] += 1
            log.warning("client %s denied: %s; none of TLSPROXY_CLIENT_ALLOW=%s lets it in", address, subject, rules)
        else:
            self.observed["not_allowed"] += 1
            log.warning(
                "client %s would be denied, and is let in (TLSPROXY_CLIENT_AUTH=observe): %s; none of "
                "TLSPROXY_CLIENT_ALLOW=%s lets it in",
                address,
                subject,
                rules,
            )

    def _caller(self, der: bytes) -> Caller:
        fingerprint = sha256(der).digest()
        caller = self._callers.get(fingerprint)
        if caller is None:
            if len(self._callers) >= self.BOUND:
                self._callers.clear()
            identity = read_identity(der)
            denied = self._auth != "observe" and not allowed(self._rules, identity)
            caller = self._callers[fingerprint] = Caller(identity, fields_for_app(der, identity), denied)
        return caller

    def measures(self) -> Iterator[Measure]:
        """The counts of those who are let in for all that; who is denied is the acceptor's to tell."""
        yield Measure(
            "tlsproxy_clients_observed_total",
            "counter",
            "Connections of clients that are let in, and would not be with CLIENT_AUTH=required.",
            ("reason",),
            {(reason,): self.observed[reason] for reason in ("no_certificate", "not_allowed")},
        )


# --- What a certificate says -------------------------------------------------------------------------------


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


def _texts(names: x509.Name, kind: x509.ObjectIdentifier) -> tuple[str, ...]:
    return tuple(text for one in names.get_attributes_for_oid(kind) if isinstance(text := one.value, str))


def _printable(text: str) -> str:
    r"""The text with all but printable ASCII as \HH, which RFC 4514 (section 2.4) reads back and nobody forges by."""
    return _UNPRINTABLE.sub(lambda found: "".join(f"\\{byte:02X}" for byte in _utf8(found[0])), text)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


# --- What the app is told ----------------------------------------------------------------------------------


def fields_for_app(der: bytes, identity: Identity) -> bytes:
    """The lines of `Client-Cert` (RFC 9440 section 2) and of Envoy's `X-Forwarded-Client-Cert`."""
    return (
        f"Client-Cert: :{base64.b64encode(der).decode()}:\r\n"
        f"X-Forwarded-Client-Cert: {';'.join(_elements(der, identity))}\r\n"
    ).encode()


def _elements(der: bytes, identity: Identity) -> Iterator[str]:
    """Those that Envoy's own meshes set; the certificate itself is in the other field."""
    yield f"Hash={sha256(der).hexdigest()}"
    yield f'Subject="{identity.subject}"'
    for uri in identity.uris:
        yield f"URI={_element(uri)}"
    for name in identity.dns:
        yield f"DNS={_element(name)}"


def _element(value: str) -> str:
    """A value, in quotes where it could be taken for more than one."""
    value = _printable(value)
    return '"{}"'.format(re.sub(r'(["\\])', r"\\\1", value)) if _QUOTED.search(value) else value
