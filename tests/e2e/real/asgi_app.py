"""The ASGI app of these tests: what arrived, told back; streams that are felt step by step; WebSocket.

It keeps what a client can't see: streams whose client left, and how WebSockets ended. /told gives those.
"""

import asyncio
import gzip
import hashlib
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import cast
from urllib.parse import parse_qs

Scope = MutableMapping[str, object]
Message = MutableMapping[str, object]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Answer = tuple[int, dict[str, str], bytes]
"""Status, fields and body."""

TEXT = b"The quick brown fox jumps over the lazy dog. " * 2000

ANSWERS: dict[str, Answer] = {
    "/text": (200, {"content-type": "text/plain", "etag": '"fox"'}, TEXT),
    "/gzip": (200, {"content-type": "text/plain", "content-encoding": "gzip"}, gzip.compress(TEXT, mtime=0)),
    "/redirect": (302, {"location": "/text", "set-cookie": "seen=1; Path=/"}, b""),
    "/empty": (204, {}, b""),
    "/refuse": (422, {"content-type": "text/plain"}, b"no"),
}

left: list[str] = []
"""Names of the streams whose client left."""
closes: dict[str, list[object]] = {}
"""Code and reason of each WebSocket that its client ended, by its name."""
refused: set[str] = set()
"""Names that /flaky has refused once."""
steps: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(0))
"""By a stream's name: released by each POST to /step; /events takes one for each event but the first."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application."""
    path = cast("str", scope["path"])
    query = {name: values[0] for name, values in parse_qs(cast("bytes", scope["query_string"]).decode()).items()}
    if scope["type"] == "websocket":
        await websocket(path, query, scope, receive, send)
    elif path == "/events":
        await events(query["name"], receive, send)
    else:
        length, digest = await digested(receive, float(query.get("pause", 0)))
        if path == "/step":
            steps[query["name"]].release()
        await respond(send, *answer(path, query, cast("str", scope["method"]), length, digest))


def answer(path: str, query: dict[str, str], method: str, length: int, digest: str) -> Answer:
    """What the table has for the path, and otherwise what came."""
    if path == "/flaky" and query["name"] not in refused:
        refused.add(query["name"])
        return 503, {"retry-after": "0"}, b"again"
    if path in ANSWERS:
        return ANSWERS[path]
    told = {"left": left, "closes": closes} if path == "/told" else [method, length, digest]
    return 200, {"content-type": "application/json"}, json.dumps(told).encode()


async def digested(receive: Receive, pause: float) -> tuple[int, str]:
    """The length and the digest of the request body, of which a piece is taken every `pause` seconds."""
    length, digest = 0, hashlib.sha256()
    while (message := await receive())["type"] == "http.request":
        piece = cast("bytes", message["body"])
        length += len(piece)
        digest.update(piece)
        await asyncio.sleep(pause)
        if not message["more_body"]:
            break
    return length, digest.hexdigest()


async def respond(send: Send, status: int, fields: dict[str, str], body: bytes) -> None:
    """One response."""
    headers = [(name.encode(), value.encode()) for name, value in fields.items()]
    if status != 204:
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def events(name: str, receive: Receive, send: Send) -> None:
    """Server-sent events without end: each but the first when somebody has posted to /step."""
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    assert (await receive())["type"] == "http.request"
    gone = asyncio.create_task(disconnected(receive))
    number = 0
    while not gone.done():
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        turn = asyncio.create_task(steps[name].acquire())
        await asyncio.wait({gone, turn}, return_when=asyncio.FIRST_COMPLETED)
        turn.cancel()
        number += 1
    left.append(name)


async def disconnected(receive: Receive) -> None:
    """Wait until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def websocket(path: str, query: dict[str, str], scope: Scope, receive: Receive, send: Send) -> None:
    """/refuse refuses; /close ends with a code; everything else echoes, in the last subprotocol that is offered."""
    assert (await receive())["type"] == "websocket.connect"
    if path == "/refuse":
        await respond_in_place_of_websocket(send)
        return
    offered = cast("list[str]", scope["subprotocols"])
    await send({"type": "websocket.accept", "subprotocol": offered[-1] if offered else None})
    if path == "/close":
        await send({"type": "websocket.close", "code": int(query["code"]), "reason": query["reason"]})
    if path == "/burst":
        for number in range(int(query["count"])):
            await send({"type": "websocket.send", "text": str(number).zfill(int(query["size"]))})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})
    closes[query.get("name", "")] = [message["code"], message.get("reason")]


async def respond_in_place_of_websocket(send: Send) -> None:
    """Refuse the handshake with a response of our own (ASGI's websocket.http.response)."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"6")]
    await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"not so"})
