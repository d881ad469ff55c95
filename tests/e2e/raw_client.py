"""A client that says exactly the bytes it is told, over plain TCP or TLS, and sees how the other side ends.

TLS runs over memory here (ssl.SSLObject), not over ssl.SSLSocket, because tests cut the handshake anywhere,
put a request into the packet of the client's Finished, send close_notify without FIN, and tell the other side's
close_notify, FIN and RST apart.
"""

import contextlib
import select
import socket
import ssl
import struct
from types import TracebackType
from typing import Literal, Self

from tests.e2e import messages
from tests.e2e.messages import Reader, Response

TIMEOUT = 8.0
PIECE = 65536

Ending = Literal["close_notify", "fin", "reset"]


class RawClient:
    """One plain TCP connection."""

    def __init__(
        self,
        port: int,
        host: str = "127.0.0.1",
        receive_buffer: int | None = None,
        source: str | None = None,
    ) -> None:
        self.socket = _connect(host, port, receive_buffer, source)
        self.reader = Reader(self.receive)
        self.ended: Ending | None = None
        """How the other side ended, once `receive` has returned b""."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, *pieces: bytes) -> None:
        """Send the pieces, each in a packet of its own."""
        for piece in pieces:
            self.socket.sendall(piece)

    def receive(self) -> bytes:
        """The next bytes past the reader; b"" at the end, and `ended` says which."""
        try:
            data = self.socket.recv(PIECE)
        except (ConnectionResetError, BrokenPipeError):
            self.ended = "reset"
            return b""
        if not data:
            self.ended = self.ended or "fin"
        return data

    def read_response(self, method: str = "GET") -> Response:
        """The next response, complete; `messages.IncompleteError` when the stream ends before it does."""
        return messages.read_response(self.reader, method)

    def read_head(self) -> Response:
        """The next response's head; its body is left in the stream."""
        return messages.read_response_head(self.reader)

    def read_body(self, response: Response) -> Response:
        """The response whose head has been read, with its body."""
        messages.read_response_body(self.reader, response)
        return response

    def read_chunk(self) -> bytes:
        """The next chunk of a chunked body; b"" for the last one."""
        return messages.read_chunk(self.reader)

    def read_to_end(self) -> bytes:
        """Everything until the other side ends."""
        return self.reader.rest()

    def ask(self, request: bytes, method: str = "GET") -> Response:
        """Send a request and read its response."""
        self.send(request)
        return self.read_response(method)

    def get(self, target: str = "/", *fields: str) -> Response:
        """GET a target with extra field lines, and read the response."""
        return self.ask(get(target, *fields))

    def is_silent(self, for_: float = 0.2) -> bool:
        """Whether nothing comes, not even an end, for that many seconds."""
        self.socket.settimeout(for_)
        try:
            self.reader.buffer += self.receive()
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(TIMEOUT)
        return False

    def wait_readable(self) -> None:
        """Wait until something has come, and leave it unread."""
        assert select.select([self.socket], [], [], TIMEOUT)[0], "nothing has come"

    def finish_sending(self) -> None:
        """End the sending half and go on reading: FIN."""
        self.socket.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """Vanish with a reset."""
        reset(self.socket)

    def close(self) -> None:
        """Close without a word; may be called twice."""
        self.socket.close()


class TlsClient(RawClient):
    """One TLS connection, its handshake done unless `handshake` is False."""

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext,
        *,
        server_name: str | None = "localhost",
        session: ssl.SSLSession | None = None,
        handshake: bool = True,
        host: str = "127.0.0.1",
        receive_buffer: int | None = None,
        source: str | None = None,
    ) -> None:
        super().__init__(port, host, receive_buffer, source)
        self._incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self.outgoing, server_hostname=server_name, session=session)
        if handshake:
            try:
                self.handshake()
            except BaseException:
                self.close()
                raise

    def handshake(self, piece: int = PIECE, unsent: bool = False) -> None:
        """Shake hands, `piece` bytes a packet; `unsent` leaves the client's Finished for the next `send`."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush(piece)
                self._fill()
            except ssl.SSLError:
                self._flush(piece)
                raise
            else:
                break
        if not unsent:
            self._flush(piece)

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.tls.write(piece)
            self._flush()

    def receive(self) -> bytes:
        while True:
            try:
                data = self.tls.read(PIECE)
            except ssl.SSLWantReadError:
                if not self._fill():
                    return b""
                self._flush()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                self.ended = "close_notify"
                return b""
            else:
                if not data:
                    self.ended = "close_notify"
                return data

    def read_fin(self) -> Ending | None:
        """How the TCP connection ends after close_notify."""
        self.ended = None
        while super().receive():
            pass
        return self.ended

    def finish_sending(self) -> None:
        """End the sending half and go on reading: close_notify, without FIN."""
        with contextlib.suppress(ssl.SSLError):  # the answer is not waited for, nor what comes before it read
            self.tls.unwrap()
        self._flush()

    def end_tcp(self) -> None:
        """End the sending half of the TCP connection below: FIN."""
        super().finish_sending()

    def _flush(self, piece: int = PIECE) -> None:
        data = self.outgoing.read()
        for start in range(0, len(data), piece):
            self.socket.sendall(data[start : start + piece])

    def _fill(self) -> bool:
        data = super().receive()
        if not data:
            if self.tls.version() is None:
                raise ConnectionError(f"the server ended the handshake without an alert: {self.ended}")
            return False
        self._incoming.write(data)
        return True


def get(target: str = "/", *fields: str, host: str = "localhost") -> bytes:
    """A GET request with extra field lines, as bytes."""
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def post(target: str, body: bytes, *fields: str, host: str = "localhost") -> bytes:
    """A POST request with a Content-Length and extra field lines, as bytes."""
    lines = [f"POST {target} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def reset(connection: socket.socket) -> None:
    """Close a socket with RST in place of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _connect(host: str, port: int, receive_buffer: int | None, source: str | None) -> socket.socket:
    connection = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    connection.settimeout(TIMEOUT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        if source is not None:
            connection.bind((source, 0))
        connection.connect((host, port))
    except BaseException:
        connection.close()
        raise
    return connection
