"""The app of the 1 GiB transfers, and of all loads where nginx is missing: sends bytes, swallows bytes.

`GET /<number>` sends that many zero bytes; a POST with a Content-Length gets the number of bytes that came.
Bodies are made and dropped piece by piece. Nothing else is understood.
Run as `python -m bench.plain_app PORT`.
"""

import asyncio
import sys

import uvloop

PIECE = bytes(64 * 1024)


async def serve_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Request after request, until the peer closes."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, target, _ = head.split("\r\n", 1)[0].split(" ")
            if method == "POST":
                await swallow(reader, writer, content_length(head))
            else:
                await send(writer, int(target.removeprefix("/")))
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def send(writer: asyncio.StreamWriter, total: int) -> None:
    """`total` bytes, no faster than they are read."""
    writer.write(answer_head(total))
    for _ in range(total // len(PIECE)):
        writer.write(PIECE)
        await writer.drain()
    writer.write(PIECE[: total % len(PIECE)])
    await writer.drain()


async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int) -> None:
    """Reads the body and answers with its size."""
    arrived = 0
    while arrived < length:
        piece = await reader.read(min(len(PIECE), length - arrived))
        if not piece:
            break
        arrived += len(piece)
    count = b"%d" % arrived
    writer.write(answer_head(len(count)) + count)
    await writer.drain()


def answer_head(length: int) -> bytes:
    """The head of a 200 with a body of that length."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % length


def content_length(head: str) -> int:
    """The declared length of the body; 0 without one."""
    for line in head.split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            return int(value)
    return 0


async def serve(port: int) -> None:
    """Until the process is ended."""
    server = await asyncio.start_server(serve_connection, "127.0.0.1", port, limit=256 * 1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
