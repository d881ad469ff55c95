"""PROXY headers before TLS: the client that a trusted load balancer announces is the client, and nothing is guessed."""

import re
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest
import trustme

from tests.e2e.client_certificates import issue_client, showing
from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port
from tests.e2e.programs import nginx, program, running
from tests.e2e.raw_client import RawClient, TlsClient
from tests.e2e.scripted_app import AppConnection, ScriptedApp
from tests.e2e.sidecar_process import PROJECT, Sidecar

STRANGER = "127.0.0.9"
DENIED = "tlsproxy_clients_denied_total"
PAGE = (PROJECT / "docs" / "proxy-protocol.md").read_text()
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


def v1(source: str = "192.0.2.7", destination: str = "198.51.100.9") -> bytes:
    """A header of version 1."""
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {destination} 56324 443\r\n".encode()


def v2(source: str = "192.0.2.7", destination: str = "198.51.100.9", command: int = 0x21, tlvs: bytes = b"") -> bytes:
    """A header of version 2."""
    ends = ip_address(source).packed + ip_address(destination).packed + struct.pack("!HH", 56324, 443)
    kind = 0x21 if ":" in source else 0x11
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", command, kind, len(ends + tlvs)) + ends + tlvs


@pytest.fixture(scope="module")
def accepting_sidecar(launch: Launch, session_app: ScriptedApp) -> Iterator[Sidecar]:
    """A sidecar that takes headers from 127.0.0.1, trusts one network of clients and gives a second for a handshake."""
    trusted = "127.0.0.1,203.0.113.0/24"
    with launch(
        APP_PORT=session_app.port, PROXY_PROTOCOL="accept", TRUSTED_PROXIES=trusted, HANDSHAKE_TIMEOUT="1s"
    ) as process:
        yield process


@pytest.fixture
def accepting(accepting_sidecar: Sidecar, app: ScriptedApp) -> Sidecar:
    """The same, with the app fresh and its request lines forgotten."""
    accepting_sidecar.forget_lines()
    return accepting_sidecar


@contextmanager
def announced(sidecar: Sidecar, header: bytes) -> Iterator[TlsClient]:
    """A TLS connection behind a header."""
    with sidecar.connect(handshake=False) as client:
        client.socket.sendall(header)
        client.handshake()
        yield client


@contextmanager
def counted(sidecar: Sidecar, reason: str | None) -> Iterator[None]:
    """What happens within is counted once as this reason, or not at all where it is None; no handshake fails."""
    names = {DENIED: {(reason,): 1.0} if reason else {}, "tlsproxy_handshake_failures_total": {}}
    before = sidecar.metrics()
    yield

    def grown() -> dict[str, dict[tuple[str, ...], float]]:
        after = sidecar.metrics()
        return {
            name: {
                key: more
                for key, value in after.by(name, "reason").items()
                if (more := value - before.by(name, "reason").get(key, 0))
            }
            for name in names
        }

    wait_until(lambda: not reason or grown()[DENIED], f"{reason} is counted")
    assert grown() == names


# ---------------------------------------------------------------------------- a header


@pytest.mark.parametrize("header", [v1(), v2(), v2(tlvs=b"\xea\x00\x04\x01vpc")], ids=["1", "2", "2 with a TLV"])
def test_the_announced_client_is_the_client(accepting: Sidecar, app: ScriptedApp, header: bytes) -> None:
    """The app and the request line have the address that the header names."""
    with announced(accepting, header) as client:
        assert client.get("/announced").status == 200
        assert client.get().status == 200
    for request in app.requests:
        assert request.all(b"X-Forwarded-For") == [b"192.0.2.7"]
        assert request.all(b"X-Real-IP") == [b"192.0.2.7"]
        assert b"for=192.0.2.7;" in (request.get(b"Forwarded") or b"")
    assert accepting.wait_for_line(target="/announced")["client"] == "192.0.2.7"


