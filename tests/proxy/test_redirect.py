"""The plain-HTTP port: everything is sent to its HTTPS address, and nothing else happens."""

import asyncio
from collections.abc import Coroutine

import pytest

from tests.proxy.loopback import proxied
from tlsproxy.proxy.journal import Journal
from tlsproxy.proxy.redirect import RedirectService
from tlsproxy.proxy.tally import Tally


def run(scene: Coroutine[None, None, None]) -> None:
    asyncio.run(scene)


LOCATIONS = [
    # external port, Host, target, where to
    (443, b"shop", b"/a?b=c&d=%2f", b"https://shop/a?b=c&d=%2f"),
    (443, b"shop:8081", b"/", b"https://shop/"),
    (443, b"shop:", b"/", b"https://shop/"),
    (8443, b"shop", b"/", b"https://shop:8443/"),
    (8443, b"shop:8081", b"/", b"https://shop:8443/"),
    (443, b"[::1]", b"/", b"https://[::1]/"),
    (8443, b"[::1]:8081", b"/", b"https://[::1]:8443/"),
    (443, b"shop", b"*", b"https://shop/"),
    (443, b"shop", b"//other/", b"https://shop//other/"),
]


@pytest.mark.parametrize(("port", "host", "target", "location"), LOCATIONS)
def test_locations(port: int, host: bytes, target: bytes, location: bytes) -> None:
    """The host that was asked for, the port that clients reach, and the target as it came."""
    assert RedirectService(port, Journal(Tally())).location(host, target) == location


@pytest.mark.parametrize(
    ("method", "status"),
    [(b"GET", 301), (b"HEAD", 301), (b"POST", 308), (b"PUT", 308), (b"DELETE", 308), (b"OPTIONS", 308)],
)
def test_answers(method: bytes, status: int) -> None:
    """GET and HEAD get 301, every other method 308, which keeps it; the connection goes on."""

    async def scene() -> None:
        async with proxied(answering=lambda journal: RedirectService(443, journal)) as scene:
            client = await scene.client()
            for _ in range(2):
                client.send(method, b" /x HTTP/1.1\r\nHost: shop\r\nUser-Agent: a\r\n\r\n")
                head = await client.head()
                assert head.startswith(b"HTTP/1.1 %d " % status)
                assert b"Location: https://shop/x\r\n" in head
                assert b"Content-Length: 0\r\n" in head
            assert scene.lines.told == [(status, "")] * 2
            assert scene.lines.ended[0][0].agent == b"a"

    run(scene())


def test_a_body_is_not_waited_for() -> None:
    """The answer comes with the head; what still comes of the body is thrown away."""

    async def scene() -> None:
        async with proxied(answering=lambda journal: RedirectService(443, journal)) as scene:
            client = await scene.client()
            client.send(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000\r\n\r\nabc")
            assert b"Connection: close" in await client.head()
            client.send(b"x" * 500)
            assert await client.rest() == b""
            assert scene.lines.told == [(308, "")]

    run(scene())


def test_a_whole_body_is_no_hindrance() -> None:
    """A request that came whole leaves its connection open."""

    async def scene() -> None:
        async with proxied(answering=lambda journal: RedirectService(443, journal)) as scene:
            client = await scene.client()
            for _ in range(2):
                client.send(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 3\r\n\r\nabc")
                assert (await client.head()).startswith(b"HTTP/1.1 308 ")
            assert [record.received for record, _ in scene.lines.ended] == [3, 3]

    run(scene())


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: shop\r\nX: \0\r\n\r\n", 400),
        (b"CONNECT shop:443 HTTP/1.1\r\nHost: shop\r\n\r\n", 405),
        (b"garbage\r\n\r\n", 400),
    ],
)
def test_refusals(request_bytes: bytes, status: int) -> None:
    """Without a host there is nowhere to send to; what is no request is none here either."""

    async def scene() -> None:
        async with proxied(answering=lambda journal: RedirectService(443, journal)) as scene:
            client = await scene.client()
            client.send(request_bytes)
            assert (await client.rest()).startswith(b"HTTP/1.1 %d " % status)
            assert scene.lines.told == [(status, "bad_request")]

    run(scene())
