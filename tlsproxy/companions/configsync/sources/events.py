"""Server-sent events, as far as they tell that something has happened (WHATWG HTML section 9.2). Pure.

What they carry is not kept: an event means that there is something to fetch.
"""

import re

# What is kept of a line: an identifier is at its beginning, of data it counts only whether there is any.
_KEPT = 4096
_MOST_DIGITS = 9
_END = re.compile(rb"\r\n|\r|\n")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventStream:
    """One connection after the other: bytes in, the number of events out. Memory is bounded whatever comes."""

    def __init__(self) -> None:
        self.last_id = ""
        """Of the last event that had one: where Last-Event-ID asks to go on from."""
        self.retry: float | None = None
        """Seconds after which the server wants to be connected to again; None: it does not say."""
        self.connected()

    def connected(self) -> None:
        """A new connection: what was torn off with the former one is forgotten, the last identifier is not."""
        self._line = b""
        self._ended_by_return = False
        self._first = True
        self._id = self.last_id
        self._has_data = False

    def feed(self, part: bytes) -> int:
        """How many events this part completes."""
        if self._ended_by_return and part.startswith(b"\n"):
            part = part[1:]
        self._ended_by_return = part.endswith(b"\r") if part else self._ended_by_return
        *whole, rest = _END.split(part)
        events = 0
        for line in whole:
            events += self._take((self._line + line)[:_KEPT])
            self._line = b""
        self._line = (self._line + rest)[:_KEPT]
        return events

    def _take(self, line: bytes) -> bool:
        """Whether the line completes an event."""
        if self._first:
            self._first = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._dispatched()
        name, _, value = line.partition(b":")
        self._field(name, value.removeprefix(b" "))
        return False

    def _field(self, name: bytes, value: bytes) -> None:
        if name == b"data":
            self._has_data = True
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) <= _MOST_DIGITS:
            self.retry = int(value) / 1000

    def _dispatched(self) -> bool:
        # An event without data is none, but its identifier counts.
        self.last_id = self._id
        has_data, self._has_data = self._has_data, False
        return has_data
