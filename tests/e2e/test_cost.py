"""What a small request costs, in things that can be counted: system calls of the process, tasks and calls within it."""

import asyncio
import sys
from collections.abc import Coroutine, Generator
from pathlib import Path
from types import CoroutineType, FrameType
from typing import TypeVar

import pytest

import tlsproxy
from tests.e2e.conftest import Launch
from tests.e2e.raw_client import get
from tests.e2e.scripted_app import ScriptedApp, response
from tests.e2e.sidecar_process import looking_into
from tests.proxy.loopback import proxied

REQUESTS = 200
T = TypeVar("T")
Work = Coroutine[object, object, T] | Generator[asyncio.Future[object] | None, None, T]
OURS = str(Path(tlsproxy.__file__).parent)
# Functions of ours that a request and its answer run through, three fields each; a bound to be lowered, not raised.
CALLS = 34
ANSWER = b"HTTP/1.1 200 OK\r\nServer: a\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


def system_calls(pid: int) -> tuple[int, int]:
    """Reads and writes of a process so far, as the kernel counts them."""
    with looking_into():
        text = Path(f"/proc/{pid}/io").read_text()
    counts = dict(line.split(": ") for line in text.splitlines())
    return int(counts["syscr"]), int(counts["syscw"])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="/proc/PID/io is Linux's, and this is none")
def test_a_request_takes_two_reads_and_two_writes(launch: Launch, app: ScriptedApp) -> None:
    """From the client, to the app, from the app, to the client: head and body go in one write, lines in batches."""
    app.answer(response(b"hello"))
    with launch(APP_PORT=app.port) as sidecar, sidecar.connect() as client:
        client.get()
        before = system_calls(sidecar.pid)
        for _ in range(REQUESTS):
            assert client.ask(get()).status == 200
        reads, writes = (after - then for after, then in zip(system_calls(sidecar.pid), before, strict=True))
    # Sweeps and the loop's own waking come on top, a few in a second.
    assert 2 <= reads / REQUESTS < 2.2
    assert 2 <= writes / REQUESTS < 2.2


def test_a_request_costs_no_task_and_few_calls() -> None:
    """On connections that are open a small request makes no task, and no more calls of ours than it did."""
    calls, tasks = 0, 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename.startswith(OURS)

    def make_task(
        loop: asyncio.AbstractEventLoop,
        coro: Coroutine[object, object, T] | Generator[asyncio.Future[object] | None, None, T],
    ) -> asyncio.Task[T]:
        nonlocal tasks
        tasks += isinstance(coro, CoroutineType) and coro.cr_code.co_filename.startswith(OURS)
        return asyncio.Task(coro, loop=loop)

    async def scene() -> None:
        asyncio.get_running_loop().set_task_factory(make_task)
        async with proxied() as scene:
            client = await scene.client()
            client.send(get())
            app = await scene.accept()
            for counted in (None, count):
                await app.head()
                sys.setprofile(counted)
                app.send(ANSWER)
                await client.head()
                await client.exactly(2)
                client.send(get())
            await app.head()
            sys.setprofile(None)

    asyncio.run(scene())
    assert tasks == 1, "only the app's connection may be opened by a task"
    assert 0 < calls <= CALLS
