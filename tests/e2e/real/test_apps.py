"""In front of apps that people run, a client gets what the app gives: each row is asked directly and through."""

import pytest

from tests.e2e.raw_client import RawClient
from tests.e2e.real.comparison import Ask, Fronted

TOMORROW = "If-Modified-Since: Mon, 01 Jan 2035 00:00:00 GMT"
LONG_AGO = "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT"

HTTP_SERVER = (
    Ask(200, "GET /"),
    Ask(200, "GET /text.txt"),
    Ask(200, "GET /large.bin"),
    Ask(200, "GET /empty.txt"),
    Ask(200, "GET /sub/"),
    Ask(301, "GET /sub"),
    Ask(200, "GET /sub/../text.txt"),
    Ask(200, "GET //text.txt?a=%2F&&b"),
    Ask(200, "GET /gr%C3%BC%C3%9Fe%20&%20more.txt"),
    Ask(404, "GET /absent"),
    Ask(200, "HEAD /large.bin"),
    Ask(404, "HEAD /absent"),
    Ask(304, "GET /large.bin", (TOMORROW,)),
    Ask(200, "GET /text.txt", (LONG_AGO,)),
    Ask(200, "GET /text.txt", ("Range: bytes=10-19",)),  # which it ignores
    Ask(501, "POST /text.txt"),
    Ask(501, "OPTIONS /"),
)

HTTPBIN = (
    Ask(200, "GET /get?a=1&a=2&%C3%A9=%2F", ("X-Odd: a, b;c", "Accept: */*")),
    *(
        Ask(200, f"{method} /anything/of/any", ("Content-Type: text/plain",), body)
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        for body in ((), (b"one piece",), (b"several, ", b"in ", b"chunks"))
    ),
    Ask(200, "POST /post", ("Content-Type: application/x-www-form-urlencoded",), (b"a=1&b=two+words",)),
    Ask(200, "POST /post", ("Content-Type: application/json",), (b'{"deep": [1, {"er": null}]}',)),
    Ask(200, "POST /post", ("Content-Type: application/octet-stream",), (b"\x00\xff" * 150_000,)),
    Ask(200, "POST /post", ("Content-Type: text/plain",), (b"x" * 100_000,) * 3),
    Ask(405, "GET /post"),
    Ask(200, "OPTIONS /get"),
    Ask(200, "HEAD /get"),
    *(Ask(200, f"GET /{coding}") for coding in ("deflate", "brotli", "encoding/utf8")),
    Ask(302, "GET /redirect/2"),
    Ask(302, "GET /absolute-redirect/1"),
    Ask(307, "POST /redirect-to?url=https%3A%2F%2Felsewhere.example%2Fx&status_code=307"),
    Ask(302, "GET /cookies/set?first=1&second=2"),
    Ask(200, "GET /cookies", ("Cookie: first=1; second=2",)),
    Ask(200, "GET /stream/20"),
    Ask(200, "GET /stream-bytes/50000?seed=7&chunk_size=999"),
    Ask(200, "GET /bytes/100000?seed=7"),
    Ask(200, "GET /drip?duration=0.2&numbytes=20&delay=0"),
    Ask(206, "GET /range/1024", ("Range: bytes=10-19",)),
    Ask(206, "GET /range/1024", ("Range: bytes=-24",)),
    Ask(416, "GET /range/1024", ("Range: bytes=2000-",)),
    *(Ask(status, f"GET /status/{status}") for status in (204, 304, 400, 401, 418, 500, 503)),
    Ask(200, "GET /response-headers?X-Twice=one&X-Twice=two&X-Empty="),
    Ask(200, "GET /cache/60"),
    Ask(304, "GET /cache", ("If-None-Match: any",)),
    Ask(412, "GET /etag/fox", ("If-Match: dog",)),
    *(Ask(200, f"GET /image/{kind}") for kind in ("png", "jpeg", "svg", "webp")),
    Ask(200, "GET /delay/0.2"),
    Ask(401, "GET /basic-auth/user/secret"),
    Ask(200, "GET /basic-auth/user/secret", ("Authorization: Basic dXNlcjpzZWNyZXQ=",)),
    Ask(401, "GET /bearer"),
)

