"""What a client gets through the sidecar, held against what it gets from the app directly.

All fields are compared, in their order, but those that docs/http.md says are changed. The direct request says to the
app what the sidecar would say, so that the app's own answer to that does not differ.
"""

import hashlib
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import urllib3

from tests.e2e.sidecar_process import Sidecar

TIMEOUT = 15.0
PIECE = 65536

OF_ONE_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"})
ADDED = frozenset({"x-request-id"})

TOLD = {
    "X-Forwarded-For": "127.0.0.1",
    "Forwarded": "for=127.0.0.1;host=localhost;proto=https",
    "X-Real-IP": "127.0.0.1",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "localhost",
    "X-Forwarded-Port": "443",
    "X-Request-ID": "made-for-each",
}
"""What the sidecar tells the app of a request for `localhost`, behind the request's own fields."""

Fields = list[tuple[str, str]]


@dataclass(frozen=True)
class Ask:
    """A request, and the status that it is answered with; a body in several pieces goes in chunks."""

    status: int
    line: str
    """Method and target."""
    fields: tuple[str, ...] = ()
    body: tuple[bytes, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.line, *self.fields])

    @property
    def method(self) -> str:
        return self.line.split()[0]

    @property
    def target(self) -> str:
        return self.line.split()[1]

    def headers(self) -> dict[str, str]:
        """The extra fields by name."""
        return {name: value.strip() for name, _, value in (line.partition(":") for line in self.fields)}

    def content(self) -> bytes | Iterator[bytes] | None:
        """The body as client libraries take it: an iterator where it is to go in chunks."""
        return iter(self.body) if len(self.body) > 1 else b"".join(self.body) or None


@dataclass(frozen=True)
class Answer:
    """What of a response has to be equal."""

    status: int
    reason: str | None
    fields: Fields
    length: int
    digest: str


class Fronted:
    """An app on a port, and a sidecar in front of it."""

    def __init__(self, app_port: int, sidecar: Sidecar) -> None:
        self.app_port = app_port
        self.sidecar = sidecar
        self.trust: ssl.SSLContext = sidecar.trust
        self.urls = (f"http://127.0.0.1:{app_port}", f"https://localhost:{sidecar.port}")
        """Direct, and through the sidecar."""
        self._direct = urllib3.HTTPConnectionPool("127.0.0.1", app_port, timeout=TIMEOUT, retries=False)
        self._through = urllib3.HTTPSConnectionPool(
            "localhost", sidecar.port, timeout=TIMEOUT, retries=False, ssl_context=self.trust
        )

    def close(self) -> None:
        """Close the connections that were kept."""
        self._direct.close()
        self._through.close()

    def ask_both(self, ask: Ask) -> tuple[Answer, Answer]:
        """The answers: direct, and through the sidecar."""
        return self._ask(self._direct, ask, TOLD), self._ask(self._through, ask, {})

    def compare(self, ask: Ask) -> Answer:
        """The answer, which has the status that was asked for and is the same both ways."""
        direct, through = self.ask_both(ask)
        assert through == direct
        assert through.status == ask.status
        return through

    def _ask(self, pool: urllib3.HTTPConnectionPool, ask: Ask, told: dict[str, str]) -> Answer:
        response = pool.urlopen(
            ask.method,
            ask.target,
            body=ask.content(),
            headers={"Host": "localhost", **ask.headers(), **told},
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        length, digest = digested(response.stream(PIECE, decode_content=False))
        response.release_conn()
        return Answer(response.status, response.reason, comparable(response.headers.items()), length, digest)


def comparable(fields: Iterable[tuple[str, str]]) -> Fields:
    """The fields that have to be equal; the time of day is left out of Date."""
    return [
        (name, "" if name.lower() == "date" else value)
        for name, value in fields
        if name.lower() not in OF_ONE_HOP | ADDED
    ]


def digested(pieces: Iterable[bytes]) -> tuple[int, str]:
    """The length and the SHA-256 of what comes in pieces."""
    length, digest = 0, hashlib.sha256()
    for piece in pieces:
        length += len(piece)
        digest.update(piece)
    return length, digest.hexdigest()