@pytest.mark.parametrize(
    ("source", "shown"), [("2001:db8::7", b"2001:db8::7"), ("::ffff:192.0.2.7", b"192.0.2.7")], ids=["6", "mapped"]
)
@pytest.mark.parametrize("header", [v1, v2])
def test_an_announced_ipv6_client(
    accepting: Sidecar, app: ScriptedApp, header: Callable[[str, str], bytes], source: str, shown: bytes
) -> None:
    """An IPv6 client is named as such, and an IPv4 one in IPv6's clothes by its IPv4 address."""
    with announced(accepting, header(source, "2001:db8::9")) as client:
        client.get()
    assert app.request.get(b"X-Forwarded-For") == shown


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2(command=0x20)], ids=["UNKNOWN", "LOCAL"])
def test_a_header_may_name_nobody(accepting: Sidecar, app: ScriptedApp, header: bytes) -> None:
    """The load balancer's own connection is its own."""
    with announced(accepting, header) as client:
        assert client.get().status == 200
    assert app.request.get(b"X-Forwarded-For") == b"127.0.0.1"


@pytest.mark.parametrize("header", [v1(), v2()], ids=["1", "2"])
def test_header_and_hello_in_one_packet(accepting: Sidecar, app: ScriptedApp, header: bytes) -> None:
    """The ClientHello may come with the header."""
    with accepting.connect(handshake=False) as client:
        with suppress(ssl.SSLWantReadError):
            client.tls.do_handshake()
        client.socket.sendall(header + client.outgoing.read())
        client.handshake()
        assert client.get().status == 200
    assert app.request.get(b"X-Forwarded-For") == b"192.0.2.7"


@pytest.mark.parametrize("header", [v1(), v2()], ids=["1", "2"])
def test_a_header_may_be_dribbled(accepting: Sidecar, app: ScriptedApp, header: bytes) -> None:
    """A header that comes a byte at a time is read, and so is the handshake behind it."""
    with accepting.connect(handshake=False) as client:
        for byte in header:
            client.socket.sendall(bytes([byte]))
        client.handshake(piece=1)
        assert client.get().status == 200
    assert app.request.get(b"X-Forwarded-For") == b"192.0.2.7"


def test_the_announced_client_is_judged(accepting: Sidecar, app: ScriptedApp) -> None:
    """X-Forwarded-For is extended for an announced client that is a trusted proxy itself, and anyone else's dropped."""
    for source, told in (("203.0.113.5", b"198.51.100.1, 203.0.113.5"), ("192.0.2.7", b"192.0.2.7")):
        with announced(accepting, v2(source)) as client:
            client.get(f"/judged/{source}", "X-Forwarded-For: 198.51.100.1")
        assert app.requests[-1].get(b"X-Forwarded-For") == told
    assert accepting.wait_for_line(target="/judged/203.0.113.5")["client"] == "198.51.100.1"
    assert accepting.wait_for_line(target="/judged/192.0.2.7")["client"] == "192.0.2.7"


def test_plain_http_behind_a_header(accepting: Sidecar) -> None:
    """A client that speaks plain HTTP through the load balancer is told to use HTTPS."""
    with accepting.connect_plain() as client:
        client.send(v1() + b"GET / HTTP/1.1\r\n\r\n")
        assert client.read_response().status == 400
        assert client.read_to_end() == b""


# ---------------------------------------------------------------------------- no header


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(506), "proxy_missing"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "proxy_missing"),
        (v1().replace(b"443", b"65536"), "proxy_invalid"),
        (v1().replace(b"TCP4", b"TCP6"), "proxy_invalid"),
        (v1().replace(b"\r", b""), "proxy_invalid"),
        (b"PROXY " + b"x" * 200, "proxy_invalid"),
        (v2(command=0x11), "proxy_invalid"),
        (v2(tlvs=b"\x04\x00\x01"), "proxy_invalid"),
        (v2()[:12] + b"\x21\x11\xff\xff", "proxy_invalid"),
    ],
    ids=["hello", "http", "port", "family", "lf", "long", "version", "tlv", "length"],
)
def test_what_is_no_header_is_refused(accepting: Sidecar, app: ScriptedApp, said: bytes, reason: str) -> None:
    """A connection that begins otherwise is closed without an answer, counted, and told of with the variable."""
    with counted(accepting, reason), accepting.connect_plain() as client:
        client.send(said)
        assert client.read_to_end() == b""
    assert app.connections == []
    warning = str(accepting.told(f"{reason}: 127.0.0.1 ")[0]["message"])
    assert "TLSPROXY_PROXY_PROTOCOL" in warning


