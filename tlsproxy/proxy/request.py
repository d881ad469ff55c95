"""A request's head between the parser that has read it and those who forward it. Pure: values, no decisions."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Message(Protocol):
    """A request head as the parser gives it (aiohttp's RawRequestMessage has this shape)."""

    @property
    def method(self) -> str:
        """In upper case, one that the parser knows."""

    @property
    def path(self) -> str:
        """The request target as it came; bytes that are no UTF-8 as surrogates."""

    @property
    def version(self) -> tuple[int, int]:
        """(1, 1) and the like."""

    @property
    def raw_headers(self) -> Sequence[tuple[bytes, bytes]]:
        """Names as they were written, and values, in their order."""

    @property
    def should_close(self) -> bool:
        """Whether the client's connection ends with this request."""

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""


class Request:
    """A request head, which keeps what the app was told of it for the next request of the connection that is alike.

    So one of these may serve many requests, one after the other: `path` is then another's.
    """

    __slots__ = ("chunked", "method", "path", "raw_fields", "should_close", "told", "version")

    def __init__(self, message: Message) -> None:
        self.method = message.method
        self.path = message.path
        self.version = message.version
        self.raw_fields = message.raw_headers
        self.should_close = message.should_close
        self.chunked = message.chunked
        self.told: Told | None = None
        """What `for_app` has made of its fields, if that holds for any other path; None before."""


class Told(NamedTuple):
    """What the app is told with a request, whatever its path and id."""

    rest: bytes
    """The head behind the target, up to the request's id."""
    host: bytes
    """The authority that the client asked for; empty when an HTTP/1.0 client named none."""
    request_id: bytes
    """As a trusted proxy gave it; empty: there is to be a new one."""
    client: str
    """The client's address, as the nearest trusted proxy saw it."""
    agent: bytes
    """User-Agent, empty when absent; so is `referer`."""
    referer: bytes
    expects: bool
    """Whether the client waits for 100 (RFC 9110 section 10.1.1)."""
    offered: bytes
    """The protocols that the connection may change to, as Upgrade names them; empty: it may not."""
