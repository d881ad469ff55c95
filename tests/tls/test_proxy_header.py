"""The PROXY header before TLS, on loopback: whom it is taken from, where it may be cut, how its absence ends."""

import asyncio
import logging
import socket
import ssl
import struct
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Literal

import pytest
import uvloop

from tests.tls.loopback import HANDSHAKE_TIMEOUT, PLAIN, Client, Scene, serving, staged, trustful, turns
from tests.tls.material import Request, until
from tests.tls.test_clients import BELOW, MIDDLE, listener, showing
from tlsproxy.client_rules import Identity
from tlsproxy.proxy_protocol import Tls, write_header
from tlsproxy.tls.clients import Caller, Clients
from tlsproxy.tls.proxy_header import Gate, HeaderReader, announce, common_name

V1 = b"PROXY TCP4 192.0.2.7 198.51.100.9 56324 443\r\n"
V2 = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x09\xdc\x04\x01\xbb"
LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
FROM, TO = ("192.0.2.7", 56324), ("198.51.100.9", 443)
USE, TRUST = "TLSPROXY_PROXY_PROTOCOL", "TLSPROXY_TRUSTED_PROXIES"


class GuardedScene(Scene):
    """A port on which each connection begins with a header."""

    def __init__(self, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        super().__init__(loop_factory)
        self.trusted = True
        self.asked: list[str] = []
        """The addresses whose trust was asked for."""
        self.readers: list[HeaderReader] = []
        self._gate = Gate(self.acceptor, self._trusts)

    def _trusts(self, address: str) -> bool:
        self.asked.append(address)
        return self.trusted

    def _make_connection(self) -> asyncio.Protocol:
        self.readers.append(self._gate.connection(self._make_upper))
        return self.readers[-1]

    async def knock(self, tls: ssl.SSLContext | None = None) -> tuple[Client, HeaderReader]:
        """A client that has said nothing yet, and the other end."""
        known = len(self.asked)
        self.clients.append(Client(await asyncio.open_connection("127.0.0.1", self.port), tls or trustful()))
        await until(lambda: len(self.asked) > known)
        return self.clients[-1], self.readers[-1]

    async def finish(self, client: Client) -> Callable[[str], object]:
        """The handshake, once the header is on its way; what the protocol above can ask then."""
        known = len(self.uppers)
        client.write(await client.shake())
        await until(lambda: len(self.uppers) > known)
        return self.uppers[-1].transport.get_extra_info

    @property
    def denied(self) -> dict[str, int]:
        return dict(self.acceptor.denied)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def scene(request: pytest.FixtureRequest) -> GuardedScene:
    return GuardedScene(request.param)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the operator was told."""
    caplog.set_level(logging.WARNING, "tlsproxy.clients")
    return lambda: caplog.messages


# ---------------------------------------------------------------------------- a header


@pytest.mark.parametrize("header", [V1, V2], ids=["1", "2"])
@staged
async def test_announced_addresses_are_the_connections(scene: GuardedScene, header: bytes) -> None:
    """Above TLS the client is the one that the header names, and so is what it had connected to."""
    client, _ = await scene.knock()
    client.write(header)
    ask = await scene.finish(client)
    assert (ask("peername"), ask("sockname")) == (FROM, TO)
    assert ask("cipher") == client.tls.cipher()
    assert ask("socket") is not None
    assert scene.denied == {}
    assert scene.asked == ["127.0.0.1"]


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", LOCAL], ids=["1", "2"])
@staged
async def test_a_header_may_name_nobody(scene: GuardedScene, header: bytes) -> None:
    """Behind a header without addresses the connection's own ends count."""
    client, _ = await scene.knock()
    client.write(header)
    ask = await scene.finish(client)
    assert ask("peername") == client.writer.get_extra_info("sockname")
    assert ask("sockname") == client.writer.get_extra_info("peername")


@pytest.mark.parametrize("header", [V1, V2], ids=["1", "2"])
@staged
async def test_header_and_hello_may_be_cut_anywhere(scene: GuardedScene, header: bytes) -> None:
    """Wherever TCP cuts the header and the ClientHello behind it, and where it doesn't, TLS begins."""
    for cut in count():
        client, _ = await scene.knock()
        said = header + client.hello()
        for piece in (said[:cut], said[cut:]):
            client.write(piece)
            await turns()
        ask = await scene.finish(client)
        assert ask("peername") == FROM, cut
        if cut == len(header) + 6:
            break
    assert scene.denied == scene.acceptor.failures == {}


@staged
async def test_plain_http_behind_a_header(scene: GuardedScene) -> None:
    """What comes behind the header is read as without one: plain HTTP is told to use HTTPS."""
    client, _ = await scene.knock()
    client.write(V1 + b"GET / HTTP/1.1\r\n\r\n")
    assert await client.rest(client.raw) == PLAIN
    assert scene.acceptor.failures == {"plain_http": 1}
    assert scene.denied == {}


@staged
async def test_the_context_is_that_behind_the_header(scene: GuardedScene) -> None:
    """A connection takes the context that there is when its TLS begins."""
    other = Request().issue()
    client, reader = await scene.knock(trustful(issued=other))
    client.write(V2[:-1])
    await until(lambda: "27 bytes" in repr(reader))
    scene.context = serving(other)
    client.write(V2[-1:])
    await scene.finish(client)
    assert scene.acceptor.failures == {}


# ---------------------------------------------------------------------------- no header


@staged
async def test_a_stranger_is_not_heard(scene: GuardedScene, warnings: Callable[[], list[str]]) -> None:
    """Who is no trusted proxy is hung up on at once, whatever it says, and the operator is told where to add it."""
    scene.trusted = False
    client, reader = await scene.knock()
    client.write(V2 + client.hello())
    assert await client.rest(client.raw) == b""
    assert scene.denied == {"proxy_untrusted": 1}
    assert "0 bytes" in repr(reader)
    (warning,) = warnings()
    assert warning.startswith("proxy_untrusted: 127.0.0.1 ")
    assert TRUST in warning
    assert USE not in warning


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", "proxy_missing"),
        (b"GET / HTTP/1.1\r\n\r\n", "proxy_missing"),
        (b"PROXY TCP4 192.0.2.7 198.51.100.9 1 65536\r\n", "proxy_invalid"),
        (V2.replace(b"\x21\x11", b"\x21\x12"), "proxy_invalid"),
    ],
    ids=["hello", "http", "line", "block"],
)
@staged
async def test_what_is_no_header_ends_the_connection(
    scene: GuardedScene, warnings: Callable[[], list[str]], said: bytes, reason: str
) -> None:
    """A trusted proxy that begins otherwise is closed without an answer, counted, and told of with the variable."""
    client, _ = await scene.knock()
    client.write(said)
    assert await client.rest(client.raw) == b""
    assert scene.denied == {reason: 1}
    assert scene.acceptor.timed == set()
    (warning,) = warnings()
    assert warning.startswith(f"{reason}: 127.0.0.1 sent no valid PROXY protocol header: it")
    assert warning.endswith(f"; the variable for it is {USE}")
    assert scene.acceptor.failures == {}


