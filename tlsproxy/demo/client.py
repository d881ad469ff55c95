"""HTTPS as a client that means it: the certificate and the host name are verified, and said what they were."""

import http.client
import ssl
from dataclasses import dataclass
from typing import Self

HOST = "localhost"
TIMEOUT = 5.0  # seconds without an answer


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, whole."""

    status: int
    head: str
    """Status line and header, without the empty line."""
    body: bytes


class Client:
    """One connection to HOST; as a context manager it is closed at the end.

    Raises:
        OSError: nobody listens, or the handshake failed: `ssl.SSLCertVerificationError` where the certificate
            is not trusted or is for another host.
    """

    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        self._connection = http.client.HTTPSConnection(HOST, port, timeout=TIMEOUT, context=trust)
        self._connection.connect()
        if not isinstance(self._connection.sock, ssl.SSLSocket):
            raise TypeError("an HTTPS connection without TLS")
        tls = self._connection.sock
        self.version = tls.version() or ""
        """Of TLS, such as `TLSv1.3`."""
        self.serial = str((tls.getpeercert() or {})["serialNumber"])
        """The certificate's, in hexadecimal digits."""

    def __repr__(self) -> str:
        return f"<Client {self.version} serial={self.serial}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, target: str) -> Answer:
        """One request and its whole response.

        Raises:
            OSError: the connection failed.
            http.client.HTTPException: the response is none, or ended early.
        """
        self._connection.request("GET", target)
        response = self._connection.getresponse()
        status = f"HTTP/{response.version / 10} {response.status} {response.reason}"
        head = "\n".join([status, *(f"{name}: {value}" for name, value in response.getheaders())])
        return Answer(response.status, head, response.read())


def trusting(*authorities: bytes) -> ssl.SSLContext:
    """A context that verifies certificates of these CAs (PEM), and of no other, and the host's name."""
    return ssl.create_default_context(cadata=b"".join(authorities).decode())
