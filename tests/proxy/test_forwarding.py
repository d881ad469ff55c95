"""Who asks, as the app is told: chains of trusted proxies, Forwarded's syntax, and a memory with bounds."""

import re
from dataclasses import dataclass
from ipaddress import ip_network

import pytest

from tlsproxy.proxy.forwarding import Forwarding, Peer, Said
from tlsproxy.proxy.refusals import ClientDenied

TRUSTED = [ip_network(text) for text in ("10.0.0.0/8", "fd00::/8")]


def told(block: bytes) -> dict[str, str]:
    """The fields of a block of lines, each of which must come once."""
    assert block.endswith(b"\r\n")
    pairs = [line.partition(": ")[::2] for line in block[:-2].decode("latin-1").split("\r\n")]
    fields = dict(pairs)
    assert len(fields) == len(pairs)
    return fields


def from_chain(chain: bytes, peer: str = "10.0.0.1") -> tuple[dict[str, str], str]:
    """What is told of a request whose trusted peer sent this X-Forwarded-For, and the client's address."""
    block, client = Forwarding(trusted=TRUSTED).peer(peer).extended(b"shop", Said(forwarded_for=chain))
    return told(block), client


PEERS = [
    # address, host, X-Forwarded-Port, Forwarded
    ("192.0.2.1", b"shop", "443", "for=192.0.2.1;host=shop;proto=https"),
    ("192.0.2.1", b"shop:8443", "8443", 'for=192.0.2.1;host="shop:8443";proto=https'),
    ("192.0.2.1", b"shop:", "443", 'for=192.0.2.1;host="shop:";proto=https'),
    ("2001:db8::1", b"[::1]", "443", 'for="[2001:db8::1]";host="[::1]";proto=https'),
    ("2001:db8::1", b"[::1]:8443", "8443", 'for="[2001:db8::1]";host="[::1]:8443";proto=https'),
    ("192.0.2.1", b"a;b=c", "443", 'for=192.0.2.1;host="a;b=c";proto=https'),
    ("192.0.2.1", b"", "443", "for=192.0.2.1;proto=https"),
    ("", b"shop", "443", "for=unknown;host=shop;proto=https"),
]


@pytest.mark.parametrize(("address", "host", "port", "forwarded"), PEERS)
def test_what_is_told_of_a_peer(address: str, host: bytes, port: str, forwarded: str) -> None:
    """Address, host, port and scheme, each in every field that carries it; quoted where RFC 7239 asks for it."""
    expected = {
        "X-Forwarded-For": address or "unknown",
        "X-Real-IP": address or "unknown",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Port": port,
        "Forwarded": forwarded,
    }
    if host:
        expected["X-Forwarded-Host"] = host.decode()
    assert told(Forwarding().peer(address).fields(host)) == expected


def test_the_external_port_is_told() -> None:
    """Where the Host names no port it is the one that clients reach."""
    peer = Forwarding(external_port=9443).peer("192.0.2.1")
    assert told(peer.fields(b"shop"))["X-Forwarded-Port"] == "9443"
    assert told(peer.fields(b"shop:1"))["X-Forwarded-Port"] == "1"


TRUST = [
    ("10.0.0.1", True),
    ("10.255.255.255", True),
    ("11.0.0.1", False),
    ("fd00::1", True),
    ("fe80::1", False),
    ("::ffff:10.0.0.1", True),
    ("::ffff:11.0.0.1", False),
    ("", False),
    ("unknown", False),
]


@pytest.mark.parametrize(("address", "trusted"), TRUST)
def test_trust(address: str, trusted: bool) -> None:
    """A peer in one of the networks is believed, mapped IPv4 too; what is no address never is."""
    assert Forwarding(trusted=TRUSTED).peer(address).trusted is trusted
    assert not Forwarding().peer(address).trusted


CHAINS = [
    # X-Forwarded-For of a trusted peer, the client's address
    (b"", "10.0.0.1"),
    (b"203.0.113.7", "203.0.113.7"),
    (b"203.0.113.7:1234", "203.0.113.7"),
    (b"203.0.113.7, 10.0.0.2", "203.0.113.7"),
    (b"198.51.100.1, 203.0.113.7,10.0.0.2 , 10.0.0.3", "203.0.113.7"),
    (b"10.0.0.9, 10.0.0.2", "10.0.0.9"),
    (b"2001:db8::7", "2001:db8::7"),
    (b"2001:DB8:0::7", "2001:db8::7"),
    (b"[2001:db8::7]", "2001:db8::7"),
    (b"[2001:db8::7]:1234, fd00::2", "2001:db8::7"),
    (b"203.0.113.7, garbage", "10.0.0.1"),
    (b"203.0.113.7, garbage, 10.0.0.2", "10.0.0.2"),
    (b"garbage", "10.0.0.1"),
    (b"203.0.113.7,", "10.0.0.1"),
    (b"203.0.113.7, 10.0.0.999", "10.0.0.1"),
    (b"[203.0.113.7", "203.0.113.7"),
    (b"unknown, 10.0.0.2", "10.0.0.2"),
    (b"_hidden", "10.0.0.1"),
    (b"\xff\xfe", "10.0.0.1"),
]


