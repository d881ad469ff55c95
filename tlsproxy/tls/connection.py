"""One TLS connection: an SSLObject over two MemoryBIOs, between a plain transport and the protocol above.

OpenSSL does all the TLS. The loops' own TLS transports can't do what is needed here: with them no alert reaches the
client, a failed handshake is seen by nobody, plain HTTP gets a bare end, a half-close loses the answer, and the
context is the listener's for good. To what stands above (any asyncio protocol) this is the transport; `eof_received`
is called there for close_notify, which ends one direction (RFC 8446 section 6.1); the end of the TCP connection's is
the end of both, because no client that waits for an answer sends it.

A MemoryBIO never shrinks: it is fed in slices of 16 KiB and written through in slices of 32, which leaves 72 KiB
for a connection after a megabyte each way, against 515.
"""

import asyncio
import math
import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Final, Protocol, cast

from tlsproxy.chassis.measures import Measure
from tlsproxy.tls.clients import KEPT_OUT_REASONS, REFUSAL_REASONS, Caller, Clients, StaleSessionError
from tlsproxy.tls.handshake_turns import HandshakeTurns

_NEVER = math.inf
_NOTHING: Mapping[str, object] = {}
# The most that a TLS record holds (RFC 8446 section 5.1): each read takes a whole record, none is left in OpenSSL.
_READ_SLICE = 16 * 1024
_WRITE_SLICE = 32 * 1024
# A record of one byte costs 2.5 us, a KeyUpdate 40, and the loop hands over up to 8 MiB of them from one client in one
# turn: 12 s. Seconds of a client's share; what is left has its turns in pieces that are small enough for such ones.
_SHARE = 0.002
_PUT_OFF_SLICE = 1024
# How long a client may take to read why it was turned away.
_LINGER = 2.0

# OpenSSL's reasons, as labels of a bounded set; any other is `other`.
_FAILURES = {
    "BAD_SIGNATURE": "bad_certificate",
    "CALLBACK_FAILED": "unrecognized_name",
    "CERTIFICATE_VERIFY_FAILED": "bad_certificate",
    "HTTP_REQUEST": "plain_http",
    "HTTPS_PROXY_REQUEST": "plain_http",
    "INAPPROPRIATE_FALLBACK": "unsupported_protocol",
    "NO_SHARED_CIPHER": "no_shared_cipher",
    "NO_SHARED_GROUP": "no_shared_group",
    "NO_SUITABLE_KEY_SHARE": "no_shared_group",
    "NO_SHARED_SIGNATURE_ALGORITHMS": "no_shared_signature",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "no_shared_signature",
    "PACKET_LENGTH_TOO_LONG": "not_tls",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "certificate_required",
    "SSLV3_ALERT_BAD_CERTIFICATE": "refused_by_client",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "refused_by_client",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "refused_by_client",
    "TLSV1_ALERT_UNKNOWN_CA": "unknown_ca",
    "UNEXPECTED_MESSAGE": "not_tls",
    "UNKNOWN_PROTOCOL": "unsupported_protocol",
    "UNSUPPORTED_PROTOCOL": "unsupported_protocol",
    "VERSION_TOO_LOW": "unsupported_protocol",
    "WRONG_SSL_VERSION": "not_tls",
    "WRONG_VERSION_NUMBER": "not_tls",
    "BAD_RECORD_TYPE": "not_tls",
}
FAILURE_REASONS = frozenset({*_FAILURES.values(), *REFUSAL_REASONS, "other", "reset", "timeout"})
"""Why handshakes fail, as labels: all that there are."""
PROXY_REASONS = frozenset({"proxy_untrusted", "proxy_missing", "proxy_invalid", "proxy_timeout"})
"""Why a peer that is to announce its clients is turned away, as labels: all that there are."""
DENIAL_REASONS = KEPT_OUT_REASONS | PROXY_REASONS
"""Why clients are denied, as labels: all that there are."""