NGINX = (
    Ask(200, "GET /text.txt"),
    Ask(200, "GET /large.bin"),
    Ask(200, "HEAD /large.bin"),
    Ask(200, "GET /empty.txt"),
    Ask(404, "GET /absent"),
    Ask(405, "POST /text.txt", (), (b"x" * 100,)),
    Ask(405, "GET /not-allowed"),
    Ask(200, "GET /text-only"),
    Ask(206, "GET /large.bin", ("Range: bytes=0-0",)),
    Ask(206, "GET /large.bin", ("Range: bytes=1000000-9000000",)),
    Ask(206, "GET /large.bin", ("Range: bytes=-1000",)),
    Ask(416, "GET /large.bin", ("Range: bytes=99999999-",)),
    Ask(200, "GET /large.bin", ("Range: bytes=0-9", 'If-Range: "of another version"')),
    Ask(304, "GET /text.txt", (TOMORROW,)),
    Ask(412, "GET /text.txt", ('If-Match: "absent"',)),
    Ask(200, "GET /packed/text.txt", ("Accept-Encoding: gzip",)),
    Ask(200, "GET /behind/text.txt"),
    Ask(200, "GET /behind/text.txt", ("Accept-Encoding: gzip",)),
    Ask(200, "GET /behind/large.bin"),
    Ask(413, "PUT /upload/large", (), (b"x" * 9_000_000,)),
)

UVICORN = (
    Ask(200, "GET /text"),
    Ask(200, "HEAD /text"),
    Ask(204, "GET /empty"),
    Ask(200, "GET /gzip"),
    Ask(302, "GET /redirect"),
    Ask(200, "POST /digest", (), (b"x" * 3_000_000,)),
    Ask(200, "POST /digest", (), (b"x" * 100_000,) * 30),
    Ask(200, "PROPFIND /digest", ("Depth: 1",), (b"<propfind/>",)),
)

NODE = (
    Ask(200, "GET /chunks"),
    Ask(200, "HEAD /chunks"),
    Ask(200, "GET /trailers"),
    Ask(200, "GET /cookies"),
    Ask(200, "GET /close"),
    Ask(204, "GET /empty"),
    Ask(200, "GET /a%2Fb//../c?d=%20"),
    Ask(200, "POST /digest", (), (b"x" * 3_000_000,)),
    Ask(200, "POST /digest", (), (b"x" * 100_000,) * 30),
    Ask(200, "PUT /digest", (), (b"short",)),
    Ask(200, "DELETE /digest"),
)


@pytest.mark.parametrize("ask", HTTP_SERVER, ids=str)
def test_http_server(http_server: Fronted, ask: Ask) -> None:
    """`python -m http.server`."""
    http_server.compare(ask)


@pytest.mark.parametrize("ask", HTTPBIN, ids=str)
def test_httpbin(httpbin: Fronted, ask: Ask) -> None:
    """httpbin under gunicorn; its echoes show that the app is told what docs/http.md says, and nothing else."""
    httpbin.compare(ask)


@pytest.mark.parametrize("ask", NGINX, ids=str)
def test_nginx(nginx: Fronted, ask: Ask) -> None:
    """nginx: files, ranges, conditions, compression, and as a proxy."""
    nginx.compare(ask)


def test_several_ranges_at_once(nginx: Fronted) -> None:
    """The parts of a multipart answer come as nginx cuts them; only its separator differs from answer to answer."""

    def parts(client: RawClient) -> list[bytes]:
        response = client.get("/text.txt", "Range: bytes=0-9,100-199,-5")
        kind = response.get(b"Content-Type") or b""
        assert (response.status, kind[:31]) == (206, b"multipart/byteranges; boundary=")
        return response.body.split(kind[31:])

    with RawClient(nginx.app_port) as client:
        direct = parts(client)
    with nginx.sidecar.connect() as client:
        assert parts(client) == direct
    assert len(direct) == 5


def test_range_of_the_same_version(nginx: Fronted) -> None:
    """A range on condition of a version that still stands, as a download that goes on asks for it."""
    tag = next(value for name, value in nginx.compare(Ask(200, "GET /text.txt")).fields if name == "ETag")
    nginx.compare(Ask(206, "GET /text.txt", ("Range: bytes=30-", f"If-Range: {tag}")))


@pytest.mark.parametrize("ask", UVICORN, ids=str)
def test_uvicorn(asgi: Fronted, ask: Ask) -> None:
    """An ASGI app under uvicorn."""
    asgi.compare(ask)


@pytest.mark.parametrize("ask", NODE, ids=str)
def test_node(node: Fronted, ask: Ask) -> None:
    """Node.js."""
    node.compare(ask)
