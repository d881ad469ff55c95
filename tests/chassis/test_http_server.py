"""A port of one's own: who is let in, and what becomes of requests; its bounds are in admin/test_server.py."""

import asyncio
import logging
from base64 import b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tlsproxy.chassis.http_server import COMMON, Answer, Guard, HttpServer, Paths, Request, Stream, bearer, text
from tlsproxy.chassis.listening import listen
from tlsproxy.chassis.secrets import secret_of


async def echo(request: Request) -> Answer:
    return text(200, f"{request.path} {len(await request.read())}\n")


async def cut(request: Request) -> Answer:
    stream = Stream(headers=COMMON)
    await stream.prepare(request)
    await stream.write(b"some")
    raise LookupError("secret-detail")


PATHS: Paths = {
    "/a": {"GET": echo, "POST": echo},
    "/below/": {"GET": echo},
    "/below/it/": {"PUT": echo},
    "/cut": {"GET": cut},
}


def asked(lines: bytes, guard: Guard = lambda _: None, max_body: int = 8) -> bytes:
    """What comes back for these bytes, until the end."""

    async def ask(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(lines)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return answer

    return asyncio.run(served(ask, guard, max_body))


async def served(ask: Callable[[int], Awaitable[bytes]], guard: Guard, max_body: int) -> bytes:
    server = HttpServer(PATHS, guard, max_body)
    (listening,) = listen("127.0.0.1", 0, "TOY_PORT")
    await server.start([listening])
    try:
        return await ask(listening.getsockname()[1])
    finally:
        await server.stop()


def request(method: str, path: str, *fields: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: a", "Connection: close", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode(errors="surrogateescape") + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("method", "path", "status", "end"),
    [
        ("GET", "/a", b"200", b"/a 0\n"),
        ("HEAD", "/a", b"200", b"\r\n\r\n"),
        ("POST", "/a", b"200", b"/a 0\n"),
        ("PUT", "/a", b"405", b"method not allowed\n"),
        ("GET", "/a/", b"404", b"not found\n"),
        ("GET", "/below/x", b"200", b"/below/x 0\n"),
        ("PUT", "/below/it/x", b"200", b"/below/it/x 0\n"),
        ("GET", "/below/it/x", b"405", b"method not allowed\n"),
        ("GET", "/below", b"404", b"not found\n"),
    ],
)
def test_paths(method: str, path: str, status: bytes, end: bytes) -> None:
    """A path answers its methods; one that ends in / all below it, unless a longer one does."""
    answer = asked(request(method, path))
    assert answer.split(b" ")[1] == status
    assert answer.endswith(end)
    assert b"\r\nServer:" not in answer
    assert b"\r\nCache-Control: no-store\r\n" in answer


def test_what_is_allowed_is_told() -> None:
    """HEAD comes with GET."""
    assert b"\r\nAllow: GET, POST, HEAD\r\n" in asked(request("PUT", "/a"))


def test_bodies_are_bounded() -> None:
    """A body as long as the bound is read, a longer one refused."""
    assert asked(request("POST", "/a", body=b"12345678")).endswith(b"/a 8\n")
    assert asked(request("POST", "/a", body=b"123456789")).startswith(b"HTTP/1.1 413 ")


def test_a_stream_that_fails_does_not_look_complete(caplog: pytest.LogCaptureFixture) -> None:
    """It is cut where it is; nothing else is put into it, and the log has why."""
    answer = asked(request("GET", "/cut"))
    assert answer.endswith(b"\r\n\r\n4\r\nsome\r\n")
    assert answer.count(b"HTTP/1.1") == 1
    assert [record.getMessage() for record in caplog.records] == ["the answer to /cut could not be made"]


def basic(password: str) -> str:
    return "Authorization: Basic " + b64encode(f"any:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("field", "status"),
    [
        ("Authorization: Bearer hush", b"200"),
        ("authorization: bearer  hush ", b"200"),
        (basic("hush"), b"200"),
        ("X: y", b"401"),
        ("Authorization: Bearer hus", b"401"),
        ("Authorization: Bearer", b"401"),
        ("Authorization: hush", b"401"),
        ("Authorization: Digest hush", b"401"),
        ("Authorization: Basic hush", b"401"),
        ("Authorization: Basic \xe4\xf6", b"401"),
        ("Authorization: Bearer \udce4\udcf6", b"401"),
        (basic("hushhush"), b"401"),
        (basic(""), b"401"),
    ],
)
def test_who_is_let_in(tmp_path: Path, field: str, status: bytes) -> None:
    """Whoever has the secret, as a token or as a password; others are told how to ask, and nothing of what is there."""
    (tmp_path / "token").write_text("hush\n")
    secret = secret_of(None, tmp_path / "token")
    assert secret is not None
    answer = asked(request("GET", "/a", field), bearer(secret, "toy"))
    assert answer.split(b" ")[1] == status
    assert (b'\r\nWWW-Authenticate: Bearer realm="toy", Basic realm="toy"' in answer) == (status == b"401")
    assert asked(request("GET", "/absent"), bearer(secret, "toy")).startswith(b"HTTP/1.1 401 ")


def test_nobody_is_let_in_without_a_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is gone opens no door; the log names it."""
    secret = secret_of(None, tmp_path / "absent")
    assert secret is not None
    with caplog.at_level(logging.ERROR):
        answer = asked(request("GET", "/a", "Authorization: Bearer "), bearer(secret, "toy"))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert f"{tmp_path}/absent: no such file" in caplog.text
