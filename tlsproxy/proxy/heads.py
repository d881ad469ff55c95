"""Heads of requests and responses, rewritten: pure, bytes and values in, bytes and values out.

What passes does so byte for byte: names' case, order, duplicates. What a name means to a proxy stands in two
tables, one for each direction; a name is looked up as it was written and remembered with its spelling, so that a
field costs one look-up in a dictionary. Nothing here knows sockets, clocks or settings.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from tlsproxy.proxy.forwarding import Peer, Said, check_host
from tlsproxy.proxy.limits import LENGTH_DIGITS
from tlsproxy.proxy.refusals import AppInvalid, BadRequest, MethodRefused
from tlsproxy.proxy.request import Request, Told

Field = tuple[bytes, bytes]
"""A header field: its name as it was written, its value without the white space around it."""

Piece = bytes | memoryview
"""A piece of a body; one that is a view lies where the next read goes, and is good until whoever has it returns."""

# ---------------------------------------------------------------------------- what a name means

# A kind is what is done with a field (two bits: pass it on, note its value) and a number that tells the noted apart.
DROP, PASS, NOTE = 0, 1, 2
HOST, LENGTH, AGENT, REFERER, LOCATION, SET_COOKIE, TRANSPORT_SECURITY = (n << 2 | PASS | NOTE for n in range(1, 8))
CONNECTION, CODING, UPGRADE, EXPECT, REQUEST_ID = (n << 2 | NOTE for n in range(8, 13))
FORWARDED, FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST, FORWARDED_PORT = (n << 2 | NOTE for n in range(13, 18))

REQUEST_FIELDS: Mapping[bytes, int] = {
    b"host": HOST,
    b"content-length": LENGTH,
    b"user-agent": AGENT,
    b"referer": REFERER,
    b"expect": EXPECT,
    # Hop-by-hop: RFC 9110 section 7.6.1, and what older standards and h2c's upgrade add to it.
    b"connection": CONNECTION,
    b"transfer-encoding": CODING,
    b"upgrade": UPGRADE,
    b"http2-settings": DROP,
    b"keep-alive": DROP,
    b"proxy-authenticate": DROP,
    b"proxy-authorization": DROP,
    b"proxy-connection": DROP,
    b"te": DROP,
    b"trailer": DROP,
    # CGI makes HTTP_PROXY of it, by which libraries find the proxy of what an app asks others for (httpoxy).
    b"proxy": DROP,
    # Believed from trusted proxies only.
    b"forwarded": FORWARDED,
    b"x-forwarded-for": FORWARDED_FOR,
    b"x-forwarded-host": FORWARDED_HOST,
    b"x-forwarded-port": FORWARDED_PORT,
    b"x-forwarded-proto": FORWARDED_PROTO,
    b"x-request-id": REQUEST_ID,
    # Never believed.
    b"client-cert": DROP,
    b"client-cert-chain": DROP,
    b"x-forwarded-client-cert": DROP,
    b"x-real-ip": DROP,
}
RESPONSE_FIELDS: Mapping[bytes, int] = {
    b"content-length": LENGTH,
    b"location": LOCATION,
    b"set-cookie": SET_COOKIE,
    b"strict-transport-security": TRANSPORT_SECURITY,
    b"connection": CONNECTION,
    b"transfer-encoding": CODING,
    b"upgrade": UPGRADE,
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"te": DROP,
    # Ours is sent, which the request line is found by; an app that knows it echoes it.
    b"x-request-id": DROP,
}
# What a message cannot do without: a Connection field that names one of these is not obeyed.
_UNNAMEABLE = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection"})
_ONCE = frozenset({HOST, LENGTH, CODING})


_ODD = re.compile(rb"[^a-z0-9]")


class _Kinds(dict[bytes, int]):
    """The kind of each spelling of a name; bounded, because clients choose the spellings."""

    BOUND = 4096

    def __init__(self, table: Mapping[bytes, int], *, twins: bool) -> None:
        super().__init__()
        self._table = table
        self._twins = twins

    def __missing__(self, name: bytes) -> int:
        lower = name.lower()
        kind = self._table.get(lower, PASS)
        # CGI and WSGI read `_` and `-` alike, and some read more: a twin of a name that means something here would
        # speak for it.
        if kind == PASS and self._twins and _ODD.sub(b"-", lower) in self._table:
            kind = DROP
        if len(self) >= self.BOUND:
            self.clear()
        self[name] = kind
        return kind


_request_kinds = _Kinds(REQUEST_FIELDS, twins=True)
_response_kinds = _Kinds(RESPONSE_FIELDS, twins=False)


# ---------------------------------------------------------------------------- requests


def for_app(request: Request, peer: Peer, new_id: bytes) -> tuple[bytes, bytes, bytes, Told]:
    """Rewrite a request's head for the app.

    Args:
        request: as the parser gave it.
        peer: who is at the other end of the client's connection.
        new_id: the request's id, unless a trusted proxy gave it one.

    Returns:
        The head with its empty line; the target, in origin-form or `*`; the id; and what else there is to know.

    Raises:
        BadRequest: two parsers could read it differently (RFC 9112 sections 3.2 and 6.3).
        MethodRefused: CONNECT.
    """
    target = request.path.encode("utf-8", "surrogateescape")
    told = request.told
    if told is None:
        usual = target[:1] == b"/" and b"#" not in target
        target, told = _read(request, target, peer)
        if usual:
            request.told = told
    request_id = told.request_id or new_id
    return b"%b %b%b%b\r\n\r\n" % (request.method.encode(), target, told.rest, request_id), target, request_id, told


def _read(request: Request, target: bytes, peer: Peer) -> tuple[bytes, Told]:
    """Target and fields, read: what costs more than all the rest."""
    if request.method == "CONNECT":
        raise MethodRefused("CONNECT")
    lines: list[bytes] = []
    noted: dict[int, bytes] = {}
    for field in request.raw_fields:
        kind = _request_kinds[field[0]]
        if kind != PASS:
            if kind & NOTE:
                noted[kind] = field[1] if kind not in noted else _joined(kind, noted[kind], field[1])
            if not kind & PASS:
                continue
        lines.append(b"%b: %b\r\n" % field)
    host = noted.get(HOST)
    if target[:1] != b"/" or b"#" in target or not host:
        target, host = _unusual_target(request, target, host, lines, peer)
    if CONNECTION in noted and (named := _options(noted[CONNECTION]).named):
        lines = [line for line in lines if line.partition(b":")[0].lower() not in named]
    if LENGTH in noted or CODING in noted:
        _frame(noted, request.version, lines)
    offered, expects = b"", False
    if (UPGRADE in noted or EXPECT in noted) and request.version == (1, 1):
        offered, expects = _ask(noted, lines)
    if peer.trusted:
        forwarded, client = peer.extended(host, Said(*(noted.get(kind, b"") for kind in _SAID)))
        request_id = noted.get(REQUEST_ID, b"")
    else:
        forwarded, client, request_id = peer.fields(host), peer.address, b""
    rest = b" HTTP/1.1\r\n%b%bX-Request-ID: " % (b"".join(lines), forwarded)
    agent, referer = noted.get(AGENT, b""), noted.get(REFERER, b"")
    return target, Told(rest, host, request_id, client, agent, referer, expects, offered)


_SAID = (FORWARDED, FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST, FORWARDED_PORT)
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)(.*)", re.DOTALL)


def _joined(kind: int, before: bytes, value: bytes) -> bytes:
    """The value of a field that comes once more: a list goes on, what may stand only once is refused."""
    if kind in _ONCE:
        raise BadRequest("a field that may stand only once stands twice")
    return b"%b, %b" % (before, value)


def _unusual_target(
    request: Request, target: bytes, host: bytes | None, lines: list[bytes], peer: Peer
) -> tuple[bytes, bytes]:
    """Target and host of a request that has no plain path or names no host (None); the Host line is put right.

    An absolute-form target becomes origin-form, its authority takes Host's place (RFC 9112 section 3.2.2).
    """
    if b"#" in target:
        raise BadRequest("a fragment in the request target")
    if target[:1] != b"/" and target != b"*":
        match = _ABSOLUTE.fullmatch(target)
        if match is None or not match[1]:
            raise BadRequest("a request target of no known form")
        authority, rest = match.groups()
        if authority != host:
            if host is not None:
                check_host(host)
            lines[:] = [line for line in lines if line[:5].lower() != b"host:"]
            lines.insert(0, b"Host: %b\r\n" % authority)
        if not rest and request.method == "OPTIONS":
            return b"*", authority
        return rest if rest[:1] == b"/" else b"/" + rest, authority
    if host == b"":
        raise BadRequest("an empty Host")
    if host is None:
        lines.append(b"Host: %b\r\n" % peer.forwarding.app_authority)
    return target, host or b""


def _frame(noted: Mapping[int, bytes], version: tuple[int, int], lines: list[bytes]) -> None:
    """Announce the body as the client did, unless another parser could read that otherwise (RFC 9112 section 6.1)."""
    length, coding = noted.get(LENGTH), noted.get(CODING)
    if length is not None and len(length) > LENGTH_DIGITS:
        raise BadRequest(f"a Content-Length of more than {LENGTH_DIGITS} digits")
    if coding is None:
        return
    if version == (1, 0):
        raise BadRequest("Transfer-Encoding in HTTP/1.0")
    if length is not None:
        raise BadRequest("Content-Length and Transfer-Encoding together")
    if coding.lower() != b"chunked":
        raise BadRequest(f"Transfer-Encoding {coding!r}")
    lines.append(b"Transfer-Encoding: chunked\r\n")


def _ask(noted: Mapping[int, bytes], lines: list[bytes]) -> tuple[bytes, bool]:
    """Pass on what is asked of the next hop; the protocols that are offered, and whether 100 is waited for."""
    offered = _offered(noted) if UPGRADE in noted else b""
    if offered:
        lines.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % offered)
    if EXPECT not in noted:
        return offered, False
    lines.append(b"Expect: %b\r\n" % noted[EXPECT])
    return offered, b"100-continue" in _tokens(noted[EXPECT])


def _offered(noted: Mapping[int, bytes]) -> bytes:
    """The protocols that a request offers to change to (RFC 9110 section 7.8), except HTTP's own.

    An app that changed to h2c would be sent requests that nobody here has looked at. Nor is anything offered beside a
    body: some parsers (httptools, and so uvicorn) take the body for bytes of the new protocol, or for a request.
    """
    if CODING in noted or noted.get(LENGTH, b"").strip(b"0") or not _options(noted.get(CONNECTION, b"")).upgrade:
        return b""
    offered = (protocol.strip(b" \t") for protocol in noted[UPGRADE].split(b","))
    return b", ".join(protocol for protocol in offered if _OTHER_PROTOCOL.fullmatch(protocol))


# A protocol's name, perhaps with a version (RFC 9110 section 7.8); those that begin like HTTP/2's are drafts of it.
# What is no name is one to somebody: `websocket;h2c`.
_OTHER_PROTOCOL = re.compile(rb"(?!h2|http)[!#$&'*+.^_`|~0-9a-z-]+(?:/[!#$&'*+.^_`|~0-9a-z-]+)?", re.IGNORECASE)


class Options(NamedTuple):
    """What a Connection field asks for (RFC 9110 section 7.6.1)."""

    close: bool
    keep_alive: bool
    upgrade: bool
    named: frozenset[bytes]
    """Names of fields that are meant for this hop alone, in lower case, besides those that always are."""


_NO_OPTIONS = Options(close=False, keep_alive=False, upgrade=False, named=frozenset())


@lru_cache(maxsize=1024)
def _options(value: bytes) -> Options:
    tokens = _tokens(value)
    named = frozenset(tokens - _UNNAMEABLE - {b"close", b"keep-alive", b"upgrade"})
    return Options(b"close" in tokens, b"keep-alive" in tokens, b"upgrade" in tokens, named)


def _tokens(value: bytes) -> set[bytes]:
    """The members of a list (RFC 9110 section 5.6.1), in lower case."""
    return {token.strip().lower() for token in value.split(b",")} - {b""}


# ---------------------------------------------------------------------------- responses


# How a body ends (RFC 9112 section 6.3). Plain integers: an Enum's members cost 80 ns at each look-up in Python 3.11.
Framing = Literal[0, 1, 2, 3]
NO_BODY: Final = 0
BY_LENGTH: Final = 1
BY_CHUNKS: Final = 2
BY_CLOSE: Final = 3


class Response(NamedTuple):
    """A response head as the app gave it, without what was meant for the hop to us."""

    status: int
    reason: bytes
    fields: Sequence[Field]
    """With its Content-Length, if it has one; never with Transfer-Encoding."""
    head: bytes
    """All this as `lines`."""
    framing: Framing
    length: int
    """Of the body, where the framing is BY_LENGTH."""
    reusable: bool
    """Whether the connection to the app may carry another request afterwards."""
    noted: Mapping[int, bytes]
    """Values of the noted fields by their kind."""


def from_app(
    status: int,
    reason: bytes,
    fields: Sequence[Field],
    version: str,
    *,
    for_head: bool = False,
    offered: bytes = b"",
) -> Response:
    """Read a response's head.

    Args:
        status: 100 to 999.
        reason: the phrase, may be empty.
        fields: as they came.
        version: of the app's HTTP, "1.1" or "1.0"; a later one is believed to speak as 1.1 (RFC 9110 section 2.5).
        for_head: whether it answers a HEAD request and so has no body, whatever its fields say.
        offered: the protocols that the request named in Upgrade.

    Raises:
        AppInvalid: its framing is ambiguous (nginx refuses these since 1.23), or it changes to a protocol that was
            not offered.
    """
    if status < 100 or version[0] == "0":
        raise AppInvalid(f"HTTP/{version} {status}")
    if 0 in reason:
        raise AppInvalid("a NUL in the reason phrase")
    kept: list[Field] = []
    noted: dict[int, bytes] = {}
    for field in fields:
        kind = _response_kinds[field[0]]
        if kind != PASS:
            if kind & NOTE:
                noted[kind] = field[1] if kind not in noted else b"%b, %b" % (noted[kind], field[1])
            if not kind & PASS:
                continue
        kept.append(field)
    close, keep_alive, upgrade, named = _options(noted[CONNECTION]) if CONNECTION in noted else _NO_OPTIONS
    if named:
        kept = [field for field in kept if field[0].lower() not in named]
    if status == 101:
        _check_switch(offered, noted[UPGRADE] if upgrade and UPGRADE in noted else b"")
    said = noted.get(LENGTH)
    if said is not None and (status < 200 or status == 204):
        # RFC 9110 section 8.6: these never have one, and a client that believed it would wait.
        kept = _with_length(kept, None)
    elif said is not None and not (said.isdigit() and len(said) <= LENGTH_DIGITS):
        noted[LENGTH] = _one_length(said)
        kept = _with_length(kept, noted[LENGTH])
    framing, length = _framing(status, noted, for_head=for_head)
    # RFC 9112 section 9.3: HTTP/1.1 goes on unless told otherwise, HTTP/1.0 only if told so, and never behind chunks,
    # of which it knows nothing (section 6.1).
    reusable = framing != BY_CLOSE and not close and (version == "1.1" or (keep_alive and framing != BY_CHUNKS))
    if (for_head or status == 204) and (CODING in noted or (said and said.strip(b"0"))):
        # An old app that sends the body after all, late, would answer the next request with it.
        reusable = False
    return Response(status, reason, kept, lines(status, reason, kept), framing, length, reusable, noted)


def lines(status: int, reason: bytes, fields: Iterable[Field]) -> bytes:
    """A response's status line and fields, each with its end; without the empty line."""
    return b"HTTP/1.1 %d %b\r\n%b" % (status, reason, b"".join([b"%b: %b\r\n" % field for field in fields]))


