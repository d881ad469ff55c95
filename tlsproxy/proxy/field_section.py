"""Field sections of old apps' messages, heads and trailers: where one ends, and what its lines say.

Lines may end with a bare LF, values may go on in the next line, blanks may stand before the colon: RFC 9112 sections
2.2, 5.1 and 5.2 say how a recipient reads these. Pure: bytes in, values out.
"""

import re
from collections.abc import Iterator

from tlsproxy.proxy.heads import Field

_FOLD = re.compile(rb"\r?\n[ \t]+")
_LINE_END = re.compile(rb"\r?\n")
_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:([^\0\r\n]*)")


def section_end(data: bytes, start: int = 0) -> int:
    """Where the first empty line from `start` on ends, whichever way lines end; 0 while there is none."""
    crlf = data.find(b"\n\r\n", start)
    bare = data.find(b"\n\n", start, crlf + 1 if crlf >= 0 else len(data))
    if bare >= 0:
        return bare + 2
    return crlf + 3 if crlf >= 0 else 0


def fields_of(section: bytes) -> Iterator[Field | None]:
    """The fields of a section in their order, each value on one line; None for a line that is no field.

    A line is none when its name is no token or no colon follows it, or when it holds a NUL or a bare CR.
    """
    for line in _LINE_END.split(_FOLD.sub(b" ", section)):
        if line:
            match = _LINE.fullmatch(line)
            yield (match[1], match[2].strip(b" \t")) if match else None