@pytest.mark.parametrize("leave", [Client.reset, lambda client: client.writer.close()], ids=["reset", "fin"])
@staged
async def test_leaving_counts_only_after_a_word(
    scene: GuardedScene, warnings: Callable[[], list[str]], leave: Callable[[Client], None]
) -> None:
    """A header that breaks off is counted; a peer that only looked whether the port is open is not."""
    for said, denied in ((b"", {}), (V1[:-1], {"proxy_invalid": 1})):
        client, reader = await scene.knock()
        client.write(said)
        await until(lambda: f" {len(said)} bytes" in repr(reader))  # noqa: B023 - awaited here
        leave(client)
        await until(lambda: not scene.acceptor.timed)
        assert scene.denied == denied
        assert len(warnings()) == len(denied)


@staged
async def test_who_has_left_before_is_not_counted(scene: GuardedScene, warnings: Callable[[], list[str]]) -> None:
    """A check that resets its connection before anyone has looked at it is passed over."""
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", scene.port)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await until(lambda: len(scene.readers) == 5)
    await until(lambda: not scene.acceptor.timed)
    assert scene.denied == {}
    assert warnings() == []


# ---------------------------------------------------------------------------- deadlines


@pytest.mark.parametrize("said", [b"", V1[:-1], V2[:-1]], ids=["nothing", "1", "2"])
@staged
async def test_a_header_has_a_deadline(scene: GuardedScene, warnings: Callable[[], list[str]], said: bytes) -> None:
    """A header that isn't whole in time is cut off; until then its connection counts among the handshakes."""
    client, reader = await scene.knock()
    client.write(said)
    await until(lambda: f" {len(said)} bytes" in repr(reader))
    assert scene.acceptor.shaking == 1
    scene.later(HANDSHAKE_TIMEOUT - 1)
    assert scene.denied == {}
    scene.later(HANDSHAKE_TIMEOUT + 1)
    assert await client.rest(client.raw) == b""
    assert scene.acceptor.shaking == 0
    assert scene.denied == {"proxy_timeout": 1}
    assert [warning.partition(":")[0] for warning in warnings()] == ["proxy_timeout"]


