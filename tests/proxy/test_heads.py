"""Heads as tables: what a field, a target, a version or a framing becomes, in both directions."""

from collections.abc import Callable, Sequence
from ipaddress import ip_network
from typing import NamedTuple

import pytest

from tlsproxy.proxy.forwarding import Forwarding, Peer
from tlsproxy.proxy.heads import (
    BY_CHUNKS,
    BY_CLOSE,
    BY_LENGTH,
    LOCATION,
    NO_BODY,
    REQUEST_FIELDS,
    SET_COOKIE,
    TRANSPORT_SECURITY,
    Field,
    Framing,
    for_app,
    from_app,
    passes_as_trailer,
)
from tlsproxy.proxy.refusals import AppInvalid, BadRequest, MethodRefused, Refusal
from tlsproxy.proxy.request import Request, Told

HOST: Field = (b"Host", b"shop")


class Head(NamedTuple):
    """A parsed request head of the parser's shape."""

    raw_headers: Sequence[Field] = (HOST,)
    path: str = "/"
    method: str = "GET"
    version: tuple[int, int] = (1, 1)
    should_close: bool = False
    chunked: bool = False


class ForApp(NamedTuple):
    """A request as the app gets it."""

    head: bytes
    target: bytes
    request_id: bytes
    told: Told

    @property
    def host(self) -> bytes:
        return self.told.host

    @property
    def client(self) -> str:
        return self.told.client


def asked(head: Head, peer: Peer, new_id: bytes) -> ForApp:
    """What the app is asked."""
    return ForApp(*for_app(Request(head), peer, new_id))


def stranger() -> Peer:
    return Forwarding(app_authority=b"app:80").peer("192.0.2.1")


def proxy() -> Peer:
    return Forwarding(trusted=[ip_network("192.0.2.0/24")]).peer("192.0.2.1")


def rewritten(*fields: Field, peer: Peer | None = None) -> ForApp:
    return asked(Head((HOST, *fields)), peer or stranger(), b"new")


def lines(head: bytes) -> list[bytes]:
    """The field lines of a head."""
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].split(b"\r\n")[1:]


def kept(*fields: Field, peer: Peer | None = None) -> list[bytes]:
    """What of these fields the app gets, without Host and what the proxy adds of its own."""
    added = set(lines(rewritten(peer=peer).head))
    return [line for line in lines(rewritten(*fields, peer=peer).head) if line not in added]


# ---------------------------------------------------------------------------- request fields

