"""The admin port over real sockets: what it answers, and what it does not."""

import asyncio
import http.client
import json
import logging
import resource
import select
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import pytest
import uvloop

from tlsproxy.chassis import http_server
from tlsproxy.chassis.admin.health import Condition
from tlsproxy.chassis.admin.server import AdminServer
from tlsproxy.chassis.measures import Measure

PROBES = ["/livez", "/startupz", "/readyz"]
PATHS = [*PROBES, "/status", "/metrics"]


class Reported:
    """What a sidecar would hand in; `failing` makes every callable raise."""

    def __init__(self) -> None:
        self.failing = False
        self.app = Condition("app", ok=True)
        self.hold: asyncio.Event | None = None
        self.asked = threading.Event()

    def _fail(self) -> None:
        if self.failing:
            raise LookupError("secret-detail")

    async def live(self) -> Iterable[Condition]:
        self._fail()
        return ()

    def started(self) -> Iterable[Condition]:
        self._fail()
        return (Condition("listening", ok=True), Condition("certificate", ok=True))

    async def ready(self) -> Iterable[Condition]:
        self._fail()
        self.asked.set()
        if self.hold:
            await self.hold.wait()
        return (Condition("certificate", ok=True), self.app)

    async def status(self) -> Mapping[str, object]:
        self._fail()
        return {"version": "0.1.0", "settings": {"CERT_NAME": "tls"}}

    async def measures(self) -> Iterable[Measure]:
        self._fail()
        return (Measure("tlsproxy_tunnels", "gauge", "Tunnels.", (), {(): 3}),)

    def admin(self) -> AdminServer:
        return AdminServer(
            live=self.live,
            started=self.started,
            ready=self.ready,
            status=self.status,
            measures=self.measures,
        )


def listening_socket() -> socket.socket:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    listening.setblocking(False)
    return listening


@contextmanager
def serving(reported: Reported, loop: asyncio.AbstractEventLoop) -> Iterator[int]:
    """The admin port on a loop in a thread of its own."""
    listening = listening_socket()
    port = listening.getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    admin = reported.admin()
    try:
        asyncio.run_coroutine_threadsafe(admin.start([listening]), loop).result(5)
        yield port
        asyncio.run_coroutine_threadsafe(admin.stop(), loop).result(5)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


@pytest.fixture
def reported() -> Reported:
    return Reported()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def port(request: pytest.FixtureRequest, reported: Reported) -> Iterator[int]:
    with serving(reported, request.param()) as number:
        yield number


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read().decode()
    finally:
        connection.close()