class Timed(Protocol):
    """What a TCP connection stands under while it has a deadline."""

    deadline: float

    @property
    def is_shaking(self) -> bool:
        """Whether the handshake is not over."""

    def expired(self) -> None:
        """Cut it: it has taken too long."""


class Acceptor:
    """What the TLS connections of one port share.

    Args:
        context: gives the context of the moment, asked once for each connection.
        handshake_timeout: seconds from the TCP connection to the end of the handshake.
        close_timeout: seconds that a client may take to read what was written before the connection was closed.
        plain_answer: what a client that speaks plain HTTP is told.
        ended: called at the end of each TCP connection.
        clients: judges clients by their certificates; None where none is asked for one.
    """

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        *,
        handshake_timeout: float,
        close_timeout: float,
        plain_answer: bytes,
        ended: Callable[[], None],
        clients: Clients | None = None,
    ) -> None:
        self.context = context
        self.handshake_timeout = handshake_timeout
        self.close_timeout = close_timeout
        self.plain_answer = plain_answer
        self.ended = ended
        self.clients = clients
        self.turns = HandshakeTurns()
        self.timed: set[Timed] = set()
        """Connections with a deadline of ours: in the handshake, or closing."""
        self.handshakes: Counter[tuple[str, ...]] = Counter()
        """By protocol version and whether a session was resumed, "yes" or "no"."""
        self.failures: Counter[str] = Counter()
        self.denied: Counter[str] = Counter()
        """Connections that were turned away whatever their TLS, by reason."""

    def connection(self, upper: Callable[[], asyncio.Protocol]) -> "Connection":
        """The protocol for a new TCP connection; `upper` makes what stands above it after the handshake."""
        return Connection(self, upper)

    def sweep(self, now: float) -> None:
        """End what has passed its deadline."""
        for connection in [c for c in self.timed if c.deadline < now]:
            connection.expired()

    @property
    def shaking(self) -> int:
        """Connections in the handshake."""
        return sum(connection.is_shaking for connection in self.timed)

    def measures(self) -> Iterator[Measure]:
        """The counts as metric families."""
        yield Measure(
            "tlsproxy_handshakes_total",
            "counter",
            "TLS handshakes completed.",
            ("version", "resumed"),
            self.handshakes,
        )
        yield Measure(
            "tlsproxy_handshake_failures_total",
            "counter",
            "TLS handshakes that failed.",
            ("reason",),
            _from_zero(FAILURE_REASONS, self.failures),
        )
        yield Measure(
            "tlsproxy_clients_denied_total",
            "counter",
            "Clients turned away by a rule.",
            ("reason",),
            _from_zero(DENIAL_REASONS, self.denied + self._kept_out()),
        )
        if self.clients is not None:
            yield from self.clients.measures()

    def _kept_out(self) -> Counter[str]:
        return self.clients.denied if self.clients is not None else Counter()


def _from_zero(reasons: Iterable[str], counts: Counter[str]) -> dict[tuple[str, ...], float]:
    """A count for every reason: of one that comes with its first event, Prometheus sees no increase."""
    return {(reason,): counts[reason] for reason in sorted(reasons)}


# A connection's state. Plain integers: an Enum's members cost 80 ns at each look-up in Python 3.11.
HANDSHAKE: Final = 0
OPEN: Final = 1
LEAVING: Final = 2
"""All has been said; what still comes is thrown away until the other side hangs up."""
CLOSED: Final = 3
_STATES = ("handshake", "open", "leaving", "closed")


