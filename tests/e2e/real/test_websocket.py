"""WebSocket to an ASGI app under uvicorn: each conversation goes as it does with the app directly."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
import urllib3
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as connect_sync
from websockets.typing import Subprotocol

from tests.e2e.polling import wait_until
from tests.e2e.real.comparison import Fronted, comparable

MEGABYTE = b"0123456789abcdef" * 65536
TIMEOUT = 10.0

Said = list[object]
Converse = Callable[[str, ssl.SSLContext | None], Awaitable[Said]]


async def echo(url: str, trust: ssl.SSLContext | None) -> Said:
    """Text, bytes, nothing at all."""
    async with connect_async(url, ssl=trust) as socket:
        said: Said = []
        for message in ("grüße", b"\x00\xff", "", b"", "x" * 126, b"x" * 65536):
            await socket.send(message)
            said.append(await socket.recv())
        return said


async def large_messages(url: str, trust: ssl.SSLContext | None) -> Said:
    """A megabyte in one frame, and one in many."""
    async with connect_async(url, ssl=trust, max_size=None, compression=None) as socket:
        await socket.send(MEGABYTE)
        whole = await socket.recv()
        await socket.send(MEGABYTE[start : start + 4096] for start in range(0, len(MEGABYTE), 4096))
        return [whole == MEGABYTE, await socket.recv() == MEGABYTE]


async def pings(url: str, trust: ssl.SSLContext | None) -> Said:
    """Pings of the client's are answered with their content, between messages."""
    async with connect_async(url, ssl=trust, ping_interval=None) as socket:
        answers = [await socket.ping(content) for content in (b"", b"x" * 125)]
        await socket.send("between")
        said: Said = [await socket.recv()]
        for answer in answers:
            async with asyncio.timeout(TIMEOUT):
                await answer
        return said


async def negotiation(url: str, trust: ssl.SSLContext | None) -> Said:
    """The subprotocol that the app chooses, the extension that the server does, and the handshake's other fields."""
    offered = [Subprotocol("chat"), Subprotocol("superchat")]
    async with connect_async(url, ssl=trust, subprotocols=offered) as socket:
        response = socket.response
        assert response is not None
        fields = comparable((name, value) for name, value in response.headers.raw_items())
        told = [(name, value) for name, value in fields if name.lower() != "sec-websocket-accept"]
        await socket.send("compressed " * 1000)
        extensions = [type(extension).__name__ for extension in socket.protocol.extensions]
        return [socket.subprotocol, extensions, response.status_code, sorted(told), await socket.recv()]


async def ended_by_the_app(url: str, trust: ssl.SSLContext | None) -> Said:
    """The app's code and reason."""
    async with connect_async(url + "/close?code=4001&reason=enough", ssl=trust) as socket:
        await socket.wait_closed()
        return [socket.close_code, socket.close_reason]


async def refused(url: str, trust: ssl.SSLContext | None) -> Said:
    """The app's own response in place of a WebSocket."""
    with pytest.raises(InvalidStatus) as caught:
        await connect_async(url + "/refuse", ssl=trust)
    response = caught.value.response
    return [response.status_code, response.headers["Content-Type"], response.body]


async def many_messages(url: str, trust: ssl.SSLContext | None) -> Said:
    """A burst of the app's and one of the client's, both in order."""
    count = 2000
    async with connect_async(f"{url}/burst?count={count}&size=1", ssl=trust) as socket:
        sending = asyncio.create_task(send_all(socket, [f"of the client {number}" for number in range(count)]))
        said: Said = [await socket.recv() for _ in range(2 * count)]
        await sending
        return said


async def send_all(socket: ClientConnection, messages: list[str]) -> None:
    for message in messages:
        await socket.send(message)


async def many_sockets(url: str, trust: ssl.SSLContext | None) -> Said:
    """Each of many sockets gets its own answers."""

    async def one(number: int) -> Said:
        async with connect_async(url, ssl=trust) as socket:
            await socket.send(str(number))
            return [await socket.recv()]

    return list(await asyncio.gather(*map(one, range(30))))


def by_sync_client(url: str, trust: ssl.SSLContext | None) -> Said:
    """The client without asyncio, whose reads and writes are its threads'."""
    with connect_sync(url, ssl=trust) as socket:
        socket.send("text")
        said: Said = [socket.recv()]
        socket.send(MEGABYTE[:500_000])
        assert socket.ping().wait(TIMEOUT)
        return [*said, socket.recv() == MEGABYTE[:500_000]]


async def by_aiohttp(url: str, trust: ssl.SSLContext | None) -> Said:
    """aiohttp's client: text, bytes, its own close."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, ssl=trust or False, protocols=("chat",), compress=15) as socket,
    ):
        await socket.send_str("text")
        text = await socket.receive_str()
        await socket.send_bytes(MEGABYTE)
        return [text, await socket.receive_bytes() == MEGABYTE, socket.protocol, socket.compress]


CONVERSATIONS: tuple[Converse, ...] = (
    echo,
    large_messages,
    pings,
    negotiation,
    ended_by_the_app,
    refused,
    many_messages,
    many_sockets,
    by_aiohttp,
    lambda url, trust: asyncio.to_thread(by_sync_client, url, trust),
)


@pytest.mark.parametrize("converse", CONVERSATIONS)
def test_conversation(asgi: Fronted, converse: Converse) -> None:
    """The client hears through the sidecar what it hears directly."""
    direct, through = (url.replace("http", "ws", 1) for url in asgi.urls)

    async def both() -> None:
        async with asyncio.timeout(TIMEOUT):
            assert await converse(through, asgi.trust) == await converse(direct, None)

    asyncio.run(both())


async def close(socket: ClientConnection) -> None:
    """An end with a code and a reason."""
    await socket.close(4002, "bye")


async def leave(socket: ClientConnection) -> None:
    """An end without a word."""
    socket.transport.abort()


@pytest.mark.parametrize("end", [close, leave])
def test_the_app_sees_the_end(asgi: Fronted, end: Callable[[ClientConnection], Awaitable[None]]) -> None:
    """How the client ended comes to the app: its code and reason, or that it said none."""

    async def converse(url: str, trust: ssl.SSLContext | None) -> None:
        async with connect_async(url, ssl=trust) as socket:
            await socket.send("hello")
            await socket.recv()
            await end(socket)

    def told() -> dict[str, object]:
        closes: dict[str, object] = urllib3.request("GET", asgi.urls[0] + "/told").json()["closes"]
        return closes if {f"direct-{end.__name__}", f"through-{end.__name__}"} <= closes.keys() else {}

    for name, trust, url in zip(("direct", "through"), (None, asgi.trust), asgi.urls, strict=True):
        asyncio.run(converse(f"{url.replace('http', 'ws', 1)}/?name={name}-{end.__name__}", trust))
    closes = wait_until(told, "the app has seen both ends")
    assert closes[f"through-{end.__name__}"] == closes[f"direct-{end.__name__}"]