def _check_switch(offered: bytes, chosen: bytes) -> None:
    """Refuse a change to what was not offered (RFC 9110 section 7.8)."""
    if not offered:
        raise AppInvalid("a change of protocol that nobody asked for")
    if not chosen or not _protocols(chosen) <= _protocols(offered):
        raise AppInvalid(f"a change of protocol to {chosen!r}, where {offered!r} was offered")


def _protocols(value: bytes) -> set[bytes]:
    return {protocol.strip().lower() for protocol in value.split(b",")}


def _one_length(said: bytes) -> bytes:
    """The length that is said more than once, and alike (RFC 9110 section 8.6), or with many zeros before it."""
    lengths = [length.strip(b" \t") for length in said.split(b",")]
    numbers = {length.lstrip(b"0") or b"0" for length in lengths}
    length = numbers.pop()
    if numbers or len(length) > LENGTH_DIGITS or not all(map(bytes.isdigit, lengths)):
        raise AppInvalid(f"Content-Length {said[:_SHOWN]!r}")
    return length


def _with_length(fields: Sequence[Field], length: bytes | None) -> list[Field]:
    """The fields with this Content-Length in place of the first one, and no other; None: with none."""
    places = [place for place, field in enumerate(fields) if _response_kinds[field[0]] == LENGTH]
    others = [field for field in fields if _response_kinds[field[0]] != LENGTH]
    if length is not None:
        others.insert(places[0], (fields[places[0]][0], length))
    return others


# How much of a wrong value goes into the log.
_SHOWN = 40


def _framing(status: int, noted: Mapping[int, bytes], *, for_head: bool) -> tuple[Framing, int]:
    """How the body ends, and its length where that says so."""
    if status < 200:
        return NO_BODY, 0
    length, coding = noted.get(LENGTH), noted.get(CODING)
    if coding is not None and length is not None:
        raise AppInvalid("Content-Length and Transfer-Encoding together")
    if coding is not None and coding.lower() != b"chunked":
        raise AppInvalid(f"Transfer-Encoding {coding[:_SHOWN]!r}")
    if for_head or status in {204, 304}:
        return NO_BODY, 0
    if coding is not None:
        return BY_CHUNKS, 0
    if length is not None:
        return (BY_LENGTH, int(length)) if length.strip(b"0") else (NO_BODY, 0)
    return BY_CLOSE, 0


def passes_as_trailer(name: bytes) -> bool:
    """Whether a field of the app's trailer section goes on: one that frames or routes a message does not."""
    return _response_kinds[name] == PASS
