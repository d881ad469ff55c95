"""Mutual TLS: who a client is by its certificate, whether the rules let it in, and the fields that tell the app.

OpenSSL has verified the certificate before anything here looks at it. A certificate is read once: what it says is
remembered by its fingerprint, and a connection, a resumed one too, costs one look-up.

Where the app is to be told the chain as well, a session has to be one whose full handshake is remembered: Python knows
no chain of a resumed one. Whoever makes the contexts sends no tickets then; sessions of TLS 1.2 that OpenSSL keeps in
this process resume none the less.
"""

import _ssl
import base64
import logging
import math
import re
import ssl
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from time import monotonic, time
from typing import Literal, Protocol, cast

from tlsproxy.chassis.measures import Measure
from tlsproxy.chassis.repeats import Repeats
from tlsproxy.client_rules import Identity, Rules, allowed, spell_rules

ClientAuth = Literal["optional", "observe", "required"]
"""What is asked of clients; see TLSPROXY_CLIENT_AUTH."""

Chain = tuple[bytes, ...]
"""The certificates (DER) above a client's own, each certified by the next; the last is in the bundle."""

log = logging.getLogger("tlsproxy.clients")

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
REFUSAL_REASONS = frozenset({*_VERDICTS.values(), "bad_certificate", "certificate_required", "session_forgotten"})
"""Why a client's handshake comes to nothing, as labels: all that there are."""
KEPT_OUT_REASONS = frozenset({"no_certificate", "not_allowed"})
"""Why a client is denied after its handshake, or would be, as labels: all that there are."""
_FOREIGN = re.compile(r"[^ !#-\[\]-~]")
_QUOTED = re.compile(r"[,;= ]")


@dataclass(frozen=True, slots=True, eq=False)
class Caller:
    """A client that has shown a certificate which was verified."""

    identity: Identity
    fields: bytes = field(repr=False)
    """The lines that tell the app of it."""
    denied: bool
    """Whether the rules keep it out."""
    ends: float = math.inf
    """When its certificate does, in seconds since 1970."""
    chain: Chain = field(default=(), repr=False)
    """What its certificate was verified by; empty where the app is not told."""

    @property
    def subject(self) -> str:
        """Whose certificate it is, in printable ASCII."""
        return self.identity.subject


class StaleSessionError(Exception):
    """A resumed session by which its client can't be let in, though a whole handshake might.

    Attributes:
        reason: as a label: `session_forgotten`: the chain that the app is to be told is not remembered any more;
            `client_certificate_expired`.
    """

    def __init__(self, reason: Literal["session_forgotten", "client_certificate_expired"]) -> None:
        super().__init__(reason)
        self.reason = reason