@pytest.mark.parametrize("header", [v1(), v2()], ids=["1", "2"])
def test_a_stranger_may_not_announce(accepting: Sidecar, app: ScriptedApp, header: bytes) -> None:
    """Who is not in TRUSTED_PROXIES is closed at once, with a good header as well as with none."""
    for said in (header, b""):
        with counted(accepting, "proxy_untrusted"), RawClient(accepting.port, source=STRANGER) as client:
            client.send(said)
            assert client.read_to_end() == b""
    assert app.connections == []
    warning = str(accepting.told(f"proxy_untrusted: {STRANGER} ")[0]["message"])
    assert "TLSPROXY_TRUSTED_PROXIES" in warning


@pytest.mark.parametrize("said", [b"", v1()[:20], v2()[:20]], ids=["nothing", "1", "2"])
def test_a_header_has_a_deadline(accepting: Sidecar, said: bytes) -> None:
    """A header that is not whole within HANDSHAKE_TIMEOUT ends the connection."""
    began = time.monotonic()
    with counted(accepting, "proxy_timeout"), accepting.connect_plain() as client:
        client.send(said)
        assert client.read_to_end() == b""
        assert 0.9 < time.monotonic() - began < 4


def test_the_handshake_gets_what_the_header_left(accepting: Sidecar) -> None:
    """Header and handshake share HANDSHAKE_TIMEOUT."""
    with accepting.connect_plain() as client:
        began = time.monotonic()
        assert client.is_silent(0.7)
        client.send(v2())
        assert client.read_to_end() == b""
        assert time.monotonic() - began < 1.7


@pytest.mark.parametrize("said", [b"", v2(command=0x20)], ids=["nothing", "LOCAL"])
def test_a_health_check_is_passed_over(accepting: Sidecar, said: bytes) -> None:
    """A connection that ends with no more than the load balancer's own header is neither counted nor logged."""
    before = accepting.stderr()
    with counted(accepting, None):
        for leave in (RawClient.close, RawClient.abort):
            with accepting.connect_plain() as client:
                client.send(said)
                leave(client)
        with announced(accepting, v2()) as client:
            client.get()
    assert accepting.stderr() == before


def test_a_storm_is_a_line(launch: Launch, app: ScriptedApp) -> None:
    """Each connection is counted, and the log is not filled with them."""
    with launch(APP_PORT=app.port, PROXY_PROTOCOL="accept", TRUSTED_PROXIES="127.0.0.1") as sidecar:
        for _ in range(20):
            with sidecar.connect_plain() as client:
                client.send(b"?")
                assert client.read_to_end() == b""
        assert sidecar.metrics().by(DENIED, "reason") == {("proxy_missing",): 20}
        assert len(sidecar.told("proxy_missing")) == 1


def test_the_page_has_every_reason() -> None:
    """The table of what is refused lists the reasons that there are."""
    tested = {"proxy_missing", "proxy_invalid", "proxy_untrusted", "proxy_timeout"}
    assert set(re.findall(r"^\| `(proxy_\w+)` \|", PAGE, re.MULTILINE)) == tested


# ---------------------------------------------------------------------------- what it is not for


def test_other_ports_take_no_header(sidecar: Launch) -> None:
    """The redirect port and the admin port are asked without one."""
    port = free_port()
    process = sidecar(PROXY_PROTOCOL="accept", TRUSTED_PROXIES="127.0.0.1", REDIRECT_PORT=port)
    with RawClient(port) as client:
        assert client.get().status == 301
    assert process.ask_admin("/livez").status == 200


