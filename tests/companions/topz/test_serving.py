"""What is answered when a look fails or hangs; the other answers are in test_program.py."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from tests.companions.topz.snapshots import SNAPSHOT
from tlsproxy.chassis.http_server import HttpServer
from tlsproxy.chassis.listening import listen
from tlsproxy.companions.topz import serving
from tlsproxy.companions.topz.detail import Detail
from tlsproxy.companions.topz.looking import Beside, Looking
from tlsproxy.companions.topz.serving import Serving
from tlsproxy.companions.topz.snapshot import Snapshot


async def no_detail(_pid: int, _snapshot: Snapshot) -> Detail | None:
    return None


def asked(look: Callable[[], Snapshot], target: str = "/topz") -> str:
    """The whole answer."""

    async def ask() -> bytes:
        server = HttpServer(Serving(Looking(look, Beside("looker"), 0.01), no_detail, 5, 0).paths)
        (listening,) = listen("127.0.0.1", 0, "TOPZ_PORT")
        await server.start([listening])
        try:
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            answer = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            return answer
        finally:
            await server.stop()

    return asyncio.run(ask()).decode()


def test_a_look(caplog: pytest.LogCaptureFixture) -> None:
    """Without any field a client gets text."""
    assert asked(lambda: SNAPSHOT).startswith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n")
    assert asked(lambda: SNAPSHOT, "/topz/7").startswith("HTTP/1.1 404 ")


def test_a_look_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """The client gets 503 and a plain line, and the log says why."""

    def fail() -> Snapshot:
        raise FileNotFoundError(2, "No such file or directory", "/proc-detail")

    answer = asked(fail)
    assert answer.startswith("HTTP/1.1 503 ")
    assert answer.endswith("\r\n\r\nthe processes can't be looked at, see the log\n")
    assert "/proc-detail" in caplog.text


def test_a_look_that_hangs(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The client is not kept waiting for ever."""
    monkeypatch.setattr(serving, "ANSWER_WITHIN", 0.05)
    hold = threading.Event()

    def hang() -> Snapshot:
        hold.wait(5)
        return SNAPSHOT

    assert asked(hang).startswith("HTTP/1.1 503 ")
    hold.set()
    assert "has not ended within 0.05s" in caplog.text
