"""What is forwarded arrives as it was sent, both ways: start lines, fields, bodies and their framing."""

import random

import pytest

from tests.e2e.messages import Request
from tests.e2e.raw_client import TlsClient, get, post
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

OURS = {b"x-request-id"}


def test_a_request_is_answered_by_the_app(client: TlsClient, app: ScriptedApp) -> None:
    """The response is the app's, as it came."""
    app.answer(response(b"hello", "Content-Type: text/plain", status="203 Fine By Me"))
    answer = client.get("/greeting")
    assert (answer.status, answer.reason, answer.body) == (203, b"Fine By Me", b"hello")
    assert answer.get(b"Content-Type") == b"text/plain"
    assert app.request.start == b"GET /greeting HTTP/1.1"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_methods_are_forwarded(client: TlsClient, app: ScriptedApp, method: str) -> None:
    """Any method that the parser knows reaches the app."""
    request = f"{method} /thing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode()
    assert client.ask(request, method).status == 200
    assert app.request.start == f"{method} /thing HTTP/1.1".encode()


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/a%2Fb%2f%41",
        "//double//slash",
        "/a/../b/./c",
        "/q?a=b?c&d=e%20f",
        "/?",
        "/a;v=1/b,c!$&'()*+@:",
        '/"quoted"|<angle>{curly}^`tick',
        "/%",
        "/%zz",
        "/a\\b",
        "/" + "x" * 16000,
    ],
    ids=lambda target: target[:20],
)
def test_the_target_is_forwarded_byte_for_byte(client: TlsClient, app: ScriptedApp, target: str) -> None:
    """Nothing in the target is decoded, encoded, merged or resolved."""
    assert client.get(target).status == 200
    assert app.request.target == target.encode()


@pytest.mark.parametrize(
    ("target", "forwarded", "host"),
    [
        ("http://shop.example/a?b=c", b"/a?b=c", b"shop.example"),
        ("https://shop.example:8443/a//b", b"/a//b", b"shop.example:8443"),
        ("http://shop.example", b"/", b"shop.example"),
        ("http://shop.example?q", b"/?q", b"shop.example"),
    ],
)
def test_an_absolute_target_becomes_origin_form(
    client: TlsClient, app: ScriptedApp, target: str, forwarded: bytes, host: bytes
) -> None:
    """An absolute target is forwarded as its path, its authority as Host (RFC 9112 section 3.2.2)."""
    assert client.get(target).status == 200
    assert app.request.target == forwarded
    assert app.request.all(b"Host") == [host]


def test_asterisk_form_is_forwarded(client: TlsClient, app: ScriptedApp) -> None:
    """OPTIONS * is about the server as a whole, and is forwarded as such (RFC 9112 section 3.2.4)."""
    assert client.ask(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 200
    assert app.request.start == b"OPTIONS * HTTP/1.1"


@pytest.mark.parametrize("host", ["localhost", "shop.example", "shop.example:8443", "[::1]:8443", "192.0.2.7"])
def test_host_is_kept(client: TlsClient, app: ScriptedApp, host: str) -> None:
    """The app sees the Host that the client asked for."""
    client.ask(get("/", host=host))
    assert app.request.all(b"Host") == [host.encode()]


def test_field_lines_are_forwarded_byte_for_byte(client: TlsClient, app: ScriptedApp) -> None:
    """Names keep their case, fields their order and duplicates, values their bytes, those above 0x7F too."""
    fields = [
        b"ACCEPT: text/html",
        b"x-LOWER: 1",
        b"Cookie: a=1; b=2",
        b"X-Twice: one",
        b"x-twice: two",
        b"X-Latin: caf\xe9",
        b"X-Utf8: caf\xc3\xa9",
        b"X-Empty: ",
        b"X_Under: score",
        b"Cookie: c=3",
        b"X-Inner:  a  b",
    ]
    client.ask(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(line + b"\r\n" for line in fields) + b"\r\n")
    sent = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in fields)]
    assert [field for field in app.request.fields if field in sent] == sent


