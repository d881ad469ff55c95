"""One request and its response, the whole story in order.

An exchange knows its client only as a Stream and the app only as a connection that it is lent. It costs no task and
no future: it is told what happens, and says what is to be done. Who may speak to it, in the order of a request's life:

    the stream      body, end, flush        the request comes
    the pool        lent, unavailable       a connection to the app is had, or not
    the connection  app_slow, app_ready, interim, respond, relay, lost
    the stream      slow, ready, fail, gone, expired
"""

import math
from collections.abc import Sequence
from time import monotonic
from typing import Protocol

from tlsproxy.proxy.fixes import Fixes
from tlsproxy.proxy.heads import BY_LENGTH, NO_BODY, UPGRADE, Field, Framing, Piece, Response, for_app, lines
from tlsproxy.proxy.journal import Client, Journal, Record
from tlsproxy.proxy.limits import Timeouts
from tlsproxy.proxy.pool import Pool
from tlsproxy.proxy.refusals import (
    AppFault,
    AppTimeout,
    BodyTimeout,
    ClientGone,
    Refusal,
    answer,
    phrase,
)
from tlsproxy.proxy.request import Request
from tlsproxy.proxy.tunnel import Tunnel
from tlsproxy.proxy.upstream import Upstream

# RFC 9110 section 9.2.2: asking twice does what asking once does.
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_NEVER = math.inf
# How long the app may take to say 100 before it is said for it: one that knows nothing of Expect waits for the body
# that the client holds back (curl gives up waiting after a second as well).
_CONTINUE_AFTER = 1.0


class Stream(Protocol):
    """A client that has sent one request and waits for its response; framing is its own affair.

    It takes heads as `lines`, to which it adds what is meant for its hop.
    """

    client: Client
    slow: bool
    """Whether it takes no more of the response for now."""

    def interim(self, head: bytes) -> None:
        """Send a 1xx response."""

    def start(
        self, head: bytes, framing: Framing, chunks: Sequence[Piece], *, end: bool, trailers: Sequence[Field] = ()
    ) -> None:
        """Send the head and what there is of the body; with `end` the response is whole and the stream is left.

        A framing of BY_LENGTH or NO_BODY promises that the head says so; with the others the stream frames the body.
        """

    def send(self, chunks: Sequence[Piece], *, end: bool, trailers: Sequence[Field] = ()) -> None:
        """Send more of the body."""

    def switch(self, head: bytes, tunnel: Tunnel) -> None:
        """Send a 101, and leave the connection and what the client has said already to the tunnel."""

    def hold(self) -> None:
        """Take no more of the request's body from the client."""

    def let(self) -> None:
        """Take more again."""

    def cut(self) -> None:
        """End the connection so that the client sees that its response is not whole; the stream is left."""


class Service:
    """What the exchanges of one listener share."""

    def __init__(self, pool: Pool, fixes: Fixes, timeouts: Timeouts, journal: Journal) -> None:
        self.pool = pool
        self.fixes = fixes
        self.timeouts = timeouts
        self.journal = journal

    def exchange(self, stream: Stream, request: Request, *, has_body: bool) -> "Exchange":
        """Begin an exchange.

        Raises:
            Refusal: the request's head is one that is not forwarded.
        """
        return Exchange(self, stream, request, has_body=has_body)


