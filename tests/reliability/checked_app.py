"""The app of checked requests: says what it was asked for and what it got, and writes down what must not come twice.

`GET /events` is a stream of server-sent events, and an Upgrade makes it echo bytes; every other request is one of
`asking`. Run as `python -m tests.reliability.checked_app PORT RECORD` it appends to the file RECORD; however it is
killed, what it had seen stands there.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvloop

from tests.reliability.asking import content, digest, in_chunks
from tests.reliability.messages import read_body, read_head

DAMAGED = -1
"""Written down in place of a number when a body came whole, and was not what its client had sent."""
EVENTS_APART = 0.05
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
BACKLOG = 1024
LARGEST = 1 << 20


class CheckedApp:
    """Serves any number of connections; `write_down` is called with the number of each request that has effects."""

    def __init__(self, write_down: Callable[[int], None]) -> None:
        self._write_down = write_down

    async def serve(self, port: int = 0) -> asyncio.Server:
        """Listen; the caller closes."""
        return await asyncio.start_server(self._converse, "127.0.0.1", port, backlog=BACKLOG, limit=LARGEST)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer(reader, writer):
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the other side has gone
        except asyncio.CancelledError:
            pass  # the app ends
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether another may follow."""
        first, fields = await read_head(reader)
        method, target, _ = first.split(b" ")
        if b"upgrade" in fields:
            writer.write(SWITCH)
            while data := await reader.read(65536):
                writer.write(data)
            return False
        if target == b"/events":
            await _send_events(writer)
            return False
        number, wanted, chunked = map(int, target[1:].split(b"/"))
        has_body = b"x-digest" in fields
        if method == b"POST" or has_body:
            self._write_down(number)
        received = digest(await read_body(reader, fields))
        if has_body and received.encode() != fields[b"x-digest"]:
            self._write_down(DAMAGED)
        writer.write(_response(number, wanted, received, chunked=bool(chunked)))
        return True


def _response(number: int, wanted: int, received: str, *, chunked: bool) -> bytes:
    body = content("answer", number, wanted)
    head = f"HTTP/1.1 200 OK\r\nX-Number: {number}\r\nX-Digest: {digest(body)}\r\nX-Received: {received}\r\n"
    if chunked:
        return head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + in_chunks(body)
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def _send_events(writer: asyncio.StreamWriter) -> None:
    writer.write(EVENTS)
    number = 0
    while True:
        writer.write(b"data: %d\n\n" % number)
        await writer.drain()
        number += 1
        await asyncio.sleep(EVENTS_APART)


def written_down(record: Path) -> list[int]:
    """What an app has appended to its file."""
    return [int(line) for line in record.read_text().splitlines()] if record.exists() else []


async def serve(port: int, record: int) -> None:
    """Until the process is ended."""
    app = CheckedApp(lambda number: _append(record, number))
    server = await app.serve(port)
    with suppress(asyncio.CancelledError):
        await server.serve_forever()


def _append(record: int, number: int) -> None:
    os.write(record, b"%d\n" % number)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)))