def exchange(port: int, data: bytes) -> bytes:
    """What comes back for these bytes until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(data)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/livez", "ok\n"),
        ("/startupz", "[+]listening\n[+]certificate\n"),
        ("/readyz", "[+]certificate\n[+]app\n"),
        ("/readyz?verbose", "[+]certificate\n[+]app\n"),
    ],
)
def test_probes(port: int, path: str, text: str) -> None:
    """Probes answer 200 and a line for each condition, as plain text that nobody may cache."""
    response, body = ask(port, path)
    assert (response.status, body) == (200, text)
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"


def test_not_ready(reported: Reported, port: int) -> None:
    """Readiness is 503 while a condition fails, and the other probes do not mind."""
    reported.app = Condition("app", ok=False, detail="connection refused")
    response, body = ask(port, "/readyz")
    assert (response.status, body) == (503, "[+]certificate\n[-]app: connection refused\n")
    assert ask(port, "/startupz")[0].status == 200


def test_status(port: int) -> None:
    """The status is indented JSON."""
    response, body = ask(port, "/status")
    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(body)["settings"] == {"CERT_NAME": "tls"}
    assert body.startswith('{\n  "version"')
    assert body.endswith("}\n")


def test_metrics(port: int) -> None:
    """Metrics are in Prometheus' text format."""
    response, body = ask(port, "/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "\ntlsproxy_tunnels 3\n" in body


@pytest.mark.parametrize("path", PATHS)
def test_head(port: int, path: str) -> None:
    """HEAD gets what GET gets, without the body."""
    response, body = ask(port, path, "HEAD")
    assert (response.status, body) == (200, "")
    if path != "/metrics":  # whose length changes with the process
        assert response.headers["Content-Length"] == ask(port, path)[0].headers["Content-Length"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_no_writes(port: int, method: str) -> None:
    """Methods other than GET and HEAD are refused, and the refusal names those two."""
    response, body = ask(port, "/status", method)
    assert (response.status, body) == (405, "method not allowed\n")
    assert response.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/nothing-here", "/livez/", "/status/settings", "//livez", "/%00", "/healthz"])
def test_unknown_path(port: int, path: str) -> None:
    """Every other path is 404 with the same line."""
    response, body = ask(port, path)
    assert (response.status, body) == (404, "not found\n")


@pytest.mark.parametrize("path", PATHS)
def test_callable_that_raises(reported: Reported, port: int, path: str, caplog: pytest.LogCaptureFixture) -> None:
    """A failure of ours is 500 with one plain line; what went wrong is in the log alone."""
    reported.failing = True
    response, body = ask(port, path, Accept="text/html")
    assert (response.status, body) == (500, "internal error, see the log\n")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    [record] = caplog.records
    assert (record.name, record.levelname) == ("tlsproxy.admin", "ERROR")
    assert path in record.getMessage()
    assert record.exc_info is not None
    assert "secret-detail" in str(record.exc_info[1])


@pytest.mark.parametrize("path", [*PATHS, "/nothing-here"])
def test_says_nothing_of_itself(port: int, path: str) -> None:
    """No answer has a Server field."""
    assert "Server" not in ask(port, path)[0].headers


@pytest.mark.parametrize(
    "data",
    [
        b"GET /livez?marker HTTP/1.1\r\nHost: marker\r\nbad field: marker\r\n\r\n",
        b"marker\x00\xff /livez HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03marker",
        b"GET /" + b"marker" * 500 + b" HTTP/1.1\r\n\r\n",
        b"GET /marker HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"MARKER /livez HTTP/1.1\r\nmarker: marker\r\nConnection: close\r\n\r\n",
    ],
)
def test_reflects_nothing(port: int, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of a request comes back, readable or not, and strangers write no errors into the log."""
    caplog.set_level(logging.INFO)
    answer = exchange(port, data)
    assert answer.startswith(b"HTTP/1.")
    assert answer[9:12] in {b"400", b"404", b"405"}
    assert b"marker" not in answer.lower()
    assert b"\r\nServer:" not in answer
    assert not caplog.records


@pytest.mark.parametrize(
    ("begin", "more", "status"),
    [
        (b"GET /", b"a" * 65536, b"400"),
        (b"GET /livez HTTP/1.1\r\nMarker: ", b"a" * 65536, b"400"),
        (b"GET /livez HTTP/1.1\r\n", b"Marker: a\r\n" * 6000, b"400"),
        (b"GET /livez HTTP/1.1\r\n", (b"Marker: " + b"a" * 8000 + b"\r\n") * 8, b"400"),
        (b"POST /status HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", b"a" * 65536, b"405"),
        (
            b"GET /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"8000\r\n" + b"a" * 0x8000 + b"\r\n",
            b"200",
        ),
    ],
    ids=["line", "field", "fields", "long fields", "body", "chunks"],
)
def test_nothing_without_end_is_read(port: int, begin: bytes, more: bytes, status: bytes) -> None:
    """A head or body without end is answered and hung up on within seconds, and what came of it is not kept."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(begin)
        answer = b""
        with suppress(ConnectionError):
            while True:
                connection.sendall(more)
                if select.select([connection], [], [], 0)[0]:
                    answer += connection.recv(65536)
    # What is hung up on while it goes on sending may lose its answer.
    assert answer[9:12] in {status, b""}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024, "KiB"
    assert ask(port, "/livez")[0].status == 200


def test_what_comes_before_an_answer_is_bounded(port: int) -> None:
    """Many heads without end at once take no more than one does: what lies behind a refused head is not read."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with ThreadPoolExecutor(24) as clients:
        list(clients.map(lambda _: send_without_end(port), range(24)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024, "KiB"
    assert ask(port, "/livez")[0].status == 200


MUCH = b"a" * 2**20


def send_without_end(port: int) -> None:
    """Until hung up on."""
    with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET /")
        while True:
            connection.sendall(MUCH)


def test_a_kept_connection_may_ask_for_ever(port: int) -> None:
    """What bounds a head does not add up: a scraper keeps its connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    for _ in range(3):
        connection.request("GET", "/livez", headers={"Padding": "a" * 8000} | {f"P{n}": "a" * 8000 for n in range(4)})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"ok\n")
    assert connection.sock is not None
    connection.close()


def test_idle_connections_do_not_keep_probes_out(port: int) -> None:
    """Above the bound the oldest connection is closed, and the new one served."""
    with ExitStack() as stack:
        oldest, *others = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            for _ in range(http_server._MAX_CONNECTIONS)
        ]
        assert ask(port, "/livez")[0].status == 200
        assert oldest.recv(1) == b""
        others[0].sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert others[0].recv(12) == b"HTTP/1.1 200"


def test_several_sockets() -> None:
    """One server answers on every socket it is given, as an IPv4 and an IPv6 one."""

    async def go() -> None:
        sockets = [listening_socket(), listening_socket()]
        ports = [listening.getsockname()[1] for listening in sockets]
        admin = Reported().admin()
        await admin.start(sockets)
        for number in ports:
            assert (await asyncio.to_thread(ask, number, "/livez"))[0].status == 200
        await admin.stop()
        for number in ports:
            with pytest.raises(ConnectionRefusedError):
                await asyncio.to_thread(ask, number, "/livez")

    asyncio.run(go())


def test_stop_lets_an_answer_finish() -> None:
    """A probe under way when the port closes gets its answer; stopping twice or unstarted is no error."""

    async def go() -> None:
        reported = Reported()
        reported.hold = asyncio.Event()
        admin = reported.admin()
        await admin.stop()
        listening = listening_socket()
        port = listening.getsockname()[1]
        await admin.start([listening])
        probe = asyncio.create_task(asyncio.to_thread(ask, port, "/readyz"))
        await asyncio.to_thread(reported.asked.wait, 5)
        stopping = asyncio.create_task(admin.stop())
        await asyncio.sleep(0)
        reported.hold.set()
        assert (await probe)[0].status == 200
        await stopping
        await admin.stop()

    asyncio.run(go())
