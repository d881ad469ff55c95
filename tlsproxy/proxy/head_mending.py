"""Heads of old apps' responses, put right where llhttp refuses even leniently what has one meaning only.

It reads nothing: what is put right goes to the parser, which decides. Pure: bytes in, bytes out.
"""

import re

from tlsproxy.proxy.refusals import AppInvalid

WHOLE_HEAD = re.compile(rb".*?\n\r?\n", re.DOTALL)
"""A head with its empty line, however its lines end."""

# RFC 9112 section 4: to some readers the blank makes the line a part of the status line.
_FOLDED_STATUS = re.compile(rb"[^\n]*\n[ \t]")
_STATUS_BLANKS = re.compile(rb"^(HTTP/[0-9]\.[0-9]) {2,}")
# RFC 9112 section 5.1.
_LOOSE_COLON = re.compile(rb"^([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]+:", re.MULTILINE)
# Blanks at the end of a line, and folded lines of nothing else: before them llhttp takes `chunked` for no coding.
_BLANK_ENDS = re.compile(rb"(?:\r?\n)?(?<![ \t])[ \t]++(?=\r?\n)")
# RFC 9110 section 8.6: one length, said several times or as a list.
_LENGTH = re.compile(
    rb"^content-length:[ \t]*([0-9]+(?:[ \t]*,[ \t]*[0-9]+)*)[ \t]*\r?\n", re.IGNORECASE | re.MULTILINE
)


# Behind which another head comes, and not bytes of another protocol.
_INTERIM = re.compile(rb"HTTP/[0-9.]+ +1(?!01)")


def mended(data: bytes) -> bytes:
    """The data with the head that it begins with put right, and those of interim responses before it.

    Raises:
        AppInvalid: a line that is a field to some and none to others.
    """
    heads = []
    start = 0
    while match := WHOLE_HEAD.match(data, start):
        heads.append(_mended_head(match[0]))
        start = match.end()
        if not _INTERIM.match(match[0]):
            break
    return b"".join(heads) + data[start:]


def _mended_head(head: bytes) -> bytes:
    if _FOLDED_STATUS.match(head):
        raise AppInvalid("a blank at the beginning of the line behind the status line")
    head = _BLANK_ENDS.sub(b"", head)
    return _with_one_length(_LOOSE_COLON.sub(rb"\1:", _STATUS_BLANKS.sub(rb"\1 ", head)))


def _with_one_length(head: bytes) -> bytes:
    """The head with one Content-Length where equal ones are repeated."""
    lines = list(_LENGTH.finditer(head))
    lengths = [number.strip(b" \t").lstrip(b"0") for line in lines for number in line[1].split(b",")]
    if len(lengths) < 2 or len(set(lengths)) > 1:
        return head
    for line in reversed(lines[1:]):
        head = head[: line.start()] + head[line.end() :]
    first = lines[0]
    return b"%bContent-Length: %b\r\n%b" % (head[: first.start()], lengths[0] or b"0", head[first.end() :])
