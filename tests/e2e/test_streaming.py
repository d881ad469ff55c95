"""Bodies flow piece by piece, neither waited for nor piled up, in both directions."""

import queue
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.e2e.polling import wait_until, wait_until_still
from tests.e2e.raw_client import TlsClient, get
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

MEBI = 1 << 20
BODY = 128 * MEBI
MEMORY = 8 * MEBI
"""By how much the process may grow for a body of any size."""
KERNEL = 48 * MEBI
"""What the four socket buffers on the way may hold at most when nobody reads at the end."""


def test_events_arrive_one_by_one(client: TlsClient, app: ScriptedApp) -> None:
    """Each server-sent event reaches the client before the app has sent the next."""
    events: queue.Queue[bytes] = queue.Queue()

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while event := events.get(timeout=5):
            connection.send(event)

    app.script(script)
    client.send(get("/events"))
    assert client.read_head().get(b"Content-Type") == b"text/event-stream"
    for index in range(5):
        event = f"data: {index}\n\n".encode()
        events.put(event)
        assert client.read_chunk() == event
    events.put(b"")
    assert client.read_chunk() == b""


def test_a_long_poll_is_held_and_answered(client: TlsClient, app: ScriptedApp) -> None:
    """The client hears nothing until the app answers, and then at once."""
    news = threading.Event()

    def script(connection: AppConnection) -> None:
        connection.read_request()
        news.wait(5)
        connection.send(response(b"news"))

    app.script(script)
    client.send(get("/poll"))
    app.wait_for_requests(1)
    assert client.is_silent()
    news.set()
    assert client.read_response().body == b"news"


def test_a_slow_upload_arrives_piece_by_piece(client: TlsClient, app: ScriptedApp) -> None:
    """Each piece of a request body reaches the app before the client has sent the next."""
    client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15\r\n\r\n")
    for index in range(3):
        client.send(b"piece")
        wait_until(partial(has_pieces, app, index + 1), f"{index + 1} pieces at the app")
    assert client.read_response().status == 200


def test_a_chunk_arrives_before_it_is_complete(client: TlsClient, app: ScriptedApp) -> None:
    """A piece of a chunk is not held back until the chunk is whole."""
    client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n100\r\nearly")
    wait_until(lambda: app.connections and b"early" in app.connections[0].raw, "the first piece at the app")
    client.send(b"x" * 251 + b"\r\n0\r\n\r\n")
    assert client.read_response().status == 200
    assert app.request.body == b"early" + b"x" * 251


