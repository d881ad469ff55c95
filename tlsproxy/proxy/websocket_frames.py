"""Where the frames of a WebSocket begin, in bytes that pass by (pure).

Extensions may change what a frame carries, not how it is framed (RFC 6455 section 5.8), so this needs to know of
none. Nothing is checked: what is no frame is the two sides' affair.
"""

from typing import Final

GOING_AWAY: Final = b"\x88\x02\x03\xe9"
"""A server's Close frame with status 1001: it goes down (RFC 6455 sections 5.5.1 and 7.4.1)."""

_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_LENGTH_FOLLOWS: Final = {126: 2, 127: 8}
"""How many bytes of length stand behind the first two, by what the second one says."""
_MASK: Final = 4


class Frames:
    """The frames of one direction, from its first byte on."""

    __slots__ = ("_head", "_left")

    def __init__(self) -> None:
        self._head = b""
        """The beginning of a head that is not whole yet."""
        self._left = 0
        """Bytes of a frame's payload that are to come."""

    @property
    def at_boundary(self) -> bool:
        """Whether the next byte begins a frame: what is put in here comes between two."""
        return not self._left and not self._head

    def pass_by(self, data: bytes) -> int:
        """Take note of the next bytes; returns how many of them come before the last boundary among them.

        That is 0 where no frame ends in them.
        """
        if self._left > len(data):
            self._left -= len(data)
            return 0
        kept = len(self._head)
        stream = self._head + data if kept else data
        boundary = end = self._left
        while (size := _frame_size(stream, end)) and end + size <= len(stream):
            boundary = end = end + size
        self._left = end + size - len(stream) if size else 0
        self._head = b"" if size else stream[end:]
        return max(boundary - kept, 0)


def _frame_size(stream: bytes, start: int) -> int:
    """The length of the frame that begins there, head and payload; 0 when its head is not whole."""
    if len(stream) < start + 2:
        return 0
    second = stream[start + 1]
    length, size = second & _LENGTH, 2
    if length in _LENGTH_FOLLOWS:
        size += _LENGTH_FOLLOWS[length]
        if len(stream) < start + size:
            return 0
        length = int.from_bytes(stream[start + 2 : start + size])
    return size + length + (_MASK if second & _MASKED else 0)
