"""HTTP/1.1 messages from a StreamReader, for both ends of a checked request; what is not well-formed is an error."""

import asyncio

Fields = dict[bytes, bytes]
"""By name in lower case; no field of a checked message comes twice."""


async def read_head(reader: asyncio.StreamReader) -> tuple[bytes, Fields]:
    """The first line and the fields; IncompleteReadError when the stream ends before they do."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head[:-4].split(b"\r\n")
    pairs = [line.partition(b":") for line in lines]
    return first, {name.lower(): value.strip() for name, _, value in pairs}


async def read_body(reader: asyncio.StreamReader, fields: Fields) -> bytes:
    """The body that the fields announce, whole; without an announcement there is none."""
    if b"transfer-encoding" not in fields:
        return await reader.readexactly(int(fields.get(b"content-length", b"0")))
    pieces = []
    while size := int((await reader.readuntil(b"\r\n"))[:-2], 16):
        pieces.append((await reader.readexactly(size + 2))[:-2])
    await reader.readuntil(b"\r\n")
    return b"".join(pieces)
