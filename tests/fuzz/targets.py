"""What must hold whatever comes: one function for each place where bytes or text come from others.

A target takes any bytes and raises when a rule is broken; refusing is never wrong, refusing by another error than the
place's own is. Its seeds are good and bad examples to begin with. Whoever thinks up the bytes knows nothing of this.
"""

import asyncio
import atexit
import math
import random
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key as key_of

from tests.corpus.library import messages
from tests.corpus.parsers import EMPTY_LINES, Reading, alike, requests_by_h11, responses_by_h11, responses_by_llhttp
from tests.corpus.passage import Outcome, Passage, passage
from tests.fuzz import seeds
from tests.proxy.lending_walk import Walk
from tests.tls.material import NOW, material
from tlsproxy import settings_kinds
from tlsproxy.chassis import kinds
from tlsproxy.chassis.environment import BadSettings, read
from tlsproxy.chassis.kinds import Kind
from tlsproxy.client_rules import Identity, allowed, parse_rules, spell_rules
from tlsproxy.proxy.feed import Feed
from tlsproxy.proxy.forwarding import Forwarding
from tlsproxy.proxy.heads import for_app
from tlsproxy.proxy.limits import Limits
from tlsproxy.proxy.refusals import Refusal
from tlsproxy.proxy.websocket_frames import Frames
from tlsproxy.proxy_protocol import HeaderError, read_header
from tlsproxy.settings import Settings
from tlsproxy.tls import context
from tlsproxy.tls.checks import check
from tlsproxy.tls.files import MaterialError
from tlsproxy.tls.trust import TrustMaterial
from tlsproxy.tls.trust_checks import check_trust

HONEST = b"GET /honest HTTP/1.1\r\nHost: a\r\n\r\n"
NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n/honest"


@dataclass(frozen=True)
class Target:
    """A place where something comes in."""

    name: str
    check: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    longest: int = 1024
    """Bytes that are worth trying."""
    words: tuple[bytes, ...] = ()
    """What means something there."""


# ---------------------------------------------------------------------------- requests

# What is made once for all cases, until the end of the process.
_open = ExitStack()
atexit.register(_open.close)
# Made anew for each head: what two passages differ in though the same was asked.
_OWN_ID = re.compile(rb"X-Request-ID: [0-9a-f]{16}-[0-9a-z]+")


@cache
def _echo() -> Passage:
    """A proxy in memory whose app answers with the target that it was asked for."""

    def answer(target: bytes) -> Sequence[bytes]:
        return (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target),)

    return _open.enter_context(passage(answer, Limits(head=4096)))


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    """The data in pieces, each from one of these places to the next."""
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[begin:end] for begin, end in pairwise(places)]


def _seen_by_app(outcome: Outcome) -> list[Reading]:
    """What h11 and llhttp alike see on each connection to the app; bytes are left over only where it was cut."""
    readings = []
    for app, carried in outcome.requests.items():
        readings.append(alike(carried))
        assert not readings[-1].rest or app.wire.ended, "bytes left over on a connection that is kept"
    return readings


def _assert_own_answer(proxy: Passage) -> None:
    """The next honest client gets its own answer."""
    answered = proxy.send([HONEST]).answered
    assert answered.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n"), answered
    assert answered.endswith(b"\r\n\r\n/honest"), answered


def requests(data: bytes) -> None:
    """What goes on is what the client has said, read alike by everybody, however it is cut; and no more than that.

    The first two bytes say where it is cut.
    """
    places, data = data[:2], data[2:]
    proxy = _echo()
    outcome = proxy.send([data] if data else [])
    readings = _seen_by_app(outcome)
    passed = [message for reading in readings for message in reading.messages]
    said = requests_by_h11(data, between=EMPTY_LINES).messages if passed else []
    assert len(passed) <= len(said), "more messages than were sent"
    for message, original in zip(passed, said, strict=False):
        assert (message.start[0], message.body) == (original.start[0], original.body), "another message than was sent"
    _assert_own_answer(proxy)
    if places:
        _assert_cut_alike(proxy, data, places, outcome)


