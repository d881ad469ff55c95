"""When the app can't answer, the client is told so at once, in one line, with a way to find the reason."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.messages import Response
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port
from tests.e2e.raw_client import TlsClient, get, post
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar


@pytest.fixture(scope="module")
def impatient_sidecar(launch: Launch, session_app: ScriptedApp) -> Iterator[Sidecar]:
    """A sidecar that gives the app half a second to answer."""
    with launch(APP_PORT=session_app.port, RESPONSE_TIMEOUT="500ms") as process:
        yield process


@pytest.fixture(scope="module")
def lonely_sidecar(launch: Launch) -> Iterator[Sidecar]:
    """A sidecar whose app is not there, and is not waited for."""
    with launch(APP_PORT=free_port(), APP_WAIT=0) as process:
        yield process


@pytest.fixture(scope="module")
def patient_sidecar(launch: Launch) -> Iterator[Sidecar]:
    """A sidecar whose app is there when a test starts one at its APP_PORT."""
    with launch(APP_PORT=free_port(), APP_WAIT="8s") as process:
        yield process


def assert_ours(answer: Response, status: int, error: str) -> None:
    """It is ours: status, RFC 9209 error, one line of text with the request id and nothing of our inside."""
    assert answer.status == status
    told = answer.get(b"Proxy-Status")
    assert told is not None
    assert told.split(b";")[0] == b"tlsproxy"
    assert f"error={error}".encode() in [part.strip() for part in told.split(b";")]
    identifier = answer.get(b"X-Request-ID")
    assert identifier
    assert (answer.get(b"Content-Type") or b"").startswith(b"text/plain")
    assert answer.body.count(b"\n") == 1
    assert answer.body.endswith(b"\n")
    assert identifier in answer.body
    assert b"TLSPROXY" not in answer.body


def test_an_absent_app_is_a_502_at_once(lonely_sidecar: Sidecar) -> None:
    """With APP_WAIT=0 a refused connection is answered at once, and the client's connection stays."""
    with lonely_sidecar.connect() as client:
        began = time.monotonic()
        for _ in range(2):
            assert_ours(client.get("/absent"), 502, "connection_refused")
        assert_ours(client.ask(post("/absent", b"body")), 502, "connection_refused")
        assert time.monotonic() - began < 1
    line = lonely_sidecar.wait_for_line(target="/absent", status=502)
    assert line["reason"] == "app_refused"


def test_an_absent_app_is_waited_for(sidecar: Launch) -> None:
    """A request is held for APP_WAIT, then answered 503 with Retry-After."""
    process = sidecar(APP_PORT=free_port(), APP_WAIT="1s")
    began = time.monotonic()
    answer = process.get("/absent")
    assert 0.9 < time.monotonic() - began < 3
    assert_ours(answer, 503, "connection_refused")
    assert int(answer.get(b"Retry-After") or b"") >= 1
    assert process.wait_for_line(target="/absent", status=503)["reason"] == "app_refused"
    process.wait_for_stderr("TLSPROXY_APP_WAIT")


def test_an_app_that_starts_late_loses_no_request(patient_sidecar: Sidecar) -> None:
    """Requests held while the app is away are answered by it when it comes, bodies included."""
    with ThreadPoolExecutor() as threads, patient_sidecar.connect() as client:
        held = [threads.submit(patient_sidecar.get, f"/{index}") for index in range(3)]
        client.send(post("/post", b"body"))
        assert client.is_silent(0.4)
        with app_of(patient_sidecar) as app:
            assert [request.result().status for request in held] == [200] * 3
            assert client.read_response().status == 200
            assert sorted(request.target for request in app.requests) == [b"/0", b"/1", b"/2", b"/post"]
            assert next(request for request in app.requests if request.target == b"/post").body == b"body"


def test_an_app_that_restarts_loses_no_request(patient_sidecar: Sidecar) -> None:
    """A request that comes while the app restarts is answered by its successor."""
    with patient_sidecar.connect() as client:
        with app_of(patient_sidecar) as app:
            app.answer(response(b"old"))
            assert client.get().body == b"old"
        client.send(get())
        assert client.is_silent(0.3)
        with app_of(patient_sidecar):
            assert client.read_response().body == b"ok"