def test_app_and_client_may_talk_at_the_same_time(client: TlsClient, app: ScriptedApp) -> None:
    """An app that answers while it reads is forwarded while the client sends."""

    def script(connection: AppConnection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        for _ in range(5):
            connection.send(connection.reader.exactly(2))

    app.script(script)
    client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n")
    assert client.read_head().status == 200
    for index in range(5):
        client.send(b"%d." % index)
        assert client.reader.exactly(2) == b"%d." % index


def test_a_large_download_takes_no_memory(client: TlsClient, app: ScriptedApp, shared_sidecar: Sidecar) -> None:
    """The process stays small however large the response body is."""
    app.script(lambda connection: send_body(connection, BODY))
    shared_sidecar.forget_peak_memory()
    before = shared_sidecar.peak_memory()
    client.send(get())
    client.read_head()
    assert count_to(client, BODY) == BODY
    assert shared_sidecar.peak_memory() - before < MEMORY


def test_a_large_upload_takes_no_memory(client: TlsClient, app: ScriptedApp, shared_sidecar: Sidecar) -> None:
    """The process stays small however large the request body is."""
    app.script(count_body)
    shared_sidecar.forget_peak_memory()
    before = shared_sidecar.peak_memory()
    client.send(f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY}\r\n\r\n".encode())
    for _ in range(BODY // MEBI):
        client.send(b"x" * MEBI)
    assert client.read_response().body == str(BODY).encode()
    assert shared_sidecar.peak_memory() - before < MEMORY


def test_a_slow_reader_holds_the_app(shared_sidecar: Sidecar, app: ScriptedApp) -> None:
    """When the client does not read, the app can't send, and nothing piles up between them."""
    app.script(lambda connection: send_body(connection, BODY))
    shared_sidecar.forget_peak_memory()
    before = shared_sidecar.peak_memory()
    with shared_sidecar.connect(receive_buffer=65536) as client:
        client.send(get())
        connection = app.wait_for_connections(1)[0]
        wait_until(lambda: connection.sent, "the response")
        assert wait_until_still(lambda: connection.sent, "the app's sending") < KERNEL
        assert shared_sidecar.peak_memory() - before < MEMORY
        client.read_head()
        assert count_to(client, BODY) == BODY


def test_a_slow_reader_slows_nobody_else(shared_sidecar: Sidecar, app: ScriptedApp) -> None:
    """Others are served while a client does not read."""

    def script(connection: AppConnection) -> None:
        if connection.number == 0:
            send_body(connection, BODY)
        while connection.read_request():
            connection.send(response(b"ok"))

    app.script(script)
    with shared_sidecar.connect(receive_buffer=65536) as slow:
        slow.send(get())
        connection = app.wait_for_connections(1)[0]
        wait_until(lambda: connection.sent, "the response")
        wait_until_still(lambda: connection.sent, "the app's sending")
        assert shared_sidecar.get().body == b"ok"


def test_a_slow_app_holds_the_client(client: TlsClient, app: ScriptedApp, shared_sidecar: Sidecar) -> None:
    """When the app does not read, the client can't send, and nothing piles up between them."""
    go = threading.Event()

    def script(connection: AppConnection) -> None:
        go.wait(8)
        count_body(connection)

    app.script(script)
    shared_sidecar.forget_peak_memory()
    before, sent = shared_sidecar.peak_memory(), 0

    def upload() -> None:
        nonlocal sent
        client.send(f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY}\r\n\r\n".encode())
        for _ in range(BODY // 65536):
            client.send(b"x" * 65536)
            sent += 65536

    with ThreadPoolExecutor() as threads:
        uploading = threads.submit(upload)
        wait_until(lambda: sent, "the upload")
        assert wait_until_still(lambda: sent, "the client's sending") < KERNEL
        assert shared_sidecar.peak_memory() - before < MEMORY
        go.set()
        uploading.result()
    assert client.read_response().body == str(BODY).encode()


def test_pipelined_requests_do_not_pile_up(client: TlsClient, app: ScriptedApp, shared_sidecar: Sidecar) -> None:
    """While a request is under way, only so many of the next ones are read from the client."""
    app.script(lambda connection: connection.wait_closed())
    shared_sidecar.forget_peak_memory()
    before, sent = shared_sidecar.peak_memory(), 0
    request = get("/", "X-Filler: " + "x" * 8000)

    def pipeline() -> None:
        nonlocal sent
        while sent < BODY:
            client.send(request * 8)
            sent += len(request) * 8

    with ThreadPoolExecutor() as threads:
        sending = threads.submit(pipeline)
        wait_until(lambda: sent, "the first requests")
        assert wait_until_still(lambda: sent, "the client's sending") < KERNEL
        assert shared_sidecar.peak_memory() - before < MEMORY
        client.socket.shutdown(socket.SHUT_RDWR)
        assert sending.exception() is not None


def has_pieces(app: ScriptedApp, count: int) -> bool:
    """Whether so many pieces of the body have come."""
    return bool(app.connections) and app.connections[0].raw.count(b"piece") == count


def send_body(connection: AppConnection, size: int) -> None:
    """Answer one request with a body of that size."""
    connection.read_request()
    connection.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
    for _ in range(size // MEBI):
        connection.send(b"x" * MEBI)


def count_body(connection: AppConnection) -> None:
    """Answer one request with the size of its body, which is not kept."""
    request = connection.read_head()
    assert request is not None
    connection.recording = False
    size = int(request.get(b"Content-Length") or 0)
    left = size
    while left > 0 and (data := connection.reader.some()):
        left -= len(data)
    connection.send(response(str(size - left).encode()))


def count_to(client: TlsClient, size: int) -> int:
    """Read that many bytes, keep none, and return how many came."""
    count = 0
    while count < size and (data := client.reader.some()):
        count += len(data)
    return count