class Connection(asyncio.Protocol, asyncio.Transport):
    """A TLS connection: the plain transport's protocol, and the transport of the protocol above."""

    __slots__ = (
        "_acceptor",
        "_begun",
        "_eof_sent",
        "_incoming",
        "_make_upper",
        "_outgoing",
        "_peer_done",
        "_put_off",
        "_reading_paused",
        "_state",
        "_tcp",
        "_tls",
        "_turn",
        "_upper",
        "announced",
        "began",
        "caller",
        "deadline",
    )

    def __init__(self, acceptor: Acceptor, upper: Callable[[], asyncio.Protocol]) -> None:
        self._acceptor = acceptor
        self._make_upper = upper
        self._upper: asyncio.Protocol | None = None
        self._state: int = HANDSHAKE
        self._begun = False
        """Whether anything has come."""
        self._peer_done = False
        """Whether the client's close_notify has come."""
        self._eof_sent = False
        self._put_off = b""
        """Records whose turn has not come; while there are some, nothing is read."""
        self._turn: asyncio.Handle | None = None
        self._reading_paused = False
        """Whether the protocol above takes no more for now."""
        self.announced: Mapping[str, object] = _NOTHING
        """What a load balancer said in place of the TCP connection's own `peername` and `sockname`."""
        self.caller: Caller | None = None
        """Who the client is by its certificate; None where it has shown none."""
        self.deadline = _NEVER

    def __repr__(self) -> str:
        return f"<Connection {_STATES[self._state]} {self._upper!r}>"

    @property
    def is_shaking(self) -> bool:
        """Whether the handshake is not over."""
        return self._state == HANDSHAKE

    # ------------------------------------------------------------------ the plain transport's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, with the context of the moment."""
        acceptor = self._acceptor
        self._tcp = cast("asyncio.Transport", transport)
        # First: of a connection for whose beginning memory was wanting nobody else would take care.
        self._set_deadline(acceptor.handshake_timeout)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.began = monotonic()
        self._tls = acceptor.context().wrap_bio(self._incoming, self._outgoing, server_side=True)

    def data_received(self, data: bytes) -> None:
        """Go on with the handshake when it has its turn, or decrypt."""
        if self._state == OPEN:
            self._decrypt(data)
        elif self._state == HANDSHAKE:
            if self._acceptor.turns.has(self, data):
                self._shake_on(data)
            else:
                self.pause_reading()

    def go_on(self, data: bytes) -> None:
        """Go on with the handshake, which had to wait for its turn; the client may have gone since."""
        with self._cut_by_failure():
            self.resume_reading()
            self._shake_on(data)

    def _shake_on(self, data: bytes) -> None:
        """Go on with the handshake, and decrypt what is behind it."""
        pieces = _slices(data, _READ_SLICE)
        for piece in pieces:
            if self._state != HANDSHAKE:
                break
            if self._shake(bytes(piece)):
                self._decrypt(b"".join(pieces))

    def eof_received(self) -> bool:
        """The client has ended the TCP connection: it is gone, unless what stands above knows better.

        After close_notify alone it may: that was the end of the client's direction already.
        """
        if self._state == OPEN and self._peer_done and self._upper is not None and self._upper.eof_received():
            return True
        if self._state == OPEN:
            self._state = CLOSED
            self._set_deadline(self._acceptor.close_timeout)
            self._lose(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        shaking = self._state == HANDSHAKE and self._begun
        self._state = CLOSED
        self._clear_deadline()
        try:
            self._acceptor.ended()
        finally:
            # Where memory has run out: who stands above holds a connection to the app.
            self._lose(exc)
        if shaking:
            self._acceptor.failures["reset"] += 1

    def pause_writing(self) -> None:
        """The client is slow."""
        if self._upper is not None:
            self._upper.pause_writing()

    def resume_writing(self) -> None:
        """The client is ready again."""
        if self._upper is not None:
            self._upper.resume_writing()

    def _lose(self, exc: Exception | None) -> None:
        upper, self._upper = self._upper, None
        if upper is not None:
            upper.connection_lost(exc)

    @contextmanager
    def _cut_by_failure(self) -> Iterator[None]:
        """Do what the loop does where `data_received` fails, which knows nothing of a turn that comes later."""
        try:
            yield
        except BaseException:
            self._tcp.abort()
            raise

    # ------------------------------------------------------------------ the handshake

    def _shake(self, data: bytes) -> bool:
        """Go on with the handshake; whether it is done."""
        if not self._begun and data[:1].isalpha():
            # A TLS record begins with 22, a method of HTTP with a letter.
            self._fail("plain_http", self._acceptor.plain_answer)
            return False
        self._begun = True
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._fail(self._failure(error), self._outgoing.read())
            return False
        self._acceptor.handshakes[self._tls.version() or "", "yes" if self._tls.session_reused else "no"] += 1
        self._clear_deadline()
        self._state = OPEN
        self._flush()
        if self._acceptor.clients is not None and not self._judge(self._acceptor.clients):
            return False
        self._upper = self._make_upper()
        self._upper.connection_made(self)
        return True

    def _judge(self, clients: Clients) -> bool:
        """Take note of who the client is; False: its session is no good any more, and the connection has ended."""
        try:
            self.caller = clients.arrived(self._tls, self._address)
        except StaleSessionError as error:
            self._acceptor.failures[error.reason] += 1
            self.abort()
            return False
        return True

    def _failure(self, error: ssl.SSLError) -> str:
        """Why the handshake has failed, as a label."""
        reason = _FAILURES.get(error.reason or "", "other")
        if self._acceptor.clients is not None and reason in {"bad_certificate", "certificate_required"}:
            return self._acceptor.clients.refused(error, self._address())
        return reason

    def _address(self) -> str:
        """The client's, as far as it has one."""
        name = self.get_extra_info("peername")
        return str(name[0]) if isinstance(name, tuple) else "-"

    def _fail(self, reason: str, last_words: bytes) -> None:
        self._acceptor.failures[reason] += 1
        if last_words:
            self._tcp.write(last_words)
        self._leave()

    def _leave(self) -> None:
        """Say no more, and let the client read what was said: closing on unread input would take it away."""
        self._state = LEAVING
        self._set_deadline(_LINGER)
        if not self._tcp.is_closing():
            self._tcp.write_eof()

    def _flush(self) -> None:
        """Send what OpenSSL has to say of its own: handshake, tickets, alerts."""
        if self._outgoing.pending:
            self._tcp.write(self._outgoing.read())

    # ------------------------------------------------------------------ from the client

    def _decrypt(self, data: bytes, size: int = _READ_SLICE) -> None:
        """Hand what the data holds to the protocol above, in one piece; in slices of that size what is longer."""
        if self._peer_done:
            # RFC 8446 section 6.1: what comes behind close_notify is ignored. OpenSSL would not even read it.
            return
        tls, incoming = self._tls, self._incoming
        chunks: list[bytes] = []
        error: ssl.SSLError | None = None
        is_long = len(data) > size
        pieces: Iterable[bytes | memoryview] = _slices(data, size) if is_long else (data,)
        until = monotonic() + _SHARE if is_long else _NEVER
        for piece in pieces:
            incoming.write(piece)
            try:
                while incoming.pending:
                    chunk = tls.read(_READ_SLICE)
                    if not chunk:
                        raise ssl.SSLZeroReturnError
                    chunks.append(chunk)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as problem:
                # Its traceback would hold this frame, which holds it: a cycle around the whole connection.
                error = problem.with_traceback(None)
                break
            if is_long and monotonic() > until:
                self._put_off = b"".join(pieces)
                break
        if self._outgoing.pending:
            self._flush()
        upper = self._upper
        if chunks and upper is not None:
            upper.data_received(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        if error is not None and self._state == OPEN:
            self._ended(error)
        if self._put_off and not self._tcp.is_closing():
            self._tcp.pause_reading()
            self._wait_for_turn()

    def _wait_for_turn(self) -> None:
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        """Go on with what was put off, now that others have had their turn."""
        self._turn = None
        if self._reading_paused and self._state == OPEN:
            return
        data, self._put_off = self._put_off, b""
        if self._state == OPEN:
            with self._cut_by_failure():
                self._decrypt(data, _PUT_OFF_SLICE)
        if not self._reading_paused:
            self.resume_reading()

    def _ended(self, error: ssl.SSLError) -> None:
        """The client sends no more: properly, or because its records are broken."""
        upper = self._upper
        if isinstance(error, ssl.SSLZeroReturnError):
            self._peer_done = True
            if upper is None or not upper.eof_received():
                self.close()
        else:
            if self._eof_sent:
                self._leave()
            else:
                self._state = CLOSED
                self._set_deadline(self._acceptor.close_timeout)
                self._tcp.close()
            self._lose(error)

    # ------------------------------------------------------------------ the transport of the protocol above

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send; what is written after the end is dropped, as asyncio's transports do."""
        if self._state != OPEN or self._eof_sent:
            return
        if len(data) <= _WRITE_SLICE:
            self._tls.write(data)
            self._tcp.write(self._outgoing.read())
            return
        for piece in _slices(data, _WRITE_SLICE):
            self._tls.write(piece)
            self._tcp.write(self._outgoing.read())
            if not self._may_write():
                # By the protocol above, which was told in this loop that the client is slow.
                return

    def _may_write(self) -> bool:
        return self._state == OPEN and not self._eof_sent

    def can_write_eof(self) -> bool:
        """Whether `write_eof` works: yes."""
        return True

    def write_eof(self) -> None:
        """Send close_notify and end the TCP connection's direction; reading goes on."""
        if self._state == OPEN and not self._eof_sent:
            self._notify()
            if not self._tcp.is_closing():
                self._tcp.write_eof()

    def close(self) -> None:
        """Send close_notify and close once all has gone out."""
        if self._state == OPEN:
            self._notify()
            self._state = CLOSED
            self._tcp.close()
            self._set_deadline(self._acceptor.close_timeout)

    def abort(self) -> None:
        """End without close_notify: what was sent can't be taken for the whole, though a little may still go out."""
        self._state = CLOSED
        if self._tcp.get_write_buffer_size():
            self._tcp.close()
            # Whoever aborts again and again does not put it off.
            self._set_deadline(min(_LINGER, self.deadline - monotonic()))
        else:
            self._tcp.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Put another protocol above, which is not told that the connection was made."""
        self._upper = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol above; this one before there is any and after the end."""
        return self._upper or self

    def is_closing(self) -> bool:
        """Whether it has been closed."""
        return self._state != OPEN or self._tcp.is_closing()

    def get_write_buffer_size(self) -> int:
        """Bytes that the client has not taken yet, as far as they are not the kernel's."""
        return self._tcp.get_write_buffer_size()

    def get_extra_info(self, name: str, default: object = None) -> object:
        """`cipher`, `tls_version`, `server_name`, `covers`, `caller`, `ssl_object`; the rest as announced, or TCP's.

        `began` is the monotonic time at which it got its context.
        """
        if name == "cipher":
            return self._tls.cipher()
        if name == "tls_version":
            return self._tls.version()
        if name in {"server_name", "covers"}:
            return getattr(self._tls, name, None)
        if name in {"caller", "began"}:
            return getattr(self, name)
        if name == "ssl_object":
            return self._tls
        return self.announced[name] if name in self.announced else self._tcp.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Read no more for now."""
        self._reading_paused = True
        if not self._tcp.is_closing():
            self._tcp.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._reading_paused = False
        if self._put_off:
            self._wait_for_turn()
        elif not self._tcp.is_closing():
            self._tcp.resume_reading()

    def _notify(self) -> None:
        """Send close_notify, once."""
        if self._eof_sent:
            return
        self._eof_sent = True
        with suppress(ssl.SSLError):  # it wants the client's close_notify as well, which is not waited for
            self._tls.unwrap()
        self._flush()

    # ------------------------------------------------------------------ time

    def _set_deadline(self, seconds: float) -> None:
        self.deadline = monotonic() + seconds
        self._acceptor.timed.add(self)

    def _clear_deadline(self) -> None:
        self.deadline = _NEVER
        self._acceptor.timed.discard(self)

    def expired(self) -> None:
        """Cut what has taken too long."""
        if self._state == HANDSHAKE:
            self._acceptor.failures["timeout"] += 1
            self._state = LEAVING
        self._tcp.abort()


def _slices(data: bytes | bytearray | memoryview, size: int) -> Iterator[memoryview]:
    view = memoryview(data)
    for start in range(0, len(view), size):
        yield view[start : start + size]