@staged
async def test_header_and_handshake_share_one_deadline(scene: GuardedScene) -> None:
    """The time that the header took is not given to the handshake again."""
    client, reader = await scene.knock()
    reader.deadline -= 5
    client.write(V2)
    await until(lambda: reader not in scene.acceptor.timed)
    assert scene.acceptor.shaking == 1
    scene.later(HANDSHAKE_TIMEOUT - 6)
    assert scene.acceptor.failures == {}
    scene.later(HANDSHAKE_TIMEOUT - 4)
    assert await client.rest(client.raw) == b""
    assert scene.acceptor.failures == {"timeout": 1}
    assert scene.denied == {}


# ---------------------------------------------------------------------------- what is told about it


@staged
async def test_a_storm_is_one_line(scene: GuardedScene, warnings: Callable[[], list[str]]) -> None:
    """Each connection that is turned away is counted; of one reason there is a line at once, and then silence."""
    for _ in range(5):
        client, _ = await scene.knock()
        client.write(b"?")
        assert await client.rest(client.raw) == b""
    assert scene.denied == {"proxy_missing": 5}
    assert len(warnings()) == 1
    *_, denied = scene.acceptor.measures()
    assert (denied.name, denied.kind, denied.labels) == ("tlsproxy_clients_denied_total", "counter", ("reason",))
    assert {reason: count for reason, count in denied.samples.items() if count} == {("proxy_missing",): 5}


# ---------------------------------------------------------------------------- a header of our own


@staged
async def test_what_is_known_is_announced(scene: GuardedScene) -> None:
    """The header for the app has the addresses that count, and what was agreed with the client."""
    scene.context.set_alpn_protocols(["h2"])
    tls = trustful()
    tls.set_alpn_protocols(["h2"])
    client, _ = await scene.knock(tls)
    client.write(V1)
    await scene.finish(client)
    cipher = client.tls.cipher()
    assert cipher is not None
    agreed = Tls("TLSv1.3", cipher[0], "h2", "localhost")
    assert announce(scene.uppers[-1].transport, b"f00-1") == write_header(FROM, TO, agreed, b"f00-1")


@staged
async def test_what_was_not_agreed_is_not_announced(scene: GuardedScene) -> None:
    """Without ALPN there is no protocol."""
    client, _ = await scene.knock()
    client.write(V1)
    await scene.finish(client)
    cipher = client.tls.cipher()
    assert cipher is not None
    agreed = Tls("TLSv1.3", cipher[0], server_name="localhost")
    assert announce(scene.uppers[-1].transport, b"f00-1") == write_header(FROM, TO, agreed, b"f00-1")


@pytest.mark.parametrize(("resume", "told"), [(False, "shown"), (True, "resumed")])
@staged
async def test_a_certificate_is_announced(
    scene: GuardedScene, tmp_path: Path, resume: bool, told: Literal["shown", "resumed"]
) -> None:
    """That the client has shown one, on this connection or on that which began its session, and its common name."""
    scene.context, tls = listener(), showing(BELOW, tmp_path, MIDDLE)
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    scene.acceptor.clients = Clients("required")
    client, _ = await scene.knock(tls)
    client.write(V1)
    await scene.finish(client)
    if resume:
        session = client.tls.session
        client, _ = await scene.knock(tls)
        client.tls.session = session
        client.write(V1)
        await scene.finish(client)
    cipher = client.tls.cipher()
    assert cipher is not None
    agreed = Tls("TLSv1.2", cipher[0], server_name="localhost", certificate=told, common_name="reports")
    assert announce(scene.uppers[-1].transport, b"f00-1") == write_header(FROM, TO, agreed, b"f00-1")


@pytest.mark.parametrize(("names", "told"), [((), ""), (("reports",), "reports"), (("reports", "admin"), "")])
def test_of_several_common_names_none_is_announced(names: tuple[str, ...], told: str) -> None:
    """Nobody says which one counts."""
    assert common_name(Caller(Identity("", names), b"", denied=False)) == told
