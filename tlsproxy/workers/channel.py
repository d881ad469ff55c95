"""Messages between the supervisor and one worker: values of any kind, whole and in order, over a pair of sockets.

Pickled: both ends are forks of one process, and the pair has no name by which anybody else could come to it.
"""

import asyncio
import pickle
import socket
import struct
from contextlib import suppress

_LENGTH = struct.Struct("!I")


class Channel:
    """One end; made by `open_channel`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, message: object) -> None:
        """Send without waiting; what is sent to an end that has gone is lost."""
        if self._writer.is_closing():
            return
        data = pickle.dumps(message)
        self._writer.write(_LENGTH.pack(len(data)) + data)

    async def receive(self) -> object:
        """The next message.

        Raises:
            EOFError: the other end has gone.
        """
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            # Nobody but the other end has written to it: see above.
            return pickle.loads(await self._reader.readexactly(length))  # noqa: S301  -- see above
        except OSError as error:
            raise EOFError from error

    async def close(self) -> None:
        """Tell the other end that nothing more comes, once it has all that was sent; may be called twice."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


async def open_channel(end: socket.socket) -> Channel:
    """A channel over one of a pair of connected sockets, which belongs to it from here on."""
    return Channel(*await asyncio.open_connection(sock=end))