HOP_BY_HOP = [b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"]
DROPPED_FROM_STRANGERS = [
    *HOP_BY_HOP, b"http2-settings", b"proxy-authenticate", b"proxy-authorization", b"trailer",
    b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-proto", b"x-real-ip",
    b"x-request-id", b"client-cert", b"client-cert-chain", b"x-forwarded-client-cert",
]  # fmt: skip
PASSED = [b"Accept", b"Cookie", b"Authorization", b"Via", b"X-Custom", b"User-Agent", b"Referer", b"Content-Type"]


@pytest.mark.parametrize("name", DROPPED_FROM_STRANGERS)
@pytest.mark.parametrize("spell", [bytes.lower, bytes.upper, bytes.title])
def test_what_is_for_this_hop_or_made_here_is_dropped(name: bytes, spell: Callable[[bytes], bytes]) -> None:
    """Hop-by-hop fields and those that tell the app who asks are dropped, however they are spelled."""
    value = b"chunked" if name == b"transfer-encoding" else b"spoofed"
    again = [b"Transfer-Encoding: chunked"] if name == b"transfer-encoding" else []
    assert kept((spell(name), value)) == again


@pytest.mark.parametrize("name", sorted(REQUEST_FIELDS))
@pytest.mark.parametrize("trusted", [False, True])
def test_an_underscore_twin_is_dropped(name: bytes, trusted: bool) -> None:
    """A name that CGI reads like one that means something here is dropped, whoever sends it."""
    if b"-" in name:
        peer = proxy() if trusted else stranger()
        assert kept((name.replace(b"-", b"_"), b"spoofed"), peer=peer) == []
        assert kept((name.replace(b"-", b"_", 1).title(), b"spoofed"), peer=peer) == []


@pytest.mark.parametrize("mark", [b"%c" % mark for mark in b"!#$%&'*+.^_`|~"])
def test_a_twin_by_any_mark_is_dropped(mark: bytes) -> None:
    """So is one with any other mark that a name may hold in a hyphen's place: some apps read them all alike."""
    names = [name.replace(b"-", mark) for name in REQUEST_FIELDS if b"-" in name]
    names += [b"X.Forwarded.For".replace(b".", mark), b"X-Forwarded%bProto" % mark, b"Client%bCert" % mark]
    for peer in (stranger(), proxy()):
        assert kept(*((name, b"spoofed") for name in names), peer=peer) == []


@pytest.mark.parametrize("name", [*PASSED, b"X_Custom", b"X.Custom", b"X!Custom", b"x-forwarded-foo", b"X-Real-IPs"])
def test_everything_else_passes(name: bytes) -> None:
    """A field that means nothing to a proxy goes on."""
    assert kept((name, b"value")) == [name + b": value"]


@pytest.mark.parametrize(
    "fields",
    [
        [(b"b", b"1"), (b"A", b"2"), (b"b", b"3")],
        [(b"x-cAsE", b"Kept")],
        [(b"X-Bytes", bytes(range(0x80, 0x100)))],
        [(b"X-Empty", b"")],
        [(b"Cookie", b"a=1"), (b"Cookie", b"b=2")],
    ],
)
def test_fields_pass_byte_for_byte(fields: list[Field]) -> None:
    """Case, order, duplicates, emptiness and bytes above 0x7F are the client's."""
    assert kept(*fields) == [name + b": " + value for name, value in fields]


def test_the_head_is_whole() -> None:
    """Request line, the client's fields in order, what tells who asks, the id, and the empty line."""
    assert rewritten((b"Accept", b"*/*")).head == (
        b"GET / HTTP/1.1\r\nHost: shop\r\nAccept: */*\r\n"
        b"X-Forwarded-For: 192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n"
        b"Forwarded: for=192.0.2.1;host=shop;proto=https\r\nX-Forwarded-Host: shop\r\nX-Request-ID: new\r\n\r\n"
    )


CONNECTION = [
    # value of Connection, what is dropped for it
    (b"close", []),
    (b"X-Private", [b"X-Private"]),
    (b"keep-alive, x-PRIVATE ,, X-Other", [b"X-Private", b"X-Other"]),
    (b"X-Privat", []),
    (b"Host, Content-Length, Connection, Transfer-Encoding", []),
    (b"User-Agent", [b"User-Agent"]),
    (b",", []),
    (b"", []),
    (b"close, upgrade, X-Other", [b"X-Other"]),
]


@pytest.mark.parametrize(("value", "dropped"), CONNECTION)
def test_what_connection_names_is_dropped(value: bytes, dropped: list[bytes]) -> None:
    """A field that Connection names goes no further, but for those without which the message is another."""
    fields = [(b"X-Private", b"1"), (b"X-Other", b"2"), (b"Content-Length", b"3"), (b"User-Agent", b"4")]
    expected = [b"%b: %b" % field for field in fields if field[0] not in dropped]
    assert kept((b"Connection", value), *fields) == expected


def test_connection_may_come_twice() -> None:
    """Each Connection field counts."""
    fields = [(b"X-A", b"1"), (b"Connection", b"X-A"), (b"Connection", b"X-B"), (b"X-B", b"2")]
    assert kept(*fields) == []


@pytest.mark.parametrize("trusted", [False, True])
def test_connection_removes_nothing_that_the_proxy_says(trusted: bool) -> None:
    """A client can't have the app's view of itself removed by naming it."""
    told = b"X-Forwarded-For, X-Real-IP, Forwarded, X-Request-ID, X-Forwarded-Proto, Host"
    peer = proxy() if trusted else stranger()
    assert lines(rewritten((b"Connection", told), peer=peer).head) == lines(rewritten(peer=peer).head)


@pytest.mark.parametrize("name", [b"host", b"Content-Length", b"Transfer-Encoding"])
def test_what_may_stand_once_is_refused_twice(name: bytes) -> None:
    """Two of what frames or routes a message are refused, even when they agree."""
    value = b"chunked" if name == b"Transfer-Encoding" else b"5"
    with pytest.raises(BadRequest):
        rewritten((name, value), (name, value))


def test_what_is_noted_is_told() -> None:
    """Agent, referer and host are handed on for the request line."""
    told = rewritten((b"user-AGENT", b"curl"), (b"Referer", b"http://x/\xff"))
    assert (told.told.agent, told.told.referer, told.host, told.client) == (
        b"curl",
        b"http://x/\xff",
        b"shop",
        "192.0.2.1",
    )


def test_names_are_remembered_within_bounds() -> None:
    """Clients choose names, so the memory for their spellings is bounded, and stays right."""
    for n in range(10_000):
        assert kept((b"X-%d" % n, b"1")) == [b"X-%d: 1" % n]
    assert kept((b"X-Real-IP", b"spoofed")) == []
    from tlsproxy.proxy import heads  # noqa: PLC0415  the room's own memory is looked at, not used

    assert len(heads._request_kinds) <= heads._request_kinds.BOUND


# ---------------------------------------------------------------------------- ids and trust


@pytest.mark.parametrize(
    ("trusted", "sent", "told"),
    [(False, b"theirs", b"new"), (True, b"theirs", b"theirs"), (True, b"", b"new"), (True, None, b"new")],
)
def test_a_request_id_is_made_unless_a_trusted_proxy_gave_one(trusted: bool, sent: bytes | None, told: bytes) -> None:
    """X-Request-ID of a trusted proxy goes on; everyone else's is replaced."""
    fields = [] if sent is None else [(b"X-Request-ID", sent)]
    result = rewritten(*fields, peer=proxy() if trusted else stranger())
    assert result.request_id == told
    assert [line for line in lines(result.head) if line.lower().startswith(b"x-request-id")] == [
        b"X-Request-ID: " + told
    ]


def test_a_trusted_proxys_fields_are_joined_and_extended() -> None:
    """Fields that come in pieces are one list, which goes on with the proxy itself."""
    fields = [(b"X-Forwarded-For", b"203.0.113.7"), (b"x-forwarded-for", b"192.0.2.9"), (b"X-Forwarded-Proto", b"http")]
    result = rewritten(*fields, peer=proxy())
    assert b"X-Forwarded-For: 203.0.113.7, 192.0.2.9, 192.0.2.1" in lines(result.head)
    assert b"X-Forwarded-Proto: http" in lines(result.head)
    assert result.client == "203.0.113.7"


@pytest.mark.parametrize("name", [b"Client-Cert", b"Client-Cert-Chain", b"X-Forwarded-Client-Cert", b"X-Real-IP"])
def test_some_fields_are_believed_from_nobody(name: bytes) -> None:
    """Who the client is by its certificate, and X-Real-IP, is never taken from outside."""
    assert kept((name, b"spoofed"), peer=proxy()) == []


# ---------------------------------------------------------------------------- targets and hosts

TARGETS = [
    # target, Host, target for the app, Host for the app
    ("/", b"shop", b"/", b"shop"),
    ("/a%2fb//c/../d?q=/&%zz", b"shop", b"/a%2fb//c/../d?q=/&%zz", b"shop"),
    ("/\udcff\udcfe", b"shop", b"/\xff\xfe", b"shop"),
    ("/é", b"shop", "/é".encode(), b"shop"),
    ("//other/path", b"shop", b"//other/path", b"shop"),
    ("/http://other/", b"shop", b"/http://other/", b"shop"),
    ("*", b"shop", b"*", b"shop"),
    ("http://other/x?y", b"shop", b"/x?y", b"other"),
    ("http://other", b"shop", b"/", b"other"),
    ("http://other?q", b"shop", b"/?q", b"other"),
    ("http://other:8443/", b"shop", b"/", b"other:8443"),
    ("HTTPS://[::1]:1/", b"shop", b"/", b"[::1]:1"),
    ("http://shop/x", b"shop", b"/x", b"shop"),
    ("http://other/http://third/", b"shop", b"/http://third/", b"other"),
]
BAD_TARGETS = [
    "http://user@other/",
    "http://user:secret@other/",
    "http:///x",
    "http://?q",
    "http://a b/",
    "http:/x",
    "http:",
    "other:443",
    "other",
    "",
    "?q",
    "/x#y",
    "http://other/#y",
    "http://other#y",
    "**",
]
HOSTS = [
    b"shop", b"SHOP.example.", b"shop:8443", b"shop:", b"127.0.0.1", b"127.0.0.1:80", b"[::1]", b"[::1]:80",
    b"[::ffff:1.2.3.4]", b"xn--bcher-kva.example", b"under_score", b"!$&'()*+;=~",
]  # fmt: skip
BAD_HOSTS = [
    b"", b"a b", b"user@shop", b"shop/", b"shop/path", b"shop?q", b"shop#f", b"shop:http", b"shop:80:80", b"[::1",
    b"::1", b"[shop]", b"shop\\", b'shop"', b"<shop>", b"sh\xf6p", b"shop\t", b"[::1]x", b":80", b"shop:80\x7f",
    b"a,b", b"a%2fb", b"a%",
]  # fmt: skip


@pytest.mark.parametrize(("target", "host", "for_the_app", "host_for_the_app"), TARGETS)
def test_targets(target: str, host: bytes, for_the_app: bytes, host_for_the_app: bytes) -> None:
    """Origin-form and `*` pass as they came; absolute-form becomes origin-form with its authority as Host."""
    result = asked(Head([(b"a", b"1"), (b"host", host), (b"b", b"2")], target), stranger(), b"id")
    assert (result.target, result.host) == (for_the_app, host_for_the_app)
    assert result.head.startswith(b"GET %b HTTP/1.1\r\n" % for_the_app)
    assert [line for line in lines(result.head) if line in {b"a: 1", b"b: 2"}] == [b"a: 1", b"b: 2"]
    hosts = [line.partition(b": ")[2] for line in lines(result.head) if line.lower().startswith(b"host:")]
    assert hosts == [host_for_the_app]
    assert b"X-Forwarded-Host: " + host_for_the_app in lines(result.head)


@pytest.mark.parametrize("target", BAD_TARGETS)
def test_bad_targets(target: str) -> None:
    """A target of no known form, with a fragment or with user information is refused."""
    with pytest.raises(BadRequest):
        asked(Head(path=target), stranger(), b"id")


@pytest.mark.parametrize("host", HOSTS)
def test_hosts(host: bytes) -> None:
    """A registered name, an IPv4 or a bracketed IPv6 address, with or without a port, is a Host."""
    assert asked(Head([(b"Host", host)]), stranger(), b"id").host == host


@pytest.mark.parametrize("host", BAD_HOSTS)
@pytest.mark.parametrize("peer", [stranger(), proxy()], ids=["stranger", "proxy"])
def test_bad_hosts(host: bytes, peer: Peer) -> None:
    """Anything else is refused, whoever sends it."""
    with pytest.raises(BadRequest):
        asked(Head([(b"Host", host)]), peer, b"id")


@pytest.mark.parametrize("host", [host for host in BAD_HOSTS if not set(host) & set(b"/?#")])
def test_bad_authorities(host: bytes) -> None:
    """So it is where it comes as the authority of the target."""
    with pytest.raises(BadRequest):
        asked(Head(path=f"http://{host.decode('latin-1')}/"), stranger(), b"id")


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_a_bad_host_is_refused_beside_an_authority(host: bytes) -> None:
    """A Host that does not count is a bad Host still (RFC 9112 section 3.2)."""
    with pytest.raises(BadRequest):
        asked(Head([(b"Host", host)], "http://other/"), stranger(), b"id")


def test_an_absolute_target_needs_no_host() -> None:
    """An HTTP/1.0 request whose target names the authority gets a Host from it."""
    result = asked(Head([(b"a", b"1")], "http://other/", version=(1, 0)), stranger(), b"id")
    assert lines(result.head)[:2] == [b"Host: other", b"a: 1"]


def test_an_old_client_that_names_no_host_gets_the_apps() -> None:
    """HTTP/1.0 without Host is forwarded with the app's own authority, and nothing is said of a host."""
    result = asked(Head([], version=(1, 0)), stranger(), b"id")
    assert result.host == b""
    assert b"Host: app:80" in lines(result.head)
    assert not [line for line in lines(result.head) if line.startswith(b"X-Forwarded-Host")]


# ---------------------------------------------------------------------------- methods, codings, lengths

CHUNKED: Field = (b"Transfer-Encoding", b"chunked")
REQUESTS: list[tuple[str, Head, type[Refusal]]] = [
    ("CONNECT", Head(method="CONNECT", path="shop:443"), MethodRefused),
    ("chunked in HTTP/1.0", Head([HOST, CHUNKED], version=(1, 0)), BadRequest),
    ("with a length", Head([HOST, CHUNKED, (b"Content-Length", b"5")]), BadRequest),
    ("2**64 - 1 bytes", Head([HOST, (b"Content-Length", b"18446744073709551615")]), BadRequest),
    ("2**63 bytes", Head([HOST, (b"Content-Length", b"9223372036854775808")]), BadRequest),
    ("gzip, chunked", Head([HOST, (b"Transfer-Encoding", b"gzip, chunked")]), BadRequest),
    ("chunked, chunked", Head([HOST, (b"Transfer-Encoding", b"chunked, chunked")]), BadRequest),
    ("identity", Head([HOST, (b"Transfer-Encoding", b"identity")]), BadRequest),
    ("empty coding", Head([HOST, (b"Transfer-Encoding", b"")]), BadRequest),
    ("a coding in quotes", Head([HOST, (b"Transfer-Encoding", b'"chunked"')]), BadRequest),
    ("a coding with a parameter", Head([HOST, (b"Transfer-Encoding", b"chunked;q=1")]), BadRequest),
]


@pytest.mark.parametrize(("head", "refusal"), [row[1:] for row in REQUESTS], ids=[row[0] for row in REQUESTS])
def test_requests_that_are_refused(head: Head, refusal: type[Refusal]) -> None:
    """What another parser could read otherwise is refused, with the status that says why."""
    with pytest.raises(refusal):
        asked(head, stranger(), b"id")


def test_the_coding_is_announced_as_ours() -> None:
    """A chunked body stays chunked, spelled in one way."""
    assert kept((b"tRANSFER-eNCODING", b"Chunked")) == [b"Transfer-Encoding: chunked"]


def test_an_old_client_is_spoken_for_in_1_1() -> None:
    """The app always gets HTTP/1.1."""
    assert asked(Head(version=(1, 0)), stranger(), b"id").head.startswith(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize(("version", "passed"), [((1, 1), True), ((1, 0), False)])
def test_expect(version: tuple[int, int], passed: bool) -> None:
    """A client's Expect goes on, but for an HTTP/1.0 client, who can't have meant it."""
    result = asked(Head([HOST, (b"expect", b"100-continue")], version=version), stranger(), b"id")
    assert result.told.expects is passed
    assert (b"Expect: 100-continue" in lines(result.head)) is passed


@pytest.mark.parametrize(
    ("value", "waits"),
    [
        (b"100-Continue", True),
        (b"100-continue, 100-continue", True),
        (b"other ,100-continue", True),
        (b"100-continued", False),
        (b"other", False),
        (b"", False),
    ],
)
def test_who_waits_for_100(value: bytes, waits: bool) -> None:
    """Expect is a list; what it holds goes on, known or not (RFC 9110 section 10.1.1)."""
    result = rewritten((b"Expect", value))
    assert result.told.expects is waits
    assert b"Expect: " + value in lines(result.head)


@pytest.mark.parametrize(
    ("framing", "passes"),
    [
        (None, True),
        ((b"Content-Length", b"0"), True),
        ((b"Content-Length", b"4"), False),
        ((b"Transfer-Encoding", b"chunked"), False),
    ],
)
def test_no_change_of_protocol_is_offered_beside_a_body(framing: Field | None, passes: bool) -> None:
    """Some apps' parsers take the body for the new protocol's, or for a request; without a body all read alike."""
    fields = [HOST, (b"Connection", b"Upgrade"), (b"Upgrade", b"foo"), *([framing] if framing else [])]
    request = asked(Head(fields, method="POST"), stranger(), b"id")
    assert (b"Upgrade: foo" in request.head) is passes
    assert (request.told.offered == b"foo") is passes


@pytest.mark.parametrize(
    ("offer", "passed"),
    [
        (b"websocket, foo/2.1", b"websocket, foo/2.1"),
        (b"SPDY/3.1", b"SPDY/3.1"),
        (b"h2c, foo", b"foo"),
        (b"H2C-14, h2-16, HTTP/1.1, http", b""),
        (b'websocket;h2c, "h2c", websocket h2c, /h2c, foo/, foo/1/2, h2c\xa0', b""),
        (b", ,", b""),
    ],
)
def test_what_is_offered_is_a_protocols_name(offer: bytes, passed: bytes) -> None:
    """HTTP's own and their drafts are left out, and so is what is no name: to somebody it is one of them."""
    fields = [HOST, (b"Connection", b"Upgrade"), (b"Upgrade", offer)]
    request = asked(Head(fields), stranger(), b"id")
    assert request.told.offered == passed
    assert (b"\r\nUpgrade: %b\r\n" % passed in request.head) is bool(passed)


# ---------------------------------------------------------------------------- responses

LENGTH_5: Field = (b"Content-Length", b"5")
FRAMINGS: list[tuple[int, list[Field], bool, Framing, int]] = [
    # status, fields, to HEAD, framing, length
    (200, [LENGTH_5], False, BY_LENGTH, 5),
    (200, [(b"Content-Length", b"005")], False, BY_LENGTH, 5),
    (200, [(b"Content-Length", b"0")], False, NO_BODY, 0),
    (200, [(b"Content-Length", b"000")], False, NO_BODY, 0),
    (200, [CHUNKED], False, BY_CHUNKS, 0),
    (200, [(b"transfer-encoding", b"CHUNKED")], False, BY_CHUNKS, 0),
    (200, [], False, BY_CLOSE, 0),
    (404, [], False, BY_CLOSE, 0),
    (205, [LENGTH_5], False, BY_LENGTH, 5),
    (200, [LENGTH_5], True, NO_BODY, 0),
    (200, [CHUNKED], True, NO_BODY, 0),
    (200, [], True, NO_BODY, 0),
    (204, [], False, NO_BODY, 0),
    (204, [LENGTH_5], False, NO_BODY, 0),
    (204, [CHUNKED], False, NO_BODY, 0),
    (304, [], False, NO_BODY, 0),
    (304, [LENGTH_5], False, NO_BODY, 0),
    (100, [], False, NO_BODY, 0),
    (103, [LENGTH_5], False, NO_BODY, 0),
    (999, [LENGTH_5], False, BY_LENGTH, 5),
]


@pytest.mark.parametrize(("status", "fields", "for_head", "framing", "length"), FRAMINGS)
def test_framing(status: int, fields: list[Field], for_head: bool, framing: Framing, length: int) -> None:
    """How a body ends follows from status, fields and the request's method (RFC 9112 section 6.3)."""
    response = from_app(status, b"", fields, "1.1", for_head=for_head)
    assert (response.framing, response.length) == (framing, length)
    assert b"transfer-encoding" not in [name.lower() for name, _ in response.fields]


@pytest.mark.parametrize(
    ("status", "for_head", "kept_length"),
    [(200, False, True), (200, True, True), (304, False, True), (204, False, False), (103, False, False)],
)
def test_a_length_goes_on_where_it_may_stand(status: int, for_head: bool, kept_length: bool) -> None:
    """HEAD and 304 tell the length of what they stand for; 1xx and 204 never have one (RFC 9110 section 8.6)."""
    response = from_app(status, b"", [(b"content-LENGTH", b"5")], "1.1", for_head=for_head)
    assert (response.fields == [(b"content-LENGTH", b"5")]) is kept_length


AMBIGUOUS: list[tuple[int, list[Field]]] = [
    (200, [LENGTH_5, CHUNKED]),
    (200, [LENGTH_5, (b"content-length", b"6")]),
    (200, [CHUNKED, CHUNKED]),
    (200, [(b"Transfer-Encoding", b"gzip, chunked")]),
    (200, [(b"Transfer-Encoding", b"chunked, gzip")]),
    (200, [(b"Transfer-Encoding", b"")]),
    (200, [(b"Content-Length", b"")]),
    (200, [(b"Content-Length", b"-5")]),
    (200, [(b"Content-Length", b"+5")]),
    (200, [(b"Content-Length", b"5, 6")]),
    (200, [(b"Content-Length", b"5,")]),
    (200, [(b"Content-Length", b"5 5")]),
    (200, [(b"Content-Length", b"9223372036854775808")]),
    (200, [(b"Content-Length", b"0x5")]),
    (200, [(b"Content-Length", b"5\xb2")]),
    (200, [(b"Content-Length", b"5" * 5000)]),
    (304, [LENGTH_5, CHUNKED]),
    (101, []),
    (99, []),
    (0, []),
]


@pytest.mark.parametrize(("status", "fields"), AMBIGUOUS)
@pytest.mark.parametrize("for_head", [False, True])
def test_ambiguous_responses_are_refused(status: int, fields: list[Field], for_head: bool) -> None:
    """A response that two readers could end differently is no response."""
    with pytest.raises(AppInvalid):
        from_app(status, b"", fields, "1.1", for_head=for_head)


def test_http_09_is_no_response() -> None:
    """An app that knows no heads has sent none."""
    with pytest.raises(AppInvalid, match=r"0\.9"):
        from_app(200, b"", [LENGTH_5], "0.9")


@pytest.mark.parametrize("version", ["1.2", "2.0"])
def test_a_later_version_is_read_as_11(version: str) -> None:
    """What was read as HTTP/1.1 is that, whatever it says (RFC 9110 section 2.5); its connection is not kept."""
    response = from_app(200, b"", [LENGTH_5], version)
    assert (response.framing, response.length, response.reusable) == (BY_LENGTH, 5, False)


def test_a_phrase_with_nul_is_none() -> None:
    """A NUL in the reason phrase would end the head for some clients."""
    with pytest.raises(AppInvalid, match="NUL"):
        from_app(200, b"O\0K", [LENGTH_5], "1.1")


@pytest.mark.parametrize(
    ("first", "second"),
    [(b"5", b"5"), (b"5", b"05"), (b"5, 5", b"5"), (b"5,5", None), (b"0" * 5000 + b"5", None), (b"5 ", None)],
)
@pytest.mark.parametrize("for_head", [False, True])
def test_a_length_said_twice_is_said_once(first: bytes, second: bytes | None, for_head: bool) -> None:
    """Equal lengths, which old apps send, are one, in the place of the first."""
    fields = [(b"Date", b"x"), (b"Content-length", first), (b"X", b"1")]
    if second is not None:
        fields.append((b"content-length", second))
    response = from_app(200, b"", fields, "1.1", for_head=for_head)
    assert response.fields == [(b"Date", b"x"), (b"Content-length", b"5"), (b"X", b"1")]
    assert response.length == (0 if for_head else 5)


@pytest.mark.parametrize("fields", [[LENGTH_5, CHUNKED], [(b"Content-Length", b"five")], [CHUNKED, CHUNKED]])
def test_the_framing_of_an_interim_response_means_nothing(fields: list[Field]) -> None:
    """It has no body, whatever it says, and goes on without it (RFC 9110 section 15.2)."""
    response = from_app(103, b"", [*fields, (b"X", b"1")], "1.1")
    assert (response.fields, response.framing) == ([(b"X", b"1")], NO_BODY)


@pytest.mark.parametrize(
    ("status", "fields", "reusable"),
    [
        (204, [], True),
        (204, [(b"Content-Length", b"0")], True),
        (204, [LENGTH_5], False),
        (204, [CHUNKED], False),
        (304, [LENGTH_5], True),
    ],
)
def test_reuse_behind_a_body_that_may_not_come(status: int, fields: list[Field], reusable: bool) -> None:
    """An app that announces a body with 204 may send it, late; with 304 a length tells of another response's."""
    assert from_app(status, b"", fields, "1.1").reusable is reusable


REUSABLE = [
    # version, Connection, fields, whether the connection may be used again
    ("1.1", None, [LENGTH_5], True),
    ("1.1", b"close", [LENGTH_5], False),
    ("1.1", b"CLOSE", [LENGTH_5], False),
    ("1.1", b"keep-alive, close", [LENGTH_5], False),
    ("1.1", b"keep-alive", [LENGTH_5], True),
    ("1.1", b"x-private", [LENGTH_5], True),
    ("1.0", None, [LENGTH_5], False),
    ("1.0", b"keep-alive", [LENGTH_5], True),
    ("1.0", b"Keep-Alive", [LENGTH_5], True),
    ("1.0", b"close", [LENGTH_5], False),
    ("1.1", None, [CHUNKED], True),
    ("1.0", b"keep-alive", [CHUNKED], False),
    ("1.1", None, [], False),
    ("1.0", b"keep-alive", [], False),
]


@pytest.mark.parametrize(("version", "connection", "fields", "reusable"), REUSABLE)
def test_reuse(version: str, connection: bytes | None, fields: list[Field], reusable: bool) -> None:
    """A connection goes on as version and Connection say, unless its end is the body's (RFC 9112 section 9.3)."""
    said = [] if connection is None else [(b"Connection", connection)]
    assert from_app(200, b"", [*said, *fields], version).reusable is reusable


@pytest.mark.parametrize("name", [name for name in (*HOP_BY_HOP, b"x-request-id") if name != b"transfer-encoding"])
def test_what_is_for_this_hop_goes_no_further(name: bytes) -> None:
    """Hop-by-hop fields of a response, and X-Request-ID, which is ours to say, are dropped."""
    assert from_app(200, b"", [(name.title(), b"x"), (b"Kept", b"1")], "1.1").fields == [(b"Kept", b"1")]


def test_response_fields_pass_byte_for_byte() -> None:
    """Case, order, duplicates and bytes of everything else are the app's."""
    fields = [(b"b", b"\xff"), (b"SERVER", b"old"), (b"Set-Cookie", b"1"), (b"b", b""), (b"Set-Cookie", b"2"),
              (b"Via", b"1.1 x"), (b"Trailer", b"Sum"), (b"Proxy-Authenticate", b"Basic")]  # fmt: skip
    response = from_app(299, b"Fine \xe9", fields, "1.1")
    assert (response.status, response.reason, response.fields) == (299, b"Fine \xe9", fields)


def test_what_the_apps_connection_names_is_dropped() -> None:
    """Fields that the app's Connection names go no further, but its length stays."""
    fields = [(b"Connection", b"x-a"), (b"X-A", b"1"), (b"connection", b"content-length, X-B"), LENGTH_5, (b"x-b", b"")]
    assert from_app(200, b"", fields, "1.1").fields == [LENGTH_5]


def test_fixable_fields_are_noted() -> None:
    """Which fixes may apply is told by kinds; everything else is not."""
    fields = [(b"LOCATION", b"/"), (b"set-cookie", b"a"), (b"Strict-Transport-Security", b"x"), LENGTH_5, (b"X", b"")]
    fixable = {LOCATION, SET_COOKIE, TRANSPORT_SECURITY}
    assert fixable & from_app(200, b"", fields, "1.1").noted.keys() == fixable
    assert not fixable & from_app(200, b"", [LENGTH_5, (b"X-Location", b"/")], "1.1").noted.keys()


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        (b"Digest", True),
        (b"grpc-status", True),
        (b"Content-Length", False),
        (b"transfer-encoding", False),
        (b"Connection", False),
        (b"Set-Cookie", False),
        (b"location", False),
        (b"X-Request-ID", False),
    ],
)
def test_trailers(name: bytes, passes: bool) -> None:
    """A trailer goes on unless it frames, routes or steers the message."""
    assert passes_as_trailer(name) is passes
