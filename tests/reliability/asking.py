"""Requests that can be checked: from its number alone follow what is sent, and what must come back.

Knows bytes, and no sockets. Client and app check one another: what each sends says its number and its digest.
"""

import hashlib
import random
from dataclasses import dataclass
from typing import Literal

Method = Literal["GET", "DELETE", "PUT", "POST"]

SIZES = (0, 1, 30, 300, 300, 3000, 3000, 20_000, 70_000)
WITHOUT_BODY: tuple[Method, ...] = ("GET", "GET", "GET", "GET", "DELETE")
WITH_BODY: tuple[Method, ...] = ("POST", "POST", "POST", "PUT")
EMPTY_POSTS = 0.05


@dataclass(frozen=True)
class Asking:
    """One request, and the answer to it."""

    number: int
    method: Method
    sent: int | None
    """Bytes of the request's body; None: it has none."""
    wanted: int
    """Bytes of the response's body."""
    chunked: bool
    """Whether the request's body comes in chunks."""
    answered_chunked: bool

    @property
    def repeatable(self) -> bool:
        """Whether it may reach the app twice (RFC 9110 section 9.2.2, and a body is never sent again)."""
        return self.sent is None and self.method != "POST"

    def request(self) -> bytes:
        """The request as bytes."""
        body = content("asked", self.number, self.sent or 0)
        head = (
            f"{self.method} /{self.number}/{self.wanted}/{int(self.answered_chunked)} HTTP/1.1\r\nHost: localhost\r\n"
        )
        if self.sent is None:
            return head.encode() + b"\r\n"
        head += f"X-Digest: {digest(body)}\r\n"
        if self.chunked:
            return head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + in_chunks(body)
        return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def fault_in(self, fields: dict[bytes, bytes], body: bytes) -> str:
        """What is wrong with an answer of the app's; empty when it is the right one, and whole."""
        if fields.get(b"x-number") != b"%d" % self.number:
            return f"{self.number} got the answer to {fields.get(b'x-number')!r}"
        if body != content("answer", self.number, self.wanted):
            return f"{self.number} got {len(body)} bytes in place of {self.wanted}, or others"
        if fields.get(b"x-digest") != digest(body).encode():
            return f"{self.number} got a body that is not what was announced"
        sent = content("asked", self.number, self.sent or 0)
        if fields.get(b"x-received") != digest(sent).encode():
            return f"the body of {self.number} came to the app as another one"
        return ""


def asking(seed: int, number: int) -> Asking:
    """The request of that number; always the same for the same two."""
    chance = random.Random(f"{seed}/{number}")  # noqa: S311  no secret
    has_body = chance.random() < 0.5
    method = "POST" if chance.random() < EMPTY_POSTS else chance.choice(WITH_BODY if has_body else WITHOUT_BODY)
    sent = chance.choice(SIZES) if method in WITH_BODY else None
    return Asking(number, method, sent, chance.choice(SIZES), chance.random() < 0.5, chance.random() < 0.5)


def content(side: str, number: int, size: int) -> bytes:
    """A body of so many bytes that is nobody else's."""
    word = f"{side} {number}; ".encode()
    return (word * (size // len(word) + 1))[:size]


def digest(body: bytes) -> str:
    """What a body is known by."""
    return hashlib.sha256(body).hexdigest()


def in_chunks(body: bytes) -> bytes:
    """A body in chunks of odd sizes (RFC 9112 section 7.1)."""
    step = max(1, len(body) // 3)
    pieces = [body[start : start + step] for start in range(0, len(body), step)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
