"""In front of Node.js, byte by byte: what it says besides final responses, and a protocol of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import programs
from tests.e2e.conftest import Launch
from tests.e2e.messages import Response
from tests.e2e.polling import wait_until
from tests.e2e.raw_client import RawClient, get, post
from tests.e2e.real.comparison import Fields, Fronted, comparable
from tests.e2e.real.conftest import NODE_APP

BODY = b"x" * 200_000
UPGRADE = get("/", "Connection: Upgrade", "Upgrade: shout")


@dataclass(frozen=True)
class Heard:
    """What of a response, an interim one too, has to be equal."""

    start: bytes
    fields: Fields
    body: bytes
    trailers: list[tuple[bytes, bytes]]


def heard(response: Response) -> Heard:
    """A response without what is for one hop alone."""
    fields = comparable((name.decode("latin-1"), value.decode("latin-1")) for name, value in response.fields)
    return Heard(response.start, fields, response.body, response.trailers)


def hear(client: RawClient, *methods: str) -> list[Response]:
    """The responses to requests with these methods, each with the interim ones before it."""
    responses = []
    for method in methods:
        while (response := client.read_response(method)).status < 200:
            responses.append(response)
        responses.append(response)
    return responses


def plain(client: RawClient, path: str) -> list[Response]:
    client.send(get(path))
    return hear(client, "GET")


def trailers(client: RawClient) -> list[Response]:
    """A chunked response that ends with fields."""
    (response,) = plain(client, "/trailers")
    assert response.trailers == [(b"Content-MD5", b"7895bf4b8828b55ceaf47747b4bca667"), (b"X-Count", b"2")]
    return [response]


def early_hints(client: RawClient) -> list[Response]:
    """Two 103 before the response."""
    responses = plain(client, "/hints")
    assert [response.status for response in responses] == [103, 103, 200]
    return responses


def invited(client: RawClient) -> list[Response]:
    """A body that is sent once the app has asked for it."""
    head, body = post("/digest", BODY, "Expect: 100-continue").split(b"\r\n\r\n", 1)
    client.send(head + b"\r\n\r\n")
    interim = client.read_response()
    assert interim.status == 100
    client.send(body)
    return [interim, *hear(client, "POST")]


def not_invited(client: RawClient) -> list[Response]:
    """The app's refusal of a body that has not been sent; no 100 comes before it."""
    client.send(post("/refuse", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 200000"))
    (response,) = hear(client, "POST")
    assert response.status == 417
    return [response]


def unasked_body(client: RawClient) -> list[Response]:
    """A body that comes with its Expect; who has it may leave the 100 out (RFC 9110 section 10.1.1)."""
    client.send(post("/digest", BODY, "Expect: 100-continue"))
    return hear(client, "POST")[-1:]


def pipelined(client: RawClient) -> list[Response]:
    """Requests of all kinds in one piece."""
    head = get("/chunks").replace(b"GET", b"HEAD", 1)
    client.send(get("/a"), get("/chunks") + head + post("/b", BODY) + get("/trailers") + get("/c"))
    return hear(client, "GET", "GET", "HEAD", "POST", "GET", "GET")


def old_client(client: RawClient) -> list[Response]:
    """HTTP/1.0: the end of the connection is the response's."""
    client.send(b"GET /chunks HTTP/1.0\r\nHost: localhost\r\n\r\n")
    (response,) = hear(client, "GET")
    assert response.framing == "close"
    return [response]


def repeated_fields(client: RawClient) -> list[Response]:
    """Set-Cookie twice, names' case, bytes above 0x7F."""
    (response,) = plain(client, "/cookies")
    assert (b"x-MiXeD", "caf\u00e9".encode()) in response.fields
    return [response]


CONVERSATIONS = (
    trailers,
    early_hints,
    invited,
    not_invited,
    unasked_body,
    pipelined,
    old_client,
    repeated_fields,
)


@pytest.mark.parametrize("converse", CONVERSATIONS)
def test_conversation(node: Fronted, converse: Callable[[RawClient], list[Response]]) -> None:
    """All responses, interim ones too, are what the app gives directly, in bodies, fields and trailers."""
    with RawClient(node.app_port) as client:
        direct = [heard(response) for response in converse(client)]
    with node.sidecar.connect() as client:
        assert [heard(response) for response in converse(client)] == direct


def test_no_hints_for_an_old_client(node: Fronted) -> None:
    """An HTTP/1.0 client knows no interim responses, and gets none (RFC 9110 section 15.2)."""
    with node.sidecar.connect() as client:
        client.send(b"GET /hints HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert client.read_response().status == 200


def shout(client: RawClient) -> list[bytes]:
    """A conversation in the app's own protocol: bytes behind the request, more of them, the client's end."""
    client.send(UPGRADE + b"first ")
    response = client.read_head()
    assert (response.status, response.get(b"Upgrade")) == (101, b"shout")
    said = [client.reader.exactly(6)]
    for piece in (b"second", b"x" * 300_000):
        client.send(piece)
        said.append(client.reader.exactly(len(piece)))
    client.finish_sending()
    return [*said, client.read_to_end()]


def test_own_protocol(node: Fronted) -> None:
    """An upgrade to a protocol that only app and client know: bytes both ways, half-close, the last word."""
    with RawClient(node.app_port) as client:
        direct = shout(client)
    with node.sidecar.connect() as client:
        assert shout(client) == direct == [b"FIRST ", b"SECOND", b"X" * 300_000, b"BYE"]
        assert client.ended == "close_notify"


def test_kept_connection_that_the_app_closes(launch: Launch, tmp_path: Path) -> None:
    """Node.js closes a kept connection soon; a POST after that goes over a fresh one."""
    with programs.node(NODE_APP, tmp_path, "50") as port, launch(APP_PORT=port) as sidecar:

        def idle() -> float:
            return sidecar.metrics().value("tlsproxy_app_connections", state="idle")

        with sidecar.connect() as client:
            assert client.ask(post("/digest", BODY), "POST").status == 200
            assert idle() == 1
            wait_until(lambda: idle() == 0, "the app closes")
            assert client.ask(post("/digest", BODY), "POST").status == 200
