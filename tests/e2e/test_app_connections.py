"""APP_CONNECTIONS is how many requests the app is given at once; the others wait in order, for so long."""

import threading

from tests.e2e.conftest import Launch
from tests.e2e.raw_client import get, post
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response


def test_the_app_is_given_one_request_at_a_time(sidecar: Launch, app: ScriptedApp) -> None:
    """With APP_CONNECTIONS=1 requests of several clients reach the app one after the other, in their order."""
    go = threading.Semaphore(0)

    def script(connection: AppConnection) -> None:
        while request := connection.read_request():
            assert go.acquire(timeout=8)
            connection.send(response(request.target))

    app.script(script)
    process = sidecar(APP_CONNECTIONS=1)
    clients = [process.connect() for _ in range(4)]
    for index, client in enumerate(clients):
        client.send(post(f"/{index}", b"body"))
        assert client.is_silent(0.05)
    for index, client in enumerate(clients):
        assert [request.target for request in app.wait_for_requests(index + 1)] == [
            f"/{place}".encode() for place in range(index + 1)
        ]
        go.release()
        assert client.read_response().body == f"/{index}".encode()
        client.close()
    assert len(app.connections) == 1


def test_a_request_that_waits_too_long_is_a_503(sidecar: Launch, app: ScriptedApp) -> None:
    """After RESPONSE_TIMEOUT it is answered, the app never hears of it, and its connection goes on."""
    go = threading.Event()

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while not go.wait(0.1):
            connection.send(b"x")

    app.script(script)
    process = sidecar(APP_CONNECTIONS=1, RESPONSE_TIMEOUT="500ms")
    with process.connect() as first, process.connect() as second:
        first.send(get("/first"))
        head = first.read_head()
        for _ in range(2):
            answer = second.get("/second")
            assert (answer.status, answer.get(b"Retry-After"), answer.get(b"Connection")) == (503, b"1", None)
        go.set()
        assert first.read_body(head).status == 200
    assert process.wait_for_line(target="/second")["reason"] == "overloaded"
    assert app.request.target == b"/first"
