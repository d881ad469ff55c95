"""A parser for the responses of old apps: what llhttp refuses though it leaves no doubt where the response ends.

It takes the place of httptools' parser in the reading of a response, with the same methods and the same calls back.
Unlike that one it reads heads whole, and learns from who listens how the body is framed. What it takes and what it
refuses stands in docs/http.md.
"""

import re
from typing import Protocol

from tlsproxy.proxy.chunks import ChunkReader
from tlsproxy.proxy.field_section import fields_of, section_end
from tlsproxy.proxy.heads import BY_CHUNKS, BY_LENGTH, NO_BODY, Response
from tlsproxy.proxy.refusals import AppInvalid

# A later version than 1.1, which its framing belies, is read as 1.1 (RFC 9110 section 2.5). A blank behind the line
# would make the next one a part of it to some.
_STATUS_LINE = re.compile(rb"HTTP/([1-9]\.[0-9]) +([1-9][0-9]{2})(?: ([^\r\n]*))?\r?\n(?![ \t])")
_BARE_CR = re.compile(rb"\r[^\n]")


class Listener(Protocol):
    """Who is told what has been read: the methods that httptools calls, and one more."""

    response: Response | None
    """The final response, set when its head has been told."""

    def on_message_begin(self) -> None:
        """A head begins, or something behind the response."""

    def on_status(self, reason: bytes) -> None:
        """The reason phrase, if there is one."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head or of the trailers."""

    def on_headers_complete(self) -> None:
        """The head is whole; raises AppInvalid for one of ambiguous framing."""

    def on_body(self, chunk: bytes) -> None:
        """A piece of the body."""

    def on_message_complete(self) -> None:
        """The response is whole."""

    def on_switch(self, rest: bytes) -> None:
        """The head was a 101, behind which another protocol begins."""


class PatientParser:
    """Reads one response with the interim ones before it."""

    def __init__(self, listener: Listener) -> None:
        """Begin with a head, or with the first chunk where the listener has the head already."""
        self._listener = listener
        self._begun = b""
        """What has come of a head that is not whole."""
        self._status = 0
        self._version = ""
        self._left = 0
        """How much of a body of known length is still to come."""
        self._chunks = ChunkReader()
        self._is_over = False

    def get_status_code(self) -> int:
        """Of the head that was read last."""
        return self._status

    def get_http_version(self) -> str:
        """Of the same, "1.0" or "1.1"."""
        return self._version

    def feed_data(self, data: memoryview | bytes) -> None:
        """Read on.

        Raises:
            AppInvalid: this is no HTTP response, or one whose framing is ambiguous.
        """
        rest: bytes | None = bytes(data)
        while rest and self._listener.response is None:
            rest = self._read_head(rest)
        if rest and self._listener.response is not None:
            self._read_body(rest, self._listener.response)

    # ------------------------------------------------------------------ heads

    def _read_head(self, data: bytes) -> bytes:
        """Read a head, if it is whole; returns what lies behind it."""
        # Empty lines before it: some apps end a body with one that they have not counted.
        head = self._begun + data if self._begun else data.lstrip(b"\r\n")
        news = max(len(self._begun) - 2, 0)
        end = section_end(head, news)
        if not end:
            self._keep(head, news)
            return b""
        self._begun = b""
        self._tell(head[:end])
        response = self._listener.response
        if response is not None:
            self._left = response.length
            self._is_over = response.framing == NO_BODY
        elif self._status == 101:
            self._listener.on_switch(head[end:])
            return b""
        return head[end:]

    def _keep(self, head: bytes, news: int) -> None:
        """Keep a part of a head, unless it can't become one."""
        if not b"HTTP/".startswith(head[:5]) or _BARE_CR.search(head, news):
            raise AppInvalid("this is no HTTP response")
        self._begun = head

    def _tell(self, head: bytes) -> None:
        """Tell the listener what a head says."""
        listener = self._listener
        start = _STATUS_LINE.match(head)
        if start is None:
            raise AppInvalid("the first line is no status line")
        self._version = "1.0" if start[1] == b"1.0" else "1.1"
        self._status = int(start[2])
        listener.on_message_begin()
        if start[3]:
            listener.on_status(start[3].replace(b"\0", b" "))
        for number, field in enumerate(fields_of(head[start.end() :]), 1):
            if field is None:
                raise AppInvalid(f"line {number} behind the status line is no field")
            listener.on_header(*field)
        listener.on_headers_complete()

    # ------------------------------------------------------------------ bodies

    def _read_body(self, data: bytes, response: Response) -> None:
        rest: bytes | None = data
        if not self._is_over:
            if response.framing == BY_CHUNKS:
                rest = self._read_chunks(data)
            elif response.framing == BY_LENGTH:
                rest = self._read_length(data)
            else:
                rest = None
                self._listener.on_body(data)
            if rest is None:
                return
            self._is_over = True
            self._listener.on_message_complete()
        if rest:
            self._listener.on_message_begin()

    def _read_length(self, data: bytes) -> bytes | None:
        """Read a body of known length; returns what lies behind it, None while it has not ended."""
        piece = data[: self._left]
        self._left -= len(piece)
        self._listener.on_body(piece)
        return None if self._left else data[len(piece) :]

    def _read_chunks(self, data: bytes) -> bytes | None:
        """Read a body in chunks; returns as `_read_length` does."""
        content: list[bytes] = []
        rest = self._chunks.feed(data, content)
        for piece in content:
            self._listener.on_body(piece)
        if rest is not None:
            for field in fields_of(self._chunks.trailers):
                # The body is whole without a trailer that is no field.
                if field is not None:
                    self._listener.on_header(*field)
        return rest
