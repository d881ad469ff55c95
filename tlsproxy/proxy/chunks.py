"""Bodies in chunks as old apps write them, taken out of their framing (RFC 9112 section 7.1).

Sizes padded with blanks, lines that end with a bare LF and odd extensions leave in no doubt where a chunk begins and
ends, and go no further. What leaves it in doubt is refused. Pure: bytes in, bytes out.
"""

import re
from typing import Final

from tlsproxy.proxy.field_section import section_end
from tlsproxy.proxy.refusals import AppInvalid

# A size with its extensions, and a trailer section: both are read whole, so an app could fill the memory with them.
MAX_LINE: Final = 4096
MAX_TRAILERS: Final = 64 * 1024

# Fifteen digits are more than any disk holds, and less than any reader's integer.
_SIZE = re.compile(rb"0*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_BEGUN_SIZE = re.compile(rb"[0-9A-Fa-f]*[ \t]*(?:;[^\r\n]*)?\r?")
_END = re.compile(rb"\r?\n")
_BEGUN_END = re.compile(rb"\r")


class ChunkReader:
    """Reads one body; `feed` until it returns what lies behind it."""

    def __init__(self) -> None:
        self._begun = b""
        """What has come of a line, or of the trailer section, that is not whole."""
        self._left = 0
        """How much of a chunk's content is still to come."""
        self._wants_end = False
        """Whether the end of a chunk is due, and no size."""
        self._in_trailers = False
        self.trailers = b""
        """The trailer section, once the body has ended."""

    def feed(self, data: bytes, content: list[bytes]) -> bytes | None:
        """Read on; what comes of the content is appended to `content`.

        Returns:
            What lies behind the body; None while it has not ended.

        Raises:
            AppInvalid: this is no chunk.
        """
        data, self._begun = self._begun + data, b""
        start = 0
        while start < len(data) and not self._in_trailers:
            if self._left:
                piece = data[start : start + self._left]
                content.append(piece)
                self._left -= len(piece)
                start += len(piece)
            elif self._wants_end:
                start = self._read_end(data, start)
            else:
                start = self._read_size(data, start)
        return self._read_trailers(data[start:]) if self._in_trailers else None

    def _read_size(self, data: bytes, start: int) -> int:
        """Read the line before a chunk; returns where it ends, or where the data does when more is to come."""
        line = _SIZE.match(data, start)
        end = line.end() if line else len(data)
        if end - start > MAX_LINE:
            raise AppInvalid(f"a chunk's size and extensions of more than {MAX_LINE} bytes")
        if line is None:
            return self._keep(data, start, _BEGUN_SIZE)
        self._left = int(line[1], 16)
        self._wants_end = True
        if not self._left:
            self._in_trailers = True
            # They begin with the end of this line, so that none at all are an empty line too.
            return end - 1
        return end

    def _read_end(self, data: bytes, start: int) -> int:
        """Read the end of a chunk; returns as `_read_size` does."""
        end = _END.match(data, start)
        if end is None:
            return self._keep(data, start, _BEGUN_END)
        self._wants_end = False
        return end.end()

    def _keep(self, data: bytes, start: int, begun: re.Pattern[bytes]) -> int:
        """Keep what can be the beginning of a line."""
        if not begun.fullmatch(data, start):
            raise AppInvalid("no chunk where one is due, or one longer than its size")
        self._begun = data[start:]
        return len(data)

    def _read_trailers(self, data: bytes) -> bytes | None:
        end = section_end(data)
        if (end or len(data)) > MAX_TRAILERS:
            raise AppInvalid(f"trailers of more than {MAX_TRAILERS} bytes")
        if not end:
            self._begun = data
            return None
        self.trailers = data[:end]
        return data[end:]