@pytest.mark.parametrize("header", [v1(), v2()], ids=["1", "2"])
def test_headers_are_off_by_default(sidecar: Launch, app: ScriptedApp, header: bytes) -> None:
    """Without PROXY_PROTOCOL a header is a bad beginning, from a trusted proxy too."""
    process = sidecar(TRUSTED_PROXIES="127.0.0.1")
    with process.connect_plain() as client:
        client.send(header)
        client.read_to_end()
    metrics = process.metrics()
    assert metrics.value("tlsproxy_handshake_failures_total") == 1
    assert metrics.value(DENIED) == 0
    assert process.get().status == 200
    assert app.request.get(b"X-Forwarded-For") == b"127.0.0.1"


# ---------------------------------------------------------------------------- load balancers


def snippet(language: str, key: str) -> str:
    """The page's configuration of another program that has this in it."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (one,) = [text for text in found if key in text]
    return str(one)


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """The text with each of these, which it has once, replaced."""
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def assert_announces(port: int, accepting: Sidecar, app: ScriptedApp) -> None:
    """Through the load balancer come its clients' addresses, and nothing that is refused."""
    with counted(accepting, None):
        for source in ("127.0.0.5", "127.0.0.6"):
            with TlsClient(port, accepting.trust, source=source) as client:
                assert client.get(f"/from/{source}").status == 200
                assert client.get().status == 200
            assert app.requests[-1].all(b"X-Forwarded-For") == [source.encode()]
            assert accepting.wait_for_line(target=f"/from/{source}")["client"] == source


@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2"])
def test_behind_haproxy(accepting: Sidecar, app: ScriptedApp, tmp_path: Path, option: str) -> None:
    """haproxy announces its clients in either version, and its checks are neither refused nor logged."""
    haproxy, port = program("haproxy", "haproxy"), free_port()
    (tmp_path / "haproxy.cfg").write_text(
        replaced(
            snippet("haproxy", "frontend"),
            ("bind :443", f"bind 127.0.0.1:{port}"),
            ("10.0.0.5:8443", f"127.0.0.1:{accepting.port} source 127.0.0.1"),
            ("check send-proxy-v2", f"check inter 50ms {option}"),
        )
    )
    with running([haproxy, "-db", "-f", str(tmp_path / "haproxy.cfg")], port, tmp_path):
        assert_announces(port, accepting, app)


