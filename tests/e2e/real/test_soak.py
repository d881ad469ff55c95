"""Real programs for longer: load, large bodies, slow readers, and an app that closes what a client is about to use."""

import asyncio
import hashlib
import random
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3
from websockets.asyncio.client import connect

from tests.e2e import programs
from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until_still
from tests.e2e.programs import program
from tests.e2e.real.comparison import Fronted
from tests.e2e.real.conftest import NODE_APP, fronted
from tests.e2e.sidecar_process import Sidecar

pytestmark = [pytest.mark.soak, pytest.mark.timeout(120)]

MEBIBYTE = 1 << 20
UPLOAD = 400 * MEBIBYTE
MEMORY = 16 * MEBIBYTE
"""By how much the sidecar may grow over what it has at rest: buffers of a few connections, and the heap's own slack."""

LOADED = {
    "nginx": "/text-only",
    "asgi": "/text",
    "node": "/chunks",
    "httpbin": "/bytes/2000",
    "http_server": "/text.txt",
}


@pytest.mark.parametrize("app", LOADED)
def test_load(app: str, request: pytest.FixtureRequest) -> None:
    """Under more load than the app can take, every answer is the app's, and no connection breaks."""
    fronted: Fronted = request.getfixturevalue(app)
    url = fronted.urls[1] + LOADED[app]
    done = subprocess.run(
        [program("wrk", "wrk"), "--connections=40", "--threads=1", "--duration=8s", "--timeout=8s", url],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    counted = re.search(r"(\d+) requests in", done.stdout)
    assert counted is not None
    assert int(counted[1]) > 100
    assert "Socket errors" not in done.stdout, done.stdout
    assert "Non-2xx" not in done.stdout, done.stdout


@contextmanager
def lean(sidecar: Sidecar) -> Iterator[None]:
    """Whatever passes within the block, the process grows by no more than MEMORY."""
    sidecar.forget_peak_memory()
    before = sidecar.peak_memory()
    yield
    assert sidecar.peak_memory() - before < MEMORY


@contextmanager
def asking(app: Fronted) -> Iterator[urllib3.HTTPSConnectionPool]:
    """A pool of connections through the sidecar, whose failures are the test's."""
    with urllib3.HTTPSConnectionPool(
        "localhost", app.sidecar.port, ssl_context=app.trust, retries=False, maxsize=32, timeout=30
    ) as pool:
        yield pool


def test_large_upload(asgi: Fronted) -> None:
    """A body that comes faster than the app reads goes up whole, and is never held."""
    sent = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        for number in range(UPLOAD // MEBIBYTE):
            piece = number.to_bytes(4, "big") * (MEBIBYTE // 4)
            sent.update(piece)
            yield piece

    with asking(asgi) as pool, lean(asgi.sidecar):
        told = pool.request("POST", "/digest?pause=0.002", body=pieces()).json()
    assert told == ["POST", UPLOAD, sent.hexdigest()]


def test_slow_download(nginx: Fronted, tmp_path: Path) -> None:
    """A client that reads slowly holds the app back, for as long as it takes."""
    url = f"{nginx.urls[1]}/large.bin"
    with lean(nginx.sidecar):
        subprocess.run(
            [program("curl", "curl"), "-sSfk", "--limit-rate", "3M", "-o", str(tmp_path / "got"), url],
            timeout=60,
            check=True,
        )
    direct = urllib3.request("GET", f"{nginx.urls[0]}/large.bin").data
    assert (tmp_path / "got").read_bytes() == direct


def test_connections_that_the_app_closes_at_that_moment(launch: Launch, tmp_path: Path) -> None:
    """Node.js closes connections that were idle for a second, and many clients ask again at just that time."""
    times = random.Random(5)  # noqa: S311  a time is no secret
    with (
        fronted(programs.node(NODE_APP, tmp_path, "1"), launch) as node,
        asking(node) as pool,
        ThreadPoolExecutor(32) as threads,
    ):
        for _ in range(16):
            statuses = threads.map(lambda _: pool.request("GET", "/chunks").status, range(32))
            assert set(statuses) == {200}
            time.sleep(times.uniform(0.990, 1.004))


def test_socket_that_is_not_read(asgi: Fronted) -> None:
    """A WebSocket's client that does not read holds the app's burst back, and then gets all of it."""
    count, size = 100_000, 2000

    async def read_late() -> list[str]:
        url = f"wss://localhost:{asgi.sidecar.port}/burst?count={count}&size={size}"
        async with connect(url, ssl=asgi.trust, compression=None, max_queue=16) as socket:
            await asyncio.to_thread(wait_until_still, sent, "the app is held back")
            return [str(await socket.recv()) for _ in range(count)]

    def sent() -> int:
        return int(asgi.sidecar.metrics().value("tlsproxy_sent_bytes_total"))

    with lean(asgi.sidecar):
        assert asyncio.run(read_late()) == [str(number).zfill(size) for number in range(count)]


def test_many_sockets(asgi: Fronted) -> None:
    """Sockets that talk at once for a while, in messages of all sizes, are not mixed up."""

    async def talk(number: int) -> None:
        sizes = random.Random(number)  # noqa: S311  nor is a size
        async with connect(f"wss://localhost:{asgi.sidecar.port}/", ssl=asgi.trust) as socket:
            for turn in range(300):
                message = f"{number}/{turn} " * sizes.choice((1, 10, 100, 5000))
                await socket.send(message)
                assert await socket.recv() == message

    async def all_at_once() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(60):
                group.create_task(talk(number))

    asyncio.run(all_at_once())