def test_an_app_that_does_not_accept_is_a_504(sidecar: Launch) -> None:
    """A connection that is neither accepted nor refused is given up after CONNECT_TIMEOUT."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(address)
        process = sidecar(APP_PORT=address[1], CONNECT_TIMEOUT="500ms", APP_WAIT=0)
        answer = process.get("/full")
        for connection in waiting:
            connection.close()
    assert_ours(answer, 504, "connection_timeout")
    assert process.wait_for_line(target="/full")["reason"] in ("app_refused", "app_timeout")
    process.wait_for_stderr("TLSPROXY_CONNECT_TIMEOUT")


def test_a_silent_app_is_a_504(impatient_sidecar: Sidecar, app: ScriptedApp) -> None:
    """An app that takes the request and says nothing is given up after RESPONSE_TIMEOUT, and let go."""
    ended: list[str] = []
    app.script(lambda connection: ended.append(connection.wait_closed()))
    with impatient_sidecar.connect() as client:
        assert_ours(client.get("/silent"), 504, "http_response_timeout")
        wait_until(lambda: ended, "the end of the connection to the app")
        app.script(lambda connection: answer_once(connection, response(b"ok")))
        assert client.get().status == 200
    assert impatient_sidecar.wait_for_line(target="/silent")["reason"] == "app_timeout"
    impatient_sidecar.wait_for_stderr("TLSPROXY_RESPONSE_TIMEOUT")


def test_an_app_that_falls_silent_is_cut(impatient_sidecar: Sidecar, app: ScriptedApp) -> None:
    """RESPONSE_TIMEOUT applies between pieces of a body too; what came is not made to look complete."""

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        connection.wait_closed()

    app.script(script)
    with impatient_sidecar.connect() as client:
        client.send(get("/stalled"))
        assert client.read_head().status == 200
        assert client.read_to_end() == b"half"
    assert impatient_sidecar.wait_for_line(target="/stalled")["reason"] in ("app_timeout", "app_truncated")


def test_a_slow_app_has_time_for_each_piece(impatient_sidecar: Sidecar, app: ScriptedApp) -> None:
    """RESPONSE_TIMEOUT bounds the pause between two pieces, not the whole response."""

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        for _ in range(5):
            time.sleep(0.25)
            connection.send(b".")

    app.script(script)
    assert impatient_sidecar.get().body == b"....."


def test_an_interim_response_gives_the_app_time(impatient_sidecar: Sidecar, app: ScriptedApp) -> None:
    """RESPONSE_TIMEOUT begins anew with each 102: the app says that it is at work."""

    def script(connection: AppConnection) -> None:
        connection.read_request()
        for _ in range(5):
            connection.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            time.sleep(0.25)
        connection.send(response(b"done"))

    app.script(script)
    with impatient_sidecar.connect() as client:
        client.send(get())
        assert [client.read_response().status for _ in range(6)] == [102] * 5 + [200]


@pytest.mark.parametrize("ending", [AppConnection.close, AppConnection.reset], ids=["fin", "reset"])
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"], ids=["nothing", "half a head"])
def test_an_app_that_hangs_up_is_a_502(
    client: TlsClient, app: ScriptedApp, ending: Callable[[AppConnection], None], said: bytes
) -> None:
    """An app that closes before its response head is complete is reported as such, and not asked again."""

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(said)
        ending(connection)

    app.script(script)
    answer = client.get("/hangs-up")
    assert_ours(answer, 502, "connection_terminated")
    assert len(app.requests) == 1


@pytest.mark.parametrize(("answer", "reason"), [(b"nonsense\r\n\r\n", "app_invalid"), (b"", "app_reset")])
def test_an_answer_of_ours_is_logged(
    client: TlsClient, app: ScriptedApp, shared_sidecar: Sidecar, answer: bytes, reason: str
) -> None:
    """The request line has our status and why it was not the app's."""
    app.script(lambda connection: answer_once(connection, answer))
    client.get(f"/{reason}")
    line = shared_sidecar.wait_for_line(target=f"/{reason}")
    assert (line["status"], line["reason"]) == (502, reason)


def test_errors_have_no_body_for_head(lonely_sidecar: Sidecar) -> None:
    """Our answer to HEAD ends with its head, and the connection stays usable."""
    with lonely_sidecar.connect() as client:
        for _ in range(2):
            assert client.ask(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HEAD").status == 502
        assert client.get().status == 502


def test_an_app_on_a_unix_socket_is_reached(sidecar: Launch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """APP_SOCKET takes the place of host and port; a socket that nobody has made is an app that is away."""
    path = str(tmp_path_factory.mktemp("app") / "app.sock")
    process = sidecar(APP_SOCKET=path, APP_WAIT=0)
    assert_ours(process.get(), 502, "connection_refused")
    with ScriptedApp(unix_socket=path) as app:
        assert process.get("/socket").body == b"ok"
        assert app.request.target == b"/socket"


def test_an_app_on_ipv6_is_reached(sidecar: Launch) -> None:
    """APP_HOST may be an IPv6 address."""
    with ScriptedApp(host="::1") as app:
        assert sidecar(APP_HOST="::1", APP_PORT=app.port).get().body == b"ok"


def app_of(process: Sidecar) -> ScriptedApp:
    """An app at the port where the sidecar expects it."""
    return ScriptedApp(int(process.settings["APP_PORT"]))


def answer_once(connection: AppConnection, answer: bytes) -> None:
    """Answer one request and close."""
    connection.read_request()
    connection.send(answer)