def test_response_field_lines_are_forwarded_byte_for_byte(client: TlsClient, app: ScriptedApp) -> None:
    """The app's fields keep case, order, duplicates and bytes, Server and Date included."""
    fields = [
        "server: Legacy/0.9",
        "DATE: yesterday",
        "Set-Cookie: a=1",
        "Vary: Accept",
        "Set-Cookie: b=2",
        "X-Latin: caf\xe9",
        "X-Empty: ",
    ]
    app.answer(response(b"ok", *fields))
    answer = client.get()
    kept = [(name, value) for name, value in answer.fields if name.lower() not in OURS | {b"content-length"}]
    sent = (line.encode("latin-1").partition(b":") for line in fields)
    assert kept == [(name, value.strip()) for name, _, value in sent]


def test_nothing_of_ours_names_itself(client: TlsClient, app: ScriptedApp) -> None:
    """The app's answer gets an X-Request-ID, and neither Server nor Via nor Date nor Proxy-Status of ours."""
    answer = client.get()
    assert set(answer.names()) == {b"content-length", b"x-request-id"}


def test_a_body_of_known_length_is_forwarded_as_such(client: TlsClient, app: ScriptedApp) -> None:
    """Content-Length stays Content-Length, and every byte value passes."""
    body = bytes(range(256)) * 300
    assert client.ask(post("/upload", body)).status == 200
    assert (app.request.body, app.request.framing) == (body, "length")
    assert app.request.all(b"Content-Length") == [str(len(body)).encode()]