@pytest.mark.parametrize(("chain", "client"), CHAINS)
def test_the_client_is_the_rightmost_stranger(chain: bytes, client: str) -> None:
    """The chain is believed from its right end for as long as it names trusted proxies, and never beyond garbage."""
    fields, address = from_chain(chain)
    assert address == fields["X-Real-IP"] == client
    assert fields["X-Forwarded-For"] == (chain.decode("latin-1") + ", 10.0.0.1" if chain else "10.0.0.1")
    assert fields["Forwarded"] == "for=10.0.0.1;host=shop;proto=https"


@pytest.mark.parametrize(
    "entry", [b'fe80::1%"', b"fe80::1%\\", b"fe80::1% x", b"fe80::1%\xe9", b'[fe80::1%"]:80', b"fe80::1%a;b=c"]
)
def test_an_address_holds_nothing_but_an_address(entry: bytes) -> None:
    """An IPv6 zone, in which anything can be written, is never taken for an address: it would get into the log."""
    _, client = from_chain(b"%b, 10.0.0.2" % entry)
    assert re.fullmatch(r"[0-9a-f.:]+(%[A-Za-z0-9_.-]+)?", client)


SAID = [
    # what a trusted proxy says, the field that is told, its value
    (Said(proto=b"http"), "X-Forwarded-Proto", "http"),
    (Said(host=b"outside:8443"), "X-Forwarded-Host", "outside:8443"),
    (Said(port=b"8443"), "X-Forwarded-Port", "8443"),
    (Said(), "X-Forwarded-Proto", "https"),
    (Said(), "X-Forwarded-Host", "shop"),
    (Said(), "X-Forwarded-Port", "443"),
    (Said(forwarded=b"for=a"), "Forwarded", "for=a, for=10.0.0.1;host=shop;proto=https"),
]


@pytest.mark.parametrize(("said", "name", "value"), SAID)
def test_what_a_trusted_proxy_says_is_kept(said: Said, name: str, value: str) -> None:
    """Scheme, host and port are what the outermost trusted proxy saw; Forwarded is extended."""
    block, _ = Forwarding(trusted=TRUSTED).peer("10.0.0.1").extended(b"shop", said)
    assert told(block)[name] == value


def test_peers_are_remembered() -> None:
    """A peer is made once for each address, and its block once for each host."""
    forwarding = Forwarding()
    peer = forwarding.peer("192.0.2.1")
    assert forwarding.peer("192.0.2.1") is peer
    assert peer.fields(b"shop") is peer.fields(b"shop")


def test_the_memory_of_peers_is_bounded() -> None:
    """Clients come from any number of addresses, and are still told apart."""
    forwarding = Forwarding()
    for n in range(2 * Forwarding.BOUND):
        address = f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
        assert forwarding.peer(address).address == address
    assert len(forwarding._peers) <= Forwarding.BOUND


@pytest.mark.parametrize("certified", [False, True])
def test_the_memory_of_hosts_is_bounded(certified: bool) -> None:
    """A client names any number of hosts, and each block is its own; those with a certificate are large, and few."""
    peer = Forwarding().peer("192.0.2.1", Shown() if certified else None)
    for n in range(2 * Peer.BOUND):
        assert told(peer.fields(b"h%d" % n))["X-Forwarded-Host"] == f"h{n}"
    assert len(peer._blocks) <= (Peer.CERTIFIED_BOUND if certified else Peer.BOUND)


def test_what_a_proxy_says_is_not_remembered() -> None:
    """What was said of one client is never told of the next."""
    peer = Forwarding(trusted=TRUSTED).peer("10.0.0.1")
    peer.extended(b"shop", Said(forwarded_for=b"203.0.113.7", proto=b"http"))
    block, client = peer.extended(b"shop", Said())
    assert (told(block)["X-Forwarded-For"], told(block)["X-Forwarded-Proto"]) == ("10.0.0.1", "https")
    assert client == "10.0.0.1"


@dataclass(frozen=True, eq=False)
class Shown:
    """A certificate that a client has shown."""

    subject: str = "CN=reports"
    fields: bytes = b"Client-Cert: :AA==:\r\n"
    denied: bool = False


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1"])
def test_a_callers_certificate_is_told(address: str) -> None:
    """The fields of a certificate stand behind the peer's own, a trusted proxy's too; nobody else's do."""
    forwarding = Forwarding(trusted=TRUSTED)
    peer = forwarding.peer(address, Shown())
    assert told(peer.fields(b"shop"))["Client-Cert"] == ":AA==:"
    assert told(peer.extended(b"shop", Said())[0])["Client-Cert"] == ":AA==:"
    assert "Client-Cert" not in told(forwarding.peer(address).fields(b"shop"))


def test_peers_of_one_address_are_told_apart_by_their_certificates() -> None:
    """Who shares an address shares nothing else."""
    forwarding, one, other = Forwarding(), Shown(), Shown(fields=b"Client-Cert: :BB==:\r\n")
    peers = [forwarding.peer("192.0.2.1", caller) for caller in (one, other, None)]
    assert [told(peer.fields(b"shop")).get("Client-Cert") for peer in peers] == [":AA==:", ":BB==:", None]
    assert forwarding.peer("192.0.2.1", one) is peers[0]


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1"])
def test_nothing_is_told_of_who_is_denied(address: str) -> None:
    """A caller that no rule lets in has no request that the app would hear of, whatever its Host."""
    peer = Forwarding(trusted=TRUSTED).peer(address, Shown(denied=True))
    for host in (b"shop", b"", b"shop"):
        with pytest.raises(ClientDenied):
            peer.fields(host)
        with pytest.raises(ClientDenied):
            peer.extended(host, Said())