class Clients:
    """What the connections of a listener that asks for client certificates share.

    Args:
        auth: what is asked.
        rules: who of the verified is let in; empty: all of them.
        exempt: what is served to clients without a certificate, for the log; empty: everything.
        chain: whether the app is told the chain.
        clock: the time in seconds since 1970.
    """

    BOUND = 1024

    def __init__(
        self,
        auth: ClientAuth,
        rules: Rules = (),
        *,
        exempt: Sequence[str] = (),
        chain: bool = False,
        clock: Callable[[], float] = time,
    ) -> None:
        self.denied: Counter[str] = Counter()
        """Clients that were turned away after their handshake, by reason."""
        self.observed: Counter[str] = Counter()
        """Clients that were let in and would not be if certificates were required, by reason."""
        self._auth = auth
        self._rules = rules
        self._exempt = ",".join(exempt)
        self._tells_chain = chain
        self._clock = clock
        self._callers: dict[bytes, Caller] = {}
        self._repeats = Repeats()

    def __repr__(self) -> str:
        return f"<Clients {self._auth} rules={len(self._rules)} known={len(self._callers)}>"

    def arrived(self, tls: ssl.SSLObject, address: Callable[[], str]) -> Caller | None:
        """Judge the client of a connection whose handshake is over; None: it has shown no certificate.

        Args:
            tls: the connection's.
            address: tells the client's, for the log.

        Raises:
            StaleSessionError: the connection has to end without close_notify, upon which OpenSSL forgets a session that
                it keeps itself.
        """
        der = tls.getpeercert(binary_form=True)
        if der is None:
            if self._auth == "observe":
                self.observed["no_certificate"] += 1
                self._tell("client %s has no certificate and is let in (TLSPROXY_CLIENT_AUTH=observe)", address())
            return None
        caller = self._caller(der, self._chain(tls))
        if tls.session_reused and self._clock() > caller.ends:
            # OpenSSL looks at dates in whole handshakes alone, and a session of TLS 1.3 goes on from ticket to ticket.
            log.warning(
                "client %s refused: its certificate has expired since its session began: %s", address(), caller.subject
            )
            raise StaleSessionError("client_certificate_expired")
        if self._rules and not allowed(self._rules, caller.identity):
            self._outside(caller, address())
        return caller

    def refused(self, error: ssl.SSLError, address: str) -> str:
        """Tell of a client that OpenSSL has refused, whose certificate Python does not hand over; why, as a label."""
        if isinstance(error, ssl.SSLCertVerificationError):
            reason, detail = _VERDICTS.get(error.verify_code, "bad_certificate"), error.verify_message
        else:
            reason, detail = "certificate_required", "it has shown no certificate"
        self._tell("client %s refused: %s: %s (TLSPROXY_CLIENT_AUTH=%s)", address, reason, detail, self._auth)
        return reason

    def uncertified(self, address: str) -> None:
        """Count and tell of a client that has shown no certificate, and asked for what needs one."""
        self.denied["no_certificate"] += 1
        self._tell(
            "client %s denied: it has shown no certificate, and asked for more than TLSPROXY_CLIENT_EXEMPT=%s",
            address,
            self._exempt,
        )

    def _outside(self, caller: Caller, address: str) -> None:
        subject, rules = caller.subject or "without a subject", spell_rules(self._rules)
        if caller.denied:
            self.denied["not_allowed"] += 1
            self._tell("client %s denied: %s; none of TLSPROXY_CLIENT_ALLOW=%s lets it in", address, subject, rules)
        else:
            self.observed["not_allowed"] += 1
            self._tell(
                "client %s would be denied, and is let in (TLSPROXY_CLIENT_AUTH=observe): %s; none of "
                "TLSPROXY_CLIENT_ALLOW=%s lets it in",
                address,
                subject,
                rules,
            )

    def _tell(self, message: str, *about: object) -> None:
        """Log a warning about a client, its address first; of many alike one every so often, with a count."""
        told = message % about
        untold = self._repeats.untold(told, monotonic())
        if untold is not None:
            log.warning("%s%s", told, f" ({untold} more since the last such line)" if untold else "")

    def _chain(self, tls: ssl.SSLObject) -> Chain | None:
        """What the app is to be told beside the certificate; None: it cannot be known from this connection."""
        if not self._tells_chain:
            return ()
        return None if tls.session_reused else verified_chain(tls)[1:]

    def _caller(self, der: bytes, chain: Chain | None) -> Caller:
        fingerprint = sha256(der).digest()
        caller = self._callers.get(fingerprint)
        if caller is not None and chain in {None, caller.chain}:
            return caller
        if chain is None:
            raise StaleSessionError("session_forgotten")
        if len(self._callers) >= self.BOUND:
            self._callers.clear()
        from tlsproxy.tls.identity import read_end, read_identity  # noqa: PLC0415 - see there

        identity = read_identity(der)
        denied = self._auth != "observe" and not allowed(self._rules, identity)
        caller = Caller(identity, fields_for_app(der, identity, chain), denied, read_end(der), chain)
        self._callers[fingerprint] = caller
        return caller

    def measures(self) -> Iterator[Measure]:
        """The counts of those who are let in for all that; who is denied is the acceptor's to tell."""
        yield Measure(
            "tlsproxy_clients_observed_total",
            "counter",
            "Connections of clients that are let in, and would not be with CLIENT_AUTH=required.",
            ("reason",),
            {(reason,): self.observed[reason] for reason in sorted(KEPT_OUT_REASONS)},
        )


class _Private(Protocol):
    """What stands below an SSLObject before Python 3.13, as far as it is used here."""

    def get_verified_chain(self) -> "Sequence[_ssl.Certificate] | None":
        """None of a resumed session."""


def verified_chain(tls: ssl.SSLObject) -> Chain:
    """The chain by which the peer was verified in this handshake, its own certificate first; empty of a resumed one."""
    if sys.version_info >= (3, 13):
        return tuple(tls.get_verified_chain())
    # The same method is there since 3.10, on an object that has no public name.
    below = cast("_Private", tls._sslobj)  # type: ignore[attr-defined]  # noqa: SLF001 - as the comment says
    return tuple(one.public_bytes(_ssl.ENCODING_DER) for one in below.get_verified_chain() or ())


# --- What the app is told ----------------------------------------------------------------------------------


def fields_for_app(der: bytes, identity: Identity, chain: Chain = ()) -> bytes:
    """The lines of `Client-Cert`, `Client-Cert-Chain` (RFC 9440 section 2) and Envoy's `X-Forwarded-Client-Cert`."""
    above = f"Client-Cert-Chain: {', '.join(map(_sequence, chain))}\r\n" if chain else ""
    return (
        f"Client-Cert: {_sequence(der)}\r\n{above}X-Forwarded-Client-Cert: {';'.join(_elements(der, identity))}\r\n"
    ).encode()


def _sequence(der: bytes) -> str:
    """A Byte Sequence of structured fields (RFC 8941 section 3.3.5)."""
    return f":{base64.b64encode(der).decode()}:"


def _elements(der: bytes, identity: Identity) -> Iterator[str]:
    """Those that Envoy's own meshes set; the certificate itself is in the other field."""
    yield f"Hash={sha256(der).hexdigest()}"
    yield f'Subject="{identity.subject}"'
    for uri in identity.uris:
        yield f"URI={_element(uri)}"
    for name in identity.dns:
        yield f"DNS={_element(name)}"


def _element(value: str) -> str:
    """A value, percent-encoded where no URI and no name has such, and in quotes where it could look like two."""
    value = _FOREIGN.sub(_percent_encoded, value)
    return f'"{value}"' if _QUOTED.search(value) else value


def _percent_encoded(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))