class Exchange(Record):
    """One request and its response."""

    __slots__ = (
        "_asked",
        "_awaits_continue",
        "_body_ended",
        "_chunked",
        "_for_head",
        "_head",
        "_held",
        "_host",
        "_offered",
        "_out",
        "_repeatable",
        "_service",
        "_stream",
        "_upstream",
        "_used",
        "deadline",
    )

    def __init__(self, service: Service, stream: Stream, request: Request, *, has_body: bool) -> None:
        super().__init__(stream.client, request)
        self._head, _, self.request_id, told = for_app(request, stream.client.peer, service.journal.next_id())
        _, self._host, _, self.address, self.agent, self.referer, expects, self._offered = told
        self._service = service
        self._stream: Stream | None = stream
        self._upstream: Upstream | None = None
        self._out = [self._head]
        self._chunked = request.chunked
        self._for_head = request.method == "HEAD"
        self._repeatable = not has_body and request.method in _IDEMPOTENT
        self._body_ended = not has_body
        self._awaits_continue = expects and has_body
        """Whether the client holds its body back until it is told 100."""
        self._asked = False
        self._used = False
        self._held = False
        self.deadline = _NEVER
        """When `expired` is to be called, in monotonic time."""

    @property
    def host(self) -> bytes:
        """The authority that the client asked for; empty when it named none."""
        return self._host

    @property
    def path(self) -> bytes:
        """What the app is asked for, as it is told so, without the query."""
        return self._head.split(b" ", 2)[1].partition(b"?")[0]

    @property
    def offered(self) -> bytes:
        """The protocols that the connection may change to; empty: it may not."""
        return self._offered

    @property
    def is_whole(self) -> bool:
        """Whether the request has come to its end; at first, whether it has no body."""
        return self._body_ended

    def __repr__(self) -> str:
        state = "over" if self._stream is None else "waiting" if self._upstream is None else "lent"
        return f"<Exchange {self.request_id.decode()} {self.method} {self.status or ''} {state}>"

    # ------------------------------------------------------------------ the request comes

    def body(self, piece: bytes) -> None:
        """Take a piece of the body."""
        self.received += len(piece)
        if self._awaits_continue:
            self._awaits_continue = False
            self.deadline = _NEVER
        self._out.append(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece)

    def end(self) -> None:
        """Take note that the request is whole."""
        self._body_ended = True
        if self._chunked:
            self._out.append(b"0\r\n\r\n")
        if self._upstream is not None:
            self.deadline = monotonic() + self._service.timeouts.response

    def flush(self) -> None:
        """Hand what has gathered to the app; the first time, ask for a connection to it."""
        upstream = self._upstream
        if upstream is not None:
            self._write(upstream)
        elif not self._asked:
            self._asked = True
            self._service.pool.ask(self, repeatable=self._repeatable)
            if self._upstream is None and not self._body_ended and self._stream is not None:
                self._hold(self._stream)

    def _write(self, upstream: Upstream) -> None:
        out = self._out
        if out:
            self._out = []
            upstream.write(out[0] if len(out) == 1 else b"".join(out))

    def _hold(self, stream: Stream) -> None:
        self._held = True
        stream.hold()

    # ------------------------------------------------------------------ a connection to the app

    def lent(self, upstream: Upstream, *, used: bool) -> None:
        """Take a connection and hand the request over."""
        stream = self._stream
        assert stream is not None
        self._upstream = upstream
        self._used = used
        self.app_started = monotonic()
        if self._body_ended:
            self.deadline = self.app_started + self._service.timeouts.response
        elif self._awaits_continue:
            self.deadline = self.app_started + _CONTINUE_AFTER
        upstream.begin(self, for_head=self._for_head, offered=self._offered)
        if stream.slow:
            upstream.hold()
        if self._held:
            # Before the write, which may find the app slow and hold the client again.
            self._held = False
            stream.let()
        self._write(upstream)

    def unavailable(self, refusal: Refusal) -> None:
        """Answer that there is no connection to be had."""
        self.fail(refusal)

    def app_slow(self) -> None:
        """Hold the client: the app takes no more of the body, and has a response's time to think better of it."""
        if self._stream is not None and not self._body_ended:
            self._hold(self._stream)
        self.deadline = monotonic() + self._service.timeouts.response

    def app_ready(self) -> None:
        """Let the client go on."""
        if self._held and self._stream is not None:
            self._held = False
            self.deadline = _NEVER
            self._stream.let()

    # ------------------------------------------------------------------ the response comes

    def interim(self, response: Response) -> None:
        """Pass on a 1xx response to a client that can have one, 100 to one that waits for it; 101 makes a tunnel."""
        if response.status == 100:
            self._say_continue(response.reason)
        elif response.status == 101:
            self._switch(response)
        else:
            if self._body_ended:
                # What 102 is for: the app is at work.
                self.deadline = monotonic() + self._service.timeouts.response
            if self._stream is not None and self.version != (1, 0):
                self._stream.interim(response.head)

    def _say_continue(self, reason: bytes) -> None:
        if self._stream is not None and self._awaits_continue:
            self._awaits_continue = False
            self.deadline = _NEVER
            self._stream.interim(lines(100, reason, ()))

    def _switch(self, response: Response) -> None:
        """Leave both connections to a tunnel: the app has changed to a protocol that the client had offered."""
        stream, upstream = self._stream, self._upstream
        assert stream is not None
        assert upstream is not None
        self._stream = self._upstream = None
        self.status = 101
        service = self._service
        service.journal.switched(self)
        tunnel = Tunnel(self, service.journal, service.timeouts, response.noted[UPGRADE])
        rest = upstream.switch(tunnel.app)
        chosen = [(b"Connection", b"Upgrade"), (b"Upgrade", response.noted[UPGRADE])]
        fields = [*chosen, *response.fields, (b"X-Request-ID", self.request_id)]
        stream.switch(lines(101, response.reason, fields), tunnel)
        if rest:
            tunnel.app.data_received(rest)

    def respond(self, response: Response, chunks: Sequence[Piece], *, end: bool, trailers: Sequence[Field]) -> None:
        """Pass on the response's head and what has come of its body, in one call."""
        stream = self._stream
        assert stream is not None
        self.status = response.status
        self._awaits_continue = False
        head = b"%bX-Request-ID: %b\r\n" % (self._service.fixes.head(response, self._host), self.request_id)
        self._passing(chunks, end=end)
        stream.start(head, response.framing, chunks, end=end, trailers=trailers)
        if end:
            self._service.journal.ended(self)

    def relay(self, chunks: Sequence[Piece], *, end: bool, trailers: Sequence[Field]) -> None:
        """Pass on more of the body."""
        stream = self._stream
        assert stream is not None
        self._passing(chunks, end=end)
        stream.send(chunks, end=end, trailers=trailers)
        if end:
            self._service.journal.ended(self)

    def _passing(self, chunks: Sequence[Piece], *, end: bool) -> None:
        """Count what goes to the client; a whole response gives the connection back before the client has it."""
        for chunk in chunks:
            self.sent += len(chunk)
        if not end:
            self.deadline = self._app_deadline()
            return
        upstream, self._upstream, self._stream = self._upstream, None, None
        assert upstream is not None
        if self._body_ended:
            upstream.release()
        else:
            upstream.drop()

    def lost(self, fault: AppFault, *, heard: bool) -> None:
        """Go on without the connection: ask again where that is safe, else say so, or show that there was more."""
        self._upstream = None
        if self._used and self._repeatable and not heard and self._stream is not None:
            self._out = [self._head]
            self.deadline = _NEVER
            self._service.pool.ask(self, repeatable=True, fresh=True)
            return
        self.fail(fault)

    # ------------------------------------------------------------------ the client, and time

    def slow(self) -> None:
        """Hold the app: the client takes no more, and has a body's time to think better of it."""
        if self._upstream is not None:
            self._upstream.hold()
            self.deadline = monotonic() + self._service.timeouts.body

    def ready(self) -> None:
        """Let the app go on."""
        if self._upstream is not None:
            self._upstream.let()
            self.deadline = self._app_deadline()

    def _app_deadline(self) -> float:
        """Until when the app is to do something; never while it waits for a client that may still send."""
        return monotonic() + self._service.timeouts.response if self._body_ended or self._held else _NEVER

    def gone(self) -> None:
        """End the app's work: the client has left."""
        if self._stream is not None:
            self._leave()
            self._service.journal.ended(self, ClientGone())

    def expired(self) -> None:
        """End what has taken too long."""
        if self._awaits_continue:
            self._say_continue(b"Continue")
        elif self._stream is not None and self._stream.slow:
            self.fail(BodyTimeout("the client does not read"))
        else:
            self.fail(AppTimeout(f"nothing from the app within {self._service.timeouts.response:g}s"))

    def fail(self, refusal: Refusal) -> None:
        """Answer for the app; once its response has begun, the only honest end is a cut."""
        stream = self._stream
        if stream is None:
            return
        self._leave()
        if self.status:
            self._service.journal.ended(self, refusal)
            stream.cut()
            return
        self.status = refusal.status
        fields, body = answer(refusal, self.request_id)
        chunks = [] if self._for_head else [body]
        self.sent = sum(map(len, chunks))
        framing: Framing = NO_BODY if self._for_head else BY_LENGTH
        # The operator is told before the client is.
        self._service.journal.ended(self, refusal)
        stream.start(lines(refusal.status, phrase(refusal.status), fields), framing, chunks, end=True)

    def _leave(self) -> None:
        """Have nothing to do with the client or the app any more."""
        self._stream = None
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.drop()
        else:
            self._service.pool.withdraw(self)
