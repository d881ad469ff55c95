"""Responses from the app's bytes: by httptools' parser (llhttp), and with more patience only where that one refuses.

Does no I/O and knows neither connections nor clients; what comes in a feed is gathered for the owner to take.
"""

from typing import Final, Literal

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from tlsproxy.proxy.heads import BY_CHUNKS, BY_CLOSE, NO_BODY, Field, Response, from_app, passes_as_trailer
from tlsproxy.proxy.patient_parser import PatientParser
from tlsproxy.proxy.refusals import AppInvalid

# Where in a response a reader stands.
Part = Literal[0, 1, 2]
HEAD: Final = 0
BODY: Final = 1
DONE: Final = 2


class ResponseReader:
    """Reads one response after the other from the bytes of a connection; does no I/O.

    After each `feed` its attributes tell what has come since: the owner takes `chunks` and `interims` and empties them.

    Old apps end lines with a bare LF, fold fields and say a length twice. Reading so all the time would cost each
    request 2 us, so what the strict parser refuses is read once more, with patience, from the first byte on that was
    not handed on: that of a head, or of the first chunk. The connection is not used again then.
    """

    __slots__ = (
        "_fields",
        "_for_head",
        "_head_size",
        "_is_odd",
        "_kept",
        "_kept_part",
        "_offered",
        "_parser",
        "_reason",
        "chunks",
        "interims",
        "part",
        "response",
        "rest",
        "surplus",
        "trailers",
    )

    # curl and Go's client take 10 MiB, nginx 4 or 8 KiB ("upstream sent too big header"): room for any real app.
    MAX_HEAD = 256 * 1024

    def __init__(self) -> None:
        self._parser: HttpResponseParser | PatientParser | None = None
        self._fields: list[Field] = []
        self._reason = b""
        self.interims: list[Response] = []
        self.surplus = False
        """Whether bytes came that belong to no response that was asked for."""
        self.rest = b""
        """What came behind a 101, in the new protocol."""
        self.begin(for_head=False)

    def begin(self, *, for_head: bool, offered: bytes = b"") -> None:
        """Expect a response; `for_head`: to a HEAD request; `offered`: the protocols of the request's Upgrade."""
        if self._parser is None:
            self._parser = HttpResponseParser(self)
            # Apache 1.3 pads the last sizes of a body, when the first chunks have long been handed on.
            self._parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)
        self._for_head = for_head
        self._offered = offered
        self._is_odd = False
        """Whether it took patience to read."""
        self._head_size = 0
        self._kept: bytes | None = b""
        """What was read of a head that is not whole, or of a body of which no content has come; None behind that."""
        self._kept_part: Part = HEAD
        """Which of the two it is."""
        self.part: Part = HEAD
        self.response: Response | None = None
        self.chunks: list[bytes] = []
        self.trailers: tuple[Field, ...] = ()

    def feed(self, data: memoryview) -> None:
        """Read on.

        Raises:
            AppInvalid: this is no HTTP response, or one whose framing is ambiguous.
        """
        assert self._parser is not None
        if self.part == HEAD:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self.rest = bytes(data[upgrade.args[0] :])
        except HttpParserError as error:
            self._stumble(error, data)
        if self.part == DONE or self.chunks:
            self._kept = None
        else:
            self._keep(data)

    def _keep(self, data: memoryview) -> None:
        """Keep what came and was not handed on, should it have to be read again."""
        if self.part == HEAD:
            if self._head_size > self.MAX_HEAD:
                raise self._too_large()
        elif self.response is None or self.response.framing != BY_CHUNKS:
            # Nothing of such a body can be refused.
            self._kept = None
        if self._kept is None:
            return
        self._kept += data
        if self.interims or self.part == BODY:
            # A head was handed on, and what lies behind it has no empty line yet.
            self._kept = self._kept.rpartition(b"\r\n\r\n")[2]
        self._kept_part = self.part

    def _too_large(self) -> AppInvalid:
        return AppInvalid(f"a response whose fields take more than {self.MAX_HEAD} bytes")

    def _stumble(self, error: HttpParserError, data: memoryview) -> None:
        """Read with patience what the parser has refused, where nothing of it was handed on."""
        if self.part == DONE:
            self.surplus = True
            return
        if self._kept is None:
            raise AppInvalid(str(error.__context__ or error)) from error
        unread, self._kept = self._kept + data, None
        self._is_odd = True
        self.chunks, self.trailers = [], ()
        if self._kept_part == HEAD:
            self.part, self.response = HEAD, None
            self.interims.clear()
        self._parser = PatientParser(self)
        self._parser.feed_data(unread)

    def end(self) -> bool:
        """Take note that the connection has ended; whether that makes the response whole."""
        if self.part == BODY and self.response is not None and self.response.framing == BY_CLOSE:
            self.part = DONE
        return self.part == DONE

    @property
    def heard(self) -> bool:
        """Whether anything of the response has come."""
        return self._head_size > 0

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another request."""
        return self.response is not None and self.response.reusable and not self.surplus and not self._is_odd

    def forget(self) -> None:
        """Let go of the parser, which waits for a body that a HEAD's answer announces, or is in a cycle with us."""
        self._parser = None

    # ------------------------------------------------------------------ called by llhttp, in the order of a message

    def on_message_begin(self) -> None:
        """A message begins; one that nobody asked for is surplus."""
        if self.part == DONE:
            self.surplus = True
        self._fields = []
        self._reason = b""

    def on_status(self, reason: bytes) -> None:
        """A piece of the reason phrase."""
        if b"\0" in reason:
            raise AppInvalid("a NUL in the reason phrase")
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or of the trailer section."""
        if self.part == HEAD:
            self._fields.append((name, value.rstrip(b" \t")))
        elif self.part == BODY and passes_as_trailer(name):
            self._head_size += len(name) + len(value)
            if self._head_size > self.MAX_HEAD:
                raise self._too_large()
            self.trailers += ((name, value.rstrip(b" \t")),)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        parser = self._parser
        if self.part != HEAD or parser is None:
            return
        status = parser.get_status_code()
        response = from_app(
            status,
            self._reason,
            self._fields,
            parser.get_http_version(),
            for_head=self._for_head,
            offered=self._offered,
        )
        if status < 200:
            self.interims.append(response)
            return
        self.response = response
        self.part = DONE if response.framing == NO_BODY else BODY

    def on_body(self, chunk: bytes) -> None:
        """A piece of the body, without its framing."""
        if self.part == BODY:
            self.chunks.append(chunk)
        else:
            self.surplus = True

    def on_message_complete(self) -> None:
        """The message is whole."""
        if self.part == BODY:
            self.part = DONE

    def on_switch(self, rest: bytes) -> None:
        """The head was a 101; not called by httptools, which raises HttpParserUpgrade."""
        self.rest = rest
