"""The redirect port sends every plain request to its HTTPS address, and does nothing else."""

import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.ports import free_port
from tests.e2e.raw_client import RawClient, get, post
from tests.e2e.scripted_app import ScriptedApp
from tests.e2e.sidecar_process import Sidecar


@pytest.fixture(scope="module")
def redirecting(launch: Launch, session_app: ScriptedApp) -> Iterator[Sidecar]:
    """A sidecar with a redirect port, reached from outside on the default port."""
    with launch(APP_PORT=session_app.port, REDIRECT_PORT=free_port(), HEAD_TIMEOUT="500ms") as process:
        yield process


@pytest.fixture
def client(redirecting: Sidecar, app: ScriptedApp) -> Iterator[RawClient]:
    """A connection to the redirect port; the app is never asked."""
    redirecting.forget_lines()
    with connect(redirecting) as connection:
        yield connection
    assert app.connections == []


def connect(sidecar: Sidecar) -> RawClient:
    return RawClient(int(sidecar.settings["REDIRECT_PORT"]))


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 301), ("HEAD", 301), ("POST", 308), ("PUT", 308), ("DELETE", 308), ("OPTIONS", 308)]
)
def test_the_status_keeps_the_method(client: RawClient, method: str, status: int) -> None:
    """GET and HEAD get 301, which the oldest client knows; the others 308, which keeps method and body."""
    answer = client.ask(f"{method} /a?b=c HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode(), method)
    assert (answer.status, answer.get(b"Location")) == (status, b"https://shop.example/a?b=c")


@pytest.mark.parametrize(
    ("host", "location"),
    [
        ("shop.example", b"https://shop.example/"),
        ("shop.example:8080", b"https://shop.example/"),
        ("shop.example:", b"https://shop.example/"),
        ("SHOP.example", b"https://SHOP.example/"),
        ("192.0.2.1:8080", b"https://192.0.2.1/"),
        ("[2001:db8::1]", b"https://[2001:db8::1]/"),
        ("[2001:db8::1]:8080", b"https://[2001:db8::1]/"),
    ],
)
def test_the_host_is_kept_without_its_port(client: RawClient, host: str, location: bytes) -> None:
    """The address has the request's host, an IPv6 one too, and 443 is left out."""
    assert client.ask(get(host=host)).get(b"Location") == location


def test_another_external_port_is_written(sidecar: Launch) -> None:
    """EXTERNAL_PORT other than 443 stands in the address, in place of the request's port."""
    process = sidecar(REDIRECT_PORT=free_port(), EXTERNAL_PORT=8443)
    with connect(process) as client:
        assert client.ask(get("/a", host="shop.example:8080")).get(b"Location") == b"https://shop.example:8443/a"
        assert client.ask(get(host="[::1]")).get(b"Location") == b"https://[::1]:8443/"


@pytest.mark.parametrize(
    "target", ["/", "/%7Euser/%2e%2E//a;b", "/?", "/a?x=%0d%0aSet-Cookie:y", "//evil.example/", "/*"]
)
def test_the_target_is_kept_byte_for_byte(client: RawClient, target: str) -> None:
    """Path and query come back as they came, still encoded, on the same host."""
    answer = client.ask(get(target, host="shop.example"))
    assert answer.get(b"Location") == b"https://shop.example" + target.encode()


def test_an_absolute_target_names_its_own_host(client: RawClient) -> None:
    """The authority of an absolute-form target counts, not Host (RFC 9112 section 3.2.2)."""
    answer = client.ask(b"GET http://shop.example:8080/a?b HTTP/1.1\r\nHost: other.example\r\n\r\n")
    assert answer.get(b"Location") == b"https://shop.example/a?b"


def test_options_of_the_server_has_no_path(client: RawClient) -> None:
    """`*` is no path: the root stands in its place."""
    answer = client.ask(b"OPTIONS * HTTP/1.1\r\nHost: shop.example\r\n\r\n")
    assert (answer.status, answer.get(b"Location")) == (308, b"https://shop.example/")


@pytest.mark.parametrize(
    "request_bytes", [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"]
)
def test_no_host_is_a_400(client: RawClient, request_bytes: bytes) -> None:
    """Without a good Host there is nowhere to send the client."""
    answer = client.ask(request_bytes)
    assert (answer.status, answer.get(b"Location")) == (400, None)


def test_a_body_is_read_over(client: RawClient, redirecting: Sidecar) -> None:
    """A request with a body is answered, and so is the next one on its connection."""
    assert client.ask(post("/up", b"x" * 200000, host="shop.example")).status == 308
    chunked = b"POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    with connect(redirecting) as other:
        assert other.ask(chunked).status == 308


def test_connections_are_kept(client: RawClient) -> None:
    """Requests come one after the other, or pipelined, over one connection."""
    assert [client.get(f"/{n}").get(b"Location") for n in range(3)] == [b"https://localhost/%d" % n for n in range(3)]
    client.send(get("/a") + get("/b"))
    assert [client.read_response().get(b"Location") for _ in range(2)] == [
        b"https://localhost/a",
        b"https://localhost/b",
    ]


def test_a_head_that_does_not_end_is_a_408(client: RawClient) -> None:
    """HEAD_TIMEOUT holds here as well."""
    began = time.monotonic()
    client.send(b"GET / HTTP/1.1\r\nHost: loc")
    assert client.read_response().status == 408
    assert client.read_to_end() == b""
    assert 0.4 < time.monotonic() - began < 3


def test_redirects_have_request_lines(client: RawClient, redirecting: Sidecar) -> None:
    """A redirect is a request like any other: logged, without TLS."""
    client.get("/logged", "User-Agent: old/1.0")
    line = redirecting.wait_for_line(target="/logged")
    assert (line["status"], line["tls"], line["user_agent"], line["reason"]) == (301, None, "old/1.0", None)