def _assert_cut_alike(proxy: Passage, data: bytes, places: bytes, whole: Outcome) -> None:
    apps = [_bodies_joined(app) for app in whole.requests.values()]
    pieces = cut(data, (place * len(data) // 255 for place in places))
    again = [_bodies_joined(app) for app in proxy.send(pieces).requests.values()]
    # What is not whole may have got further, or not so far.
    assert [app.messages for app in again if app.messages] == [app.messages for app in apps if app.messages]


def _bodies_joined(app: bytes) -> Reading:
    """What the app got, without its chunks' boundaries and the requests' ids."""
    return alike(_OWN_ID.sub(b"X-Request-ID: 0", app))


def chunks(data: bytes) -> None:
    """The same of a chunked body alone."""
    requests(data[:2] + b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data[2:])


def repeats(data: bytes) -> None:
    """A head that comes again with another path goes on as it does alone, whatever is remembered of the one before."""
    line, end, rest = data.partition(b"\r\n")
    first = b"%b /x %b" % (line.partition(b" ")[0], line.rpartition(b" ")[2]) + end + rest
    if (before := _heads([first])) != [None] and b" " in line:
        assert _heads([first, data]) == before + _heads([data])


def _heads(pieces: Sequence[bytes]) -> list[bytes | None]:
    """What each head becomes over one connection; None for one that is refused, or not whole."""
    feed, peer = Feed(Limits(head=4096), _loop()), _forwarding.peer("192.0.2.7")
    heads: list[bytes | None] = []
    for piece in pieces:
        try:
            request, rest = feed.head(piece)
            if request is None or rest or feed.body_expected or request.should_close:
                return [*heads, None]
            heads.append(for_app(request, peer, b"id")[0])
        except Refusal:
            return [*heads, None]
    return heads


_forwarding = Forwarding()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    _open.callback(loop.close)
    return loop


# ---------------------------------------------------------------------------- responses


class _Said:
    """What the app says to the first request."""

    pieces: Sequence[bytes] = ()

    def __call__(self, target: bytes) -> Sequence[bytes]:
        return (NEXT,) if target == b"/honest" else self.pieces


_said = _Said()


@cache
def _telling() -> Passage:
    return _open.enter_context(passage(_said))


def responses(data: bytes) -> None:
    """A client gets one response that is read alike by everybody, or a cut one; the next client gets its own.

    The first byte says where it is cut, and by its last bits whether HEAD was asked, whether the app ends the
    connection behind it, and whether it says each byte alone.
    """
    flags, data = data[:1] or b"\0", data[1:]
    method, ends = ("HEAD" if flags[0] & 1 else "GET"), bool(flags[0] & 2)
    pieces = (
        [data[at : at + 1] for at in range(len(data))] if flags[0] & 4 else cut(data, [flags[0] * len(data) // 255])
    )
    wholly, in_pieces = _told(method, [data], ends=ends), _told(method, pieces, ends=ends)
    if wholly and in_pieces and wholly[0] not in _OURS and in_pieces[0] not in _OURS:
        assert wholly == in_pieces, "another response when it is cut"


_OURS = (b"502", b"504")


def _told(method: str, pieces: Sequence[bytes], *, ends: bool) -> tuple[bytes, bytes] | None:
    """Status and body of what the client gets; None where it is cut or nothing comes."""
    proxy = _telling()
    _said.pieces = [piece for piece in pieces if piece] + [b""] * ends
    outcome = proxy.send([b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % method.encode()])
    reading = responses_by_h11(outcome.answered, [method], ended=outcome.client.ended == "close")
    assert not (reading.messages and reading.rest), f"more than one response: {outcome.answered!r}"
    if reading.messages and method == "GET":
        # An old app's control bytes in a value are passed on (docs/http.md), and are what llhttp refuses.
        assert responses_by_llhttp(outcome.answered) in (reading, Reading(rest=True)), "read in two ways"
    _assert_own_answer(proxy)
    return (reading.messages[0].start[0], reading.messages[0].body) if reading.messages else None


def websocket_frames(data: bytes) -> None:
    """Where the last frame ends is the same however the bytes are cut."""
    whole, bytewise = Frames(), Frames()
    passed = [bytewise.pass_by(data[at : at + 1]) for at in range(len(data))]
    assert set(passed) <= {0, 1}
    ends = [at + 1 for at, one in enumerate(passed) if one]
    assert whole.pass_by(data) == max(ends, default=0)
    assert whole.at_boundary == bytewise.at_boundary


# ---------------------------------------------------------------------------- decisions


class _Dice(random.Random):
    """Chance, as the bytes have it; 0 when there are no more."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = iter(data)

    def getrandbits(self, k: int) -> int:
        return next(self._data, 0) & ((1 << k) - 1)


def lending(data: bytes) -> None:
    """The pool serves in order, within its limit, and everybody in the end."""
    Walk(data[0] % 5 if data else 0, _Dice(data[1:])).take(len(data))


# ---------------------------------------------------------------------------- what load balancers say


def proxy_headers(data: bytes) -> None:
    """A header is the same however much of what follows has come, and none before it is whole."""
    try:
        header = read_header(data)
    except HeaderError:
        return
    last = header.size - 1 if header is not None else len(data)
    for end in (*range(0, len(data), len(data) // 16 + 1), last):
        early = read_header(data[:end])
        assert early is None if header is None or end < header.size else early == header
    if header is not None:
        assert 0 < header.size <= len(data)
        assert read_header(data + b"more") == header


# ---------------------------------------------------------------------------- variables


def client_rules(data: bytes) -> None:
    """Rules are read or refused, written back as they are, and let in nobody whom they do not name."""
    written, _, name = data.decode("utf-8", "replace").partition("\n")
    try:
        rules = parse_rules(written)
    except ValueError:
        return
    assert parse_rules(spell_rules(rules)) == rules
    holder = Identity("", common_names=(name,), units=(name,), dns=(name,), uris=(name,))
    if allowed(rules, holder):
        assert any(_names(rule.value, name) for rule in rules), "let in by none of its rules"
    assert not allowed(rules, Identity("CN=nobody"))


def _names(value: str, name: str) -> bool:
    """Whether a value names something, by the loosest sensible reading: a star stands for letters without . or /."""
    pattern = "[^./]+" if value.startswith("*.") else "[^/]+"
    return re.fullmatch(pattern.join(map(re.escape, value.split("*"))), name, re.IGNORECASE) is not None


VALUES: tuple[Kind[object], ...] = tuple(
    kind for module in (kinds, settings_kinds) for kind in vars(module).values() if isinstance(kind, Kind)
)


def values(data: bytes) -> None:
    """A value of each kind is read or refused by ValueError, and what is read is written back as itself."""
    text = data[1:].decode("utf-8", "replace").strip()
    if not text:
        return
    kind = VALUES[data[0] % len(VALUES)]
    try:
        value = kind.parse(text)
    except ValueError:
        return
    spelt = kind.spell(value)
    # A length of time that nobody means, of more digits than are read: 30 years.
    if spelt and not (isinstance(value, float) and value > 1e9):
        again = kind.parse(spelt)
        close = isinstance(value, float) and isinstance(again, float) and math.isclose(value, again)
        assert close or again == value, (kind.name, text, spelt)


def settings(data: bytes) -> None:
    """Any environment gives settings or one plain message: a line for each bad variable, that can be printed."""
    lines = data.decode("utf-8", "replace").replace("\0", "").split("\n")
    environ = {name: value for name, _, value in (line.partition("=") for line in lines) if name}
    told = _told_of({f"TLSPROXY_{name}": value for name, value in environ.items()})
    assert all(line.isprintable() for line in told), told


def _told_of(environ: dict[str, str]) -> list[str]:
    """What an operator is told of bad settings, line by line; nothing where they are good."""
    try:
        read(Settings, environ)
    except BadSettings as bad:
        return str(bad).splitlines()
    return []


# ---------------------------------------------------------------------------- mounted files


def certificates(data: bytes) -> None:
    """A pair is refused in plain words, or is one: the key is the certificate's, and OpenSSL takes both."""
    certificate, _, key = data.partition(seeds.BETWEEN)
    try:
        checked = check(material(certificate, key or certificate), NOW)
        context.build(checked, "intermediate")
    except MaterialError:
        return
    public = x509.load_pem_x509_certificate(checked.chain_pem).public_key()
    assert public == key_of(checked.key_pem, None, unsafe_skip_rsa_key_validation=True).public_key()


def trust(data: bytes) -> None:
    """A trust bundle is refused in plain words, or read."""
    bundle, found, lists = data.partition(seeds.BETWEEN)
    try:
        read_ = check_trust(TrustMaterial("ca.crt", "ca.crl", bundle, lists if found else None), NOW, required=True)
        assert read_.authorities
    except MaterialError:
        pass


def _requests() -> list[bytes]:
    return [b"\x40\x80" + message.data for message in messages("requests") if len(message.data) < 1000]


def _bodies() -> list[bytes]:
    found = [message.data.partition(b"\r\n\r\n") for message in messages("requests") if len(message.data) < 1000]
    return [b"\x40\x80" + body for head, _, body in found if b"chunked" in head and body]


def _heads_of_corpus() -> list[bytes]:
    found = [message.data for message in messages("requests") if message.data.endswith(b"\r\n\r\n")]
    return [data for data in found if len(data) < 600]


def _responses() -> list[bytes]:
    found = [message for message in messages("responses") if len(message.data) < 1000]
    flags = [(message.method == "HEAD") | 2 * message.ends | 0x80 for message in found]
    return [bytes([flag]) + message.data for flag, message in zip(flags, found, strict=True)]


HTTP = (
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"\r\n\r\n", b"0\r\n\r\n", b"HTTP/1.1", b"HTTP/1.0"),
    *(b"Host: a\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Connection: ", b"close", b"keep-alive"),
    *(
        b"Upgrade: websocket\r\n",
        b"Connection: Upgrade\r\n",
        b"Expect: 100-continue\r\n",
        b"GET / HTTP/1.1\r\n",
        b"POST ",
    ),
    *(b"HEAD ", b"OPTIONS ", b"http://a/", b"\x0b", b"\x0c", b"\x85", b"\xa0", b"HTTP/1.1 200 OK\r\n", b"100", b"204"),
)

TARGETS = (
    Target("requests", requests, _requests, words=HTTP),
    Target("chunks", chunks, _bodies, 400, HTTP),
    Target("repeats", repeats, _heads_of_corpus, 600, HTTP),
    Target("responses", responses, _responses, words=HTTP),
    Target("websocket-frames", websocket_frames, seeds.frames, 300),
    Target("lending", lending, seeds.walks, 60),
    Target("proxy-headers", proxy_headers, seeds.proxy_headers, 400, seeds.PROXY_WORDS),
    Target("client-rules", client_rules, seeds.client_rules, 200, seeds.RULE_WORDS),
    Target("values", values, lambda: seeds.values(len(VALUES)), 80, seeds.VALUE_WORDS),
    Target("settings", settings, seeds.settings, 400, seeds.VALUE_WORDS),
    Target("certificates", certificates, seeds.certificates, 4000, seeds.PEM_WORDS),
    Target("trust", trust, seeds.bundles, 4000, seeds.PEM_WORDS),
)
BY_NAME = {target.name: target for target in TARGETS}