def test_a_chunked_body_is_forwarded_chunked(client: TlsClient, app: ScriptedApp) -> None:
    """A body of unknown length stays chunked; extensions of chunks are dropped."""
    client.send(b"POST /upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.send(b"5\r\nhello\r\n", b"1;ext=1\r\n \r\n", b"A\r\n0123456789\r\n", b"0\r\n\r\n")
    assert client.read_response().status == 200
    assert (app.request.body, app.request.framing) == (b"hello 0123456789", "chunked")
    assert app.request.all(b"Transfer-Encoding") == [b"chunked"]


def test_a_response_of_known_length_is_forwarded_as_such(client: TlsClient, app: ScriptedApp) -> None:
    """Content-Length stays Content-Length."""
    body = bytes(range(256)) * 1000
    app.answer(response(body))
    answer = client.get()
    assert (answer.body, answer.framing) == (body, "length")


def test_a_chunked_response_is_forwarded_chunked(client: TlsClient, app: ScriptedApp) -> None:
    """A response of unknown length stays chunked, and the connection stays usable."""
    app.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;ext\r\ndefg\r\n00\r\n\r\n")
    for _ in range(2):
        answer = client.get()
        assert (answer.body, answer.framing) == (b"abcdefg", "chunked")
    assert len(app.connections) == 1


def test_trailers_of_a_response_are_forwarded(client: TlsClient, app: ScriptedApp) -> None:
    """Trailers of a chunked response reach the client as trailers."""
    app.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 9\r\n\r\n")
    assert client.get().trailers == [(b"X-Sum", b"9")]


def test_a_response_ended_by_close_becomes_chunked(client: TlsClient, app: ScriptedApp) -> None:
    """A body that the app ends by closing is chunked for an HTTP/1.1 client, who stays connected."""

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n", b"all that ", b"there is")

    app.script(script)
    for _ in range(2):
        answer = client.get()
        assert (answer.body, answer.framing) == (b"all that there is", "chunked")
    assert len(app.connections) == 2


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_http_1_0_app_is_understood(client: TlsClient, app: ScriptedApp, version: str) -> None:
    """An HTTP/1.0 answer, with or without a length, reaches the client as HTTP/1.1."""

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.0 200 OK\r\n" + (b"Content-Length: 3\r\n" if version == "1.1" else b"") + b"\r\nold")

    app.script(script)
    for _ in range(2):
        assert client.get().body == b"old"


def test_an_http_1_0_client_gets_no_chunks(client: TlsClient, app: ScriptedApp) -> None:
    """A chunked response is unframed for an HTTP/1.0 client and ended by closing."""
    app.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    answer = client.ask(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert (answer.body, answer.framing, client.ended) == (b"abc", "close", "close_notify")
    assert answer.get(b"Transfer-Encoding") is None


@pytest.mark.parametrize(
    ("request_lines", "kept"),
    [
        ("GET / HTTP/1.1\r\nHost: localhost", True),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close", False),
        ("GET / HTTP/1.0\r\nHost: localhost", False),
        ("GET / HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive", True),
    ],
)
def test_the_client_says_whether_its_connection_is_kept(
    client: TlsClient, app: ScriptedApp, request_lines: str, kept: bool
) -> None:
    """Persistence is the client's choice (RFC 9112 section 9.3), and the response says what was chosen."""
    answer = client.ask(request_lines.encode() + b"\r\n\r\n")
    assert (answer.get(b"Connection") == b"close") is not kept
    if kept:
        assert client.get().status == 200
    else:
        assert client.read_to_end() == b""
        assert client.ended == "close_notify"


@pytest.mark.parametrize(
    ("method", "answer", "length"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"1000"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n", None),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", None),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", None),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n", b"1000"),
    ],
)
def test_an_answer_without_body_leaves_both_connections_usable(
    client: TlsClient, app: ScriptedApp, method: str, answer: bytes, length: bytes | None
) -> None:
    """HEAD, 204 and 304 have no body whatever their fields say, and the next request goes the same way.

    But not to the app after a HEAD that announces a body: one that sends it after all would answer the next with it.
    """
    app.answer(answer)
    for _ in range(2):
        got = client.ask(f"{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), method)
        assert got.status == int(answer.split()[1])
        assert got.get(b"Content-Length") == length
    app.answer(response(b"next"))
    assert client.get().body == b"next"
    assert len(app.connections) == (3 if method == "HEAD" and b":" in answer else 1)


def test_both_connections_are_reused(client: TlsClient, app: ScriptedApp) -> None:
    """Ten requests one after the other take one connection on each side."""
    for index in range(10):
        client.ask(post(f"/{index}", b"body"))
    assert [request.target for request in app.requests] == [f"/{index}".encode() for index in range(10)]
    assert len(app.connections) == 1


def test_clients_share_the_connections_to_the_app(shared_sidecar: Sidecar, app: ScriptedApp) -> None:
    """A connection to the app that one client's request has left free serves the next client's."""
    for _ in range(3):
        assert shared_sidecar.get().status == 200
    assert len(app.connections) == 1


def test_interim_responses_are_forwarded(client: TlsClient, app: ScriptedApp) -> None:
    """103 Early Hints comes before the final response, and the connections stay usable."""
    app.answer(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + response(b"done"))
    for _ in range(2):
        client.send(get())
        hints = client.read_response()
        assert (hints.status, hints.get(b"Link")) == (103, b"</a.css>")
        assert client.read_response().body == b"done"
    assert len(app.connections) == 1


def test_a_client_that_expects_100_is_told_by_the_app(client: TlsClient, app: ScriptedApp) -> None:
    """Expect: 100-continue reaches the app, its 100 the client, and then the body the app."""

    def script(connection: AppConnection) -> None:
        request = connection.read_head()
        assert request is not None
        assert request.get(b"Expect") == b"100-continue"
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.send(response(connection.reader.exactly(4)))

    app.script(script)
    client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    assert client.read_response().status == 100
    client.send(b"body")
    assert client.read_response().body == b"body"


def test_an_app_that_ignores_expect_still_gets_the_body(client: TlsClient, app: ScriptedApp) -> None:
    """A client that waits for 100 is told to go on, though the app knows nothing of Expect."""
    client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    assert client.read_response().status == 100
    client.send(b"body")
    assert client.read_response().status == 200
    assert app.request.body == b"body"


def test_an_early_answer_is_forwarded(client: TlsClient, app: ScriptedApp) -> None:
    """An app that answers 413 and closes while the body is still coming is heard."""

    def script(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(response(b"first"))
        connection.read_head()
        connection.send(response(b"too big", "Connection: close", status="413 Too Large"))

    app.script(script)
    client.get()
    client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n")
    client.wait_readable()
    client.send(*[b"x" * 16384] * 20)
    answer = client.read_response()
    assert (answer.status, answer.body) == (413, b"too big")
    assert answer.get(b"Connection") == b"close"


def echo(request: Request) -> bytes:
    """An answer that repeats what was asked."""
    return response(request.target + b" " + request.body)


PIPELINE = (
    get("/1")
    + post("/2", b"two")
    + b"POST /3 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nth\r\n3\r\nree\r\n0\r\n\r\n"
    + get("/4")
)
ANSWERS = [b"/1 ", b"/2 two", b"/3 three", b"/4 "]


def test_pipelined_requests_are_answered_in_order(client: TlsClient, app: ScriptedApp) -> None:
    """Fifty requests in one packet get fifty answers, in order, one at a time."""
    app.answer(echo)
    client.send(b"".join(get(f"/{index}") for index in range(50)))
    for index in range(50):
        assert client.read_response().body == f"/{index} ".encode()
    assert len(app.connections) == 1


def test_requests_may_be_cut_anywhere(client: TlsClient, app: ScriptedApp) -> None:
    """A pipeline of four requests cut in two at every byte boundary comes out the same."""
    app.answer(echo)
    for cut in range(1, len(PIPELINE)):
        client.send(PIPELINE[:cut], PIPELINE[cut:])
        assert [client.read_response().body for _ in ANSWERS] == ANSWERS, cut


def test_requests_may_come_in_crumbs(client: TlsClient, app: ScriptedApp) -> None:
    """A pipeline sent a byte at a time comes out the same."""
    app.answer(echo)
    client.send(*[PIPELINE[index : index + 1] for index in range(len(PIPELINE))])
    assert [client.read_response().body for _ in ANSWERS] == ANSWERS


def test_pipelines_cut_at_random_come_out_exact(client: TlsClient, app: ScriptedApp) -> None:
    """Ten pipelines of forty requests, cut at random, are answered exactly."""
    app.answer(echo)
    chance = random.Random(7)  # noqa: S311  repeatable, not secret
    for _ in range(10):
        data, rest = PIPELINE * 10, []
        while data:
            size = chance.randrange(1, 400)
            rest.append(data[:size])
            data = data[size:]
        client.send(*rest)
        assert [client.read_response().body for _ in range(40)] == ANSWERS * 10
    assert len(app.requests) == 400


def test_responses_may_come_in_crumbs(client: TlsClient, app: ScriptedApp) -> None:
    """An app that sends a byte at a time is understood, head and chunks."""
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"

    def script(connection: AppConnection) -> None:
        while connection.read_request():
            connection.send(*[answer[index : index + 1] for index in range(len(answer))])

    app.script(script)
    for _ in range(3):
        assert client.get().body == b"abcde"
    assert len(app.connections) == 1


def test_empty_lines_before_a_request_are_ignored(client: TlsClient, app: ScriptedApp) -> None:
    """Some old clients send a CRLF after a body; it is passed over (RFC 9112 section 2.2)."""
    for _ in range(2):
        assert client.ask(post("/", b"body") + b"\r\n").status == 200


def test_many_clients_at_once_get_their_own_answers(shared_sidecar: Sidecar, app: ScriptedApp) -> None:
    """Twenty clients with requests under way at once each get the answer to their own."""
    app.answer(echo)
    clients = [shared_sidecar.connect() for _ in range(20)]
    for index, client in enumerate(clients):
        client.send(post(f"/{index}", b"x" * index))
    for index, client in enumerate(clients):
        assert client.read_response().body == f"/{index} ".encode() + b"x" * index
        client.close()
