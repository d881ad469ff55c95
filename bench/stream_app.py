"""The app of WebSocket messages and server-sent events: echoes each message, sends each event to all who listen.

`GET /echo` with an upgrade echoes whole WebSocket frames; `GET /events` is a stream of server-sent events, of which
each `GET /fan-out` sends one to all who listen with the same Host; any other GET is answered with as many zero bytes
as its target says. Nothing else is understood.
Run as `python -m bench.stream_app PORT`.
"""

import asyncio
import base64
import hashlib
import sys
import time
from collections import defaultdict
from typing import cast

import uvloop

ECHO = "/echo"
EVENTS = "/events"
FAN_OUT = "/fan-out"

# An event's text is a mark, when it was made in microseconds of the monotonic clock, and an end that stands nowhere
# else: pieces may be cut and framed anew on their way, so ends are what is counted.
MARK, DIGITS, END = b"@", 16, b"!"
PADDING = b"." * 67

# RFC 6455 section 1.3.
WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def event(now: float) -> bytes:
    """One server-sent event of 93 bytes, made at that moment of the monotonic clock."""
    return b"data: %b%0*d%b%b\n\n" % (MARK, DIGITS, int(now * 1e6), END, PADDING)


def whole_events(piece: bytes) -> int:
    """How many events end in a piece of the stream."""
    return piece.count(END)


def made_at(piece: bytes) -> float | None:
    """When the last event whose time stands whole in the piece was made; None without one."""
    _, found, rest = piece.rpartition(MARK)
    return int(rest[:DIGITS]) / 1e6 if found and len(rest) >= DIGITS and rest[:DIGITS].isdigit() else None


def masked_frame(payload: bytes) -> bytes:
    """A client's binary frame (RFC 6455 section 5.2) of at most 125 bytes."""
    mask = b"\x01\x02\x03\x04"
    return bytes((0x82, 0x80 | len(payload))) + mask + masked(payload, mask)


def masked(payload: bytes, mask: bytes) -> bytes:
    """The payload with its mask put on, or taken off."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


def field(head: bytes, name: bytes) -> str:
    """The value of a field of a head; empty without one."""
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.lower() == name:
            return value.strip().decode()
    return ""


def accept_key(key: str) -> bytes:
    """What proves to a client with that key that its upgrade was understood."""
    return base64.b64encode(hashlib.sha1(key.encode() + WEBSOCKET).digest())  # noqa: S324 (RFC 6455 has it so)


class App(asyncio.Protocol):
    """One connection."""

    def __init__(self, listeners: defaultdict[str, set[asyncio.Transport]]) -> None:
        self.listeners = listeners
        self.host = ""
        self.buffer = b""
        self.echoes = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps it."""
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _error: Exception | None) -> None:
        """Nobody listens there any more."""
        self.listeners[self.host].discard(self.transport)

    def data_received(self, data: bytes) -> None:
        """Frames or heads; what is not whole waits."""
        self.buffer += data
        if not self.echoes and b"\r\n\r\n" in self.buffer:
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            self.answer(head)
        if self.echoes:
            self.echo()

    def answer(self, head: bytes) -> None:
        """Each request's own."""
        target = head.split(b" ", 2)[1].decode()
        if target == ECHO:
            self.echoes = True
            self.transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept_key(field(head, b"sec-websocket-key"))
            )
        elif target == EVENTS:
            # Its end is the connection's: no framing of the app's own between the events.
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
                b"Connection: close\r\n\r\n"
            )
            self.host = field(head, b"host")
            self.listeners[self.host].add(self.transport)
        else:
            if target == FAN_OUT:
                self.fan_out(field(head, b"host"))
            size = 1 if target == FAN_OUT else int(target.removeprefix("/"))
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))

    def fan_out(self, host: str) -> None:
        """An event for everyone who listens there."""
        made = event(time.monotonic())
        for listener in tuple(self.listeners[host]):
            listener.write(made)

    def echo(self) -> None:
        """All frames that are whole, in one write."""
        echoes = []
        while len(self.buffer) >= 2 and len(self.buffer) >= (end := 6 + (self.buffer[1] & 0x7F)):
            echoes.append(bytes((self.buffer[0], end - 6)) + masked(self.buffer[6:end], self.buffer[2:6]))
            self.buffer = self.buffer[end:]
        self.transport.write(b"".join(echoes))


async def serve(port: int) -> None:
    """Until the process is ended."""
    listeners: defaultdict[str, set[asyncio.Transport]] = defaultdict(set)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: App(listeners), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