def test_behind_nginx(accepting: Sidecar, app: ScriptedApp, tmp_path: Path) -> None:
    """nginx's stream module announces its clients."""
    path, port = program("nginx", "nginx"), free_port()
    if not STREAM_MODULE.exists():
        pytest.skip("nginx has no stream module (package libnginx-mod-stream)")
    stream = replaced(
        snippet("nginx", "stream"),
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("10.0.0.5:8443", f"127.0.0.1:{accepting.port}"),
    )
    process = f"load_module {STREAM_MODULE}; daemon off; master_process off; pid {tmp_path}/pid; events {{}}"
    (tmp_path / "nginx.conf").write_text(f"{process} error_log {tmp_path}/errors;\n{stream}")
    with running([path, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")], port, tmp_path):
        assert_announces(port, accepting, app)


# ---------------------------------------------------------------------------- to the app, in tcp mode


@dataclass
class Announcement:
    """A header of version 2, as an app reads it."""

    command: int
    kind: int
    source: tuple[str, int]
    destination: tuple[str, int]
    tlvs: dict[int, bytes]
    tls: dict[int, bytes]
    """The TLVs within that of TLS."""
    rest: bytes
    """What came behind the header."""


def read_announcement(connection: AppConnection, length: int) -> Announcement:
    """Read a header, and `length` bytes behind it."""
    reader = connection.reader
    assert reader.exactly(12) == b"\r\n\r\n\0\r\nQUIT\n"
    command, kind, size = struct.unpack("!BBH", reader.exactly(4))
    block, width = reader.exactly(size), {0x11: 4, 0x21: 16}[kind]
    family = {0x11: socket.AF_INET, 0x21: socket.AF_INET6}[kind]
    addresses = [socket.inet_ntop(family, block[start : start + width]) for start in (0, width)]
    ports = struct.unpack_from("!HH", block, 2 * width)
    tlvs = read_tlvs(block[2 * width + 4 :])
    source, destination = zip(addresses, ports, strict=True)
    return Announcement(command, kind, source, destination, tlvs, read_tlvs(tlvs[0x20][5:]), reader.exactly(length))


def read_tlvs(data: bytes) -> dict[int, bytes]:
    """Each type, which comes once, and its value."""
    tlvs: dict[int, bytes] = {}
    while data:
        kind, size = struct.unpack_from("!BH", data)
        assert kind not in tlvs
        assert len(data) >= 3 + size
        tlvs[kind], data = data[3 : 3 + size], data[3 + size :]
    return tlvs


@pytest.fixture(scope="module")
def sending_sidecar(launch: Launch, session_app: ScriptedApp) -> Iterator[Sidecar]:
    """A sidecar in tcp mode that sends headers to its app."""
    with launch(MODE="tcp", ALPN="h2,http/1.1", PROXY_PROTOCOL="send", APP_PORT=session_app.port) as process:
        yield process


@pytest.fixture(scope="module")
def relaying_sidecar(launch: Launch, session_app: ScriptedApp) -> Iterator[Sidecar]:
    """A sidecar in tcp mode that takes headers and sends them."""
    with launch(APP_PORT=session_app.port, MODE="tcp", PROXY_PROTOCOL="both", TRUSTED_PROXIES="127.0.0.1") as process:
        yield process


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_the_app_is_told(sending_sidecar: Sidecar, app: ScriptedApp, version: ssl.TLSVersion) -> None:
    """Before the client's first byte comes who it is, what it had connected to and what was agreed with it."""
    told: list[Announcement] = []
    app.script(lambda connection: told.append(read_announcement(connection, 5)))
    context = ssl.create_default_context(cadata=sending_sidecar.authority.cert_pem.bytes().decode())
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["http/1.1", "h2"])
    sending_sidecar.forget_lines()
    with sending_sidecar.connect(context) as client:
        client.send(b"hello")
        assert client.read_to_end() == b""
        source, destination = client.socket.getsockname(), client.socket.getpeername()
        cipher = client.tls.cipher()
    (header,) = told
    assert (header.command, header.kind) == (0x21, 0x11)
    assert (header.source, header.destination) == (source, destination)
    assert header.rest == b"hello"
    assert header.tlvs.keys() == {0x01, 0x02, 0x05, 0x20}
    assert (header.tlvs[0x01], header.tlvs[0x02]) == (b"h2", b"localhost")
    assert sending_sidecar.wait_for_line(request_id=header.tlvs[0x05].decode())["client"] == "127.0.0.1"
    assert header.tlvs[0x20][0] == 0x01
    assert header.tlvs[0x20][1:5] != bytes(4)
    assert cipher is not None
    assert header.tls == {0x21: version.name.replace("v1_", "v1.").encode(), 0x23: cipher[0].encode()}


def test_a_header_does_not_wait_for_the_client(sending_sidecar: Sidecar, app: ScriptedApp) -> None:
    """Where the app speaks first it has the header before the client has said anything."""

    def script(connection: AppConnection) -> None:
        read_announcement(connection, 0)
        connection.send(b"220 ready")

    app.script(script)
    with sending_sidecar.connect() as client:
        assert client.read_to_end() == b"220 ready"


@pytest.mark.parametrize(
    ("header", "kind", "source", "destination"),
    [
        (v1(), 0x11, ("192.0.2.7", 56324), ("198.51.100.9", 443)),
        (v2("2001:db8::7", "2001:db8::9"), 0x21, ("2001:db8::7", 56324), ("2001:db8::9", 443)),
        (v2("::ffff:192.0.2.7", "2001:db8::9"), 0x21, ("::ffff:192.0.2.7", 56324), ("2001:db8::9", 443)),
    ],
    ids=["4", "6", "mixed"],
)
def test_what_was_announced_is_passed_on(
    relaying_sidecar: Sidecar, app: ScriptedApp, header: bytes, kind: int, source: object, destination: object
) -> None:
    """The app is told of the client and the destination that the load balancer had named."""
    told: list[Announcement] = []
    app.script(lambda connection: told.append(read_announcement(connection, 5)))
    with announced(relaying_sidecar, header) as client:
        client.send(b"hello")
        assert client.read_to_end() == b""
    assert (told[0].command, told[0].kind) == (0x21, kind)
    assert (told[0].source, told[0].destination) == (source, destination)
    assert 0x01 not in told[0].tlvs


def test_accepting_alone_tells_the_app_nothing(sidecar: Launch, app: ScriptedApp) -> None:
    """The app that is sent no header gets the client's bytes alone, and the request line has the announced client."""
    process = sidecar(MODE="tcp", PROXY_PROTOCOL="accept", TRUSTED_PROXIES="127.0.0.1")
    with announced(process, v1()) as client:
        assert client.get().status == 200
    assert app.connections[0].raw.startswith(b"GET / ")
    assert process.wait_for_line(client="192.0.2.7")


def test_a_stranger_does_not_reach_the_app(relaying_sidecar: Sidecar, app: ScriptedApp) -> None:
    """tcp mode refuses as http mode does."""
    with (
        counted(relaying_sidecar, "proxy_untrusted"),
        RawClient(relaying_sidecar.port, source=STRANGER) as client,
    ):
        client.send(v2())
        assert client.read_to_end() == b""
    assert app.connections == []


def test_in_front_of_nginx(sidecar: Launch, tmp_path: Path) -> None:
    """nginx takes the header, and knows the client by it."""
    port = free_port()
    told = "$remote_addr $proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port"
    expecting = replaced(snippet("nginx", "real_ip_header"), ("127.0.0.1:8080", f"127.0.0.1:{port}"))
    with nginx(f'{expecting} location / {{ return 200 "{told}"; }}', tmp_path):
        process = sidecar(MODE="tcp", PROXY_PROTOCOL="both", TRUSTED_PROXIES="127.0.0.1", APP_PORT=port)
        with announced(process, v2()) as client:
            assert client.get().body == b"192.0.2.7 192.0.2.7 56324 443"


@pytest.fixture(scope="module")
def vouching_sidecar(
    launch: Launch, session_app: ScriptedApp, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sidecar]:
    """A sidecar in tcp mode that sends headers to its app, and verifies clients that show a certificate."""
    bundle = tmp_path_factory.mktemp("clients") / "ca.crt"
    bundle.write_bytes(authority.cert_pem.bytes())
    with launch(
        APP_PORT=session_app.port, MODE="tcp", PROXY_PROTOCOL="send", CLIENT_AUTH="optional", CLIENT_CA=bundle
    ) as process:
        yield process


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_the_app_is_told_of_a_certificate(
    vouching_sidecar: Sidecar, app: ScriptedApp, authority: trustme.CA, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """With the flags that haproxy sets, and the common name; a resumed session has shown it before, and none none."""
    told: list[Announcement] = []

    def script(connection: AppConnection) -> None:
        told.append(read_announcement(connection, 5))
        connection.send(b"hello")

    app.script(script)
    context = showing(authority, issue_client(authority, tmp_path, "reports"), version)
    session = None
    for attempt in (context, context, showing(authority)):
        with vouching_sidecar.connect(attempt, session=session if attempt is context else None) as client:
            client.send(b"hello")
            assert client.read_to_end() == b"hello"
            session = client.tls.session
    flags = [header.tlvs[0x20][:5] for header in told]
    assert flags == [b"\x07\0\0\0\0", b"\x05\0\0\0\0", b"\x01\0\0\0\1"]
    assert [header.tls.get(0x22) for header in told] == [b"reports", b"reports", None]
