"""Client connections: opened a few at a time, then watched together by one epoll.

Each request of a connection is the same, and of an answer only what must be known is: where its head ends, whether it
is a 200, and that the body is as long as the load says. Another answer counts as none.
"""

import select
import socket
import ssl
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from bench.generator.task import Task
from bench.stream_app import ECHO, EVENTS, FAN_OUT, masked_frame

TIMEOUT = 20.0
# How many connections are opened at once, so that the two sides of a handshake need not wait for each other.
OPENERS = 8
MESSAGE = bytes(125)
RECEIVE = 65536
HEAD_END = b"\r\n\r\n"
OK = b"HTTP/1.1 200 "
NOT_YET = (ssl.SSLWantReadError, BlockingIOError)


class Client:
    """One connection.

    Attributes:
        socket: TLS or not; it does not block.
        request: what is sent again and again.
        size: bytes of each answer, its head not counted.
        headed: whether an answer begins with a head of HTTP.
        missing: bytes of the answer under way that have not come yet, as far as they are known: of the head, none.
        head: what has come of the head under way; None: it is complete.
        due: when the request under way should have been sent, of the monotonic clock.
    """

    __slots__ = ("due", "head", "headed", "missing", "request", "size", "socket")

    def __init__(self, connected: socket.socket, request: bytes, size: int, *, headed: bool = False) -> None:
        self.socket = connected
        self.request = request
        self.size = size
        self.headed = headed
        self.head: bytes | None = None
        self.missing = 0
        self.due = 0.0

    @property
    def waits(self) -> bool:
        """Whether an answer is under way."""
        return self.head is not None or self.missing > 0

    def send(self, due: float = 0.0) -> None:
        """Sends a request; OSError when the connection has ended or does not take it whole."""
        self.head = b"" if self.headed else None
        self.missing = self.size
        self.due = due
        if self.socket.send(self.request) < len(self.request):
            raise ConnectionError("a request was not taken whole")

    def receive(self) -> bool:
        """Reads what is there: whether the answer is complete. OSError when the connection ended, or it is another."""
        while self.waits:
            piece = self.read()
            if not piece:
                return False
            if self.head is not None:
                piece = self._behind_head(self.head + piece)
            self.missing -= len(piece)
        if self.missing < 0:
            raise ConnectionError("an answer is longer than it should be")
        return True

    def _behind_head(self, came: bytes) -> bytes:
        """What came behind the head, if that is complete."""
        end = came.find(HEAD_END)
        if end < 0:
            self.head = came
            return b""
        if not came.startswith(OK):
            raise ConnectionError(f"answered {came[:100]!r}")
        self.head = None
        return came[end + len(HEAD_END) :]

    def read(self) -> bytes:
        """What is there, empty for nothing yet; ConnectionError when the connection has ended."""
        try:
            piece = self.socket.recv(RECEIVE)
        except NOT_YET:
            return b""
        if not piece:
            raise ConnectionResetError
        return piece


class Watch:
    """The clients, and which of them have something to read."""

    def __init__(self) -> None:
        """To be made before the connections: select takes no descriptor above 1023."""
        self._epoll = select.epoll()
        self._clients: dict[int, Client] = {}

    def add(self, clients: Iterable[Client]) -> None:
        """From here on these are watched."""
        for client in clients:
            self._clients[client.socket.fileno()] = client
            self._epoll.register(client.socket.fileno(), select.EPOLLIN)

    def readable(self, within: float) -> Iterator[Client]:
        """Those that have something, after at most that many seconds.

        epoll counts in milliseconds, select on the epoll's own descriptor in microseconds.
        """
        select.select([self._epoll], [], [], within)
        for descriptor, _ in self._epoll.poll(0):
            yield self._clients[descriptor]

    def forget(self, client: Client) -> None:
        """Closes a connection that is of no more use."""
        self._epoll.unregister(client.socket.fileno())
        del self._clients[client.socket.fileno()]
        client.socket.close()


def open_clients(task: Task) -> list[Client]:
    """All connections of a task, each with its first answer had; for events one more, over which they are asked for.

    Raises:
        OSError: one was refused, or its first answer was not the one that is wanted.
    """
    context = client_context() if task.tls else None
    with ThreadPoolExecutor(OPENERS) as pool:
        clients = list(pool.map(lambda _: open_client(task, context), range(task.connections)))
    if task.kind == "events":
        clients.append(open_requester(task.port, context, FAN_OUT, 1))
    return clients


def client_context() -> ssl.SSLContext:
    """As wrk does it: no certificate is verified. Before any load `bench/probe.py` does."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def open_client(task: Task, context: ssl.SSLContext | None) -> Client:
    """One connection after its first exchange."""
    if task.kind == "requests":
        return open_requester(task.port, context, f"/{task.size}", task.size, task.headers)
    connected = connect(task.port, context)
    if task.kind == "messages":
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", KEY)
        first_answer(connected, request_head(task.port, ECHO, upgrade), b"HTTP/1.1 101 ", 0)
        client = Client(connected, masked_frame(MESSAGE), 2 + len(MESSAGE))
    else:
        first_answer(connected, request_head(task.port, EVENTS), OK, 0)
        client = Client(connected, b"", 0)
    connected.setblocking(False)
    return client


def open_requester(
    port: int, context: ssl.SSLContext | None, target: str, size: int, headers: tuple[str, ...] = ()
) -> Client:
    """A connection for requests of one target, whose answers have bodies of that size."""
    connected = connect(port, context)
    request = request_head(port, target, headers)
    first_answer(connected, request, OK, size)
    connected.setblocking(False)
    return Client(connected, request, size, headed=True)


# RFC 6455 section 1.3's own example.
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


def connect(port: int, context: ssl.SSLContext | None) -> socket.socket:
    """A connection, after its handshake if there is a context."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(plain, server_hostname="localhost") if context else plain


def request_head(port: int, target: str, headers: Iterable[str] = ()) -> bytes:
    """A GET."""
    return "\r\n".join([f"GET {target} HTTP/1.1", f"Host: localhost:{port}", *headers, "", ""]).encode()


def first_answer(connected: socket.socket, request: bytes, status: bytes, body: int) -> None:
    """Sends the request and waits for that many bytes behind the answer's head.

    Raises:
        ConnectionError: the status is another, or the connection ended.
    """
    connected.sendall(request)
    came = b""
    while (end := came.find(HEAD_END)) < 0 or len(came) < end + len(HEAD_END) + body:
        piece = connected.recv(RECEIVE)
        came += piece
        if not piece:
            raise ConnectionResetError(f"ended after {came[:100]!r}")
    if not came.startswith(status):
        raise ConnectionError(f"answered {came[:100]!r}")
