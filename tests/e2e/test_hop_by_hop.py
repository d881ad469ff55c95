"""Fields that are meant for one connection go no further, in either direction (RFC 9110 section 7.6.1)."""

import pytest

from tests.e2e.raw_client import TlsClient, get, post
from tests.e2e.scripted_app import ScriptedApp, response

HOP_BY_HOP_REQUEST = [
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "TE: trailers",
    "Trailer: X-Sum",
    "Proxy-Authorization: Basic c2VjcmV0",
    "Upgrade: h2c",
    "HTTP2-Settings: AAMAAABkAAQAAP__",
]
HOP_BY_HOP_RESPONSE = [
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "Upgrade: h2c",
    "TE: trailers",
]


@pytest.mark.parametrize("line", HOP_BY_HOP_REQUEST)
def test_a_hop_by_hop_field_does_not_reach_the_app(client: TlsClient, app: ScriptedApp, line: str) -> None:
    """A request field for this connection only is dropped, its neighbours are kept."""
    client.get("/", "X-Before: kept", line, "X-After: kept")
    name = line.partition(":")[0].lower().encode()
    assert name not in app.request.names()
    assert app.request.get(b"X-Before") == app.request.get(b"X-After") == b"kept"


@pytest.mark.parametrize("line", HOP_BY_HOP_RESPONSE)
def test_a_hop_by_hop_field_does_not_reach_the_client(client: TlsClient, app: ScriptedApp, line: str) -> None:
    """A response field for that connection only is dropped, its neighbours are kept."""
    app.answer(response(b"ok", "X-Before: kept", line, "X-After: kept"))
    answer = client.get()
    name = line.partition(":")[0].lower().encode()
    assert name not in answer.names()
    assert answer.get(b"X-Before") == answer.get(b"X-After") == b"kept"


@pytest.mark.parametrize(
    "connection",
    [
        ["Connection: X-Private"],
        ["Connection: x-PRIVATE"],
        ["Connection: close, X-Private"],
        ["Connection: X-Other", "Connection: X-Private"],
        ["Connection:\t,X-Other ,\tX-Private\t,"],
        ["Connection: keep-alive,X-Private"],
    ],
)
def test_a_field_that_connection_names_does_not_reach_the_app(
    client: TlsClient, app: ScriptedApp, connection: list[str]
) -> None:
    """The client may declare any field of its own to be for this connection only."""
    client.get("/", "X-Private: 1", *connection, "X-Private: 2", "X-After: kept")
    assert app.request.all(b"X-Private") == []
    assert app.request.get(b"X-After") == b"kept"
    assert app.request.get(b"Connection") in (None, b"keep-alive")


def test_a_field_that_connection_names_does_not_reach_the_client(client: TlsClient, app: ScriptedApp) -> None:
    """So may the app."""
    app.answer(response(b"ok", "X-Private: 1", "Connection: x-private", "X-After: kept"))
    answer = client.get()
    assert answer.all(b"X-Private") == []
    assert answer.get(b"Connection") is None
    assert answer.get(b"X-After") == b"kept"


@pytest.mark.parametrize("name", ["Host", "Content-Length", "X-Forwarded-For", "X-Request-ID", "Forwarded"])
def test_connection_cannot_name_what_the_app_relies_on(client: TlsClient, app: ScriptedApp, name: str) -> None:
    """Host, the framing and what we tell the app stay, even if Connection names them."""
    client.ask(post("/", b"body", f"Connection: {name}"))
    assert app.request.get(name.encode())
    assert app.request.body == b"body"


def test_connection_cannot_name_transfer_encoding(client: TlsClient, app: ScriptedApp) -> None:
    """A chunked body stays a body, even if Connection names Transfer-Encoding."""
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n\r\n")
    assert client.ask(b"4\r\nbody\r\n0\r\n\r\n").status == 200
    assert (app.request.body, app.request.framing) == (b"body", "chunked")


def test_the_apps_connection_cannot_name_the_framing(client: TlsClient, app: ScriptedApp) -> None:
    """A response keeps its length, even if the app's Connection names it."""
    app.answer(response(b"body", "Connection: content-length"))
    answer = client.get()
    assert (answer.body, answer.framing) == (b"body", "length")


def test_the_clients_close_is_not_the_apps(client: TlsClient, app: ScriptedApp) -> None:
    """Connection: close of a client does not cost the connection to the app."""
    client.get("/", "Connection: close")
    assert app.request.get(b"Connection") in (None, b"keep-alive")


def test_the_apps_close_is_not_the_clients(client: TlsClient, app: ScriptedApp) -> None:
    """An app that closes after each response does not cost the client its connection."""

    app.answer(response(b"ok", "Connection: close"))
    for _ in range(3):
        answer = client.get()
        assert answer.get(b"Connection") is None
    assert len(app.requests) == 3


@pytest.mark.parametrize("upgrade", ["h2c", "H2C", "h2", "HTTP/2.0", "websocket, h2c", "h2c, foo"])
def test_no_upgrade_to_h2c_reaches_the_app(client: TlsClient, app: ScriptedApp, upgrade: str) -> None:
    """A client cannot tunnel HTTP/2 past us (h2c smuggling); the request is answered as HTTP/1.1."""
    fields = [
        "Connection: Upgrade, HTTP2-Settings",
        f"Upgrade: {upgrade}",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
    ]
    assert client.ask(get("/", *fields)).status == 200
    assert not {b"h2c", b"h2", b"http/2.0"} & set(app.request.head.lower().split())
    assert b"http2-settings" not in app.request.head.lower()
    offered = app.request.get(b"Upgrade")
    assert offered == {"websocket, h2c": b"websocket", "h2c, foo": b"foo"}.get(upgrade)
