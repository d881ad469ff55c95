"""A worker at the other end of a channel, which says what the test says."""

import asyncio
import socket
from collections.abc import Callable, Coroutine

from tlsproxy.workers import messages
from tlsproxy.workers.channel import Channel, open_channel
from tlsproxy.workers.remote import RemoteWorker

TELLING = messages.Telling(alive=True, status={}, measures=())


def run(scene: Callable[[RemoteWorker, Channel], Coroutine[None, None, None]]) -> int:
    """Play a scene with a worker that is attended to, and its own end; how often a change was told."""
    changes = []

    async def stage() -> None:
        ours, theirs = [await open_channel(end) for end in socket.socketpair()]
        worker = RemoteWorker(1, 0, ours)
        attending = asyncio.create_task(worker.attend(lambda: changes.append(1)))
        await scene(worker, theirs)
        await theirs.close()
        await attending

    asyncio.run(asyncio.wait_for(stage(), 5))
    return len(changes)


def test_it_serves() -> None:
    """From when it says so until it has ended; that it has gone is told as well."""

    async def scene(worker: RemoteWorker, end: Channel) -> None:
        states = [worker.is_serving]
        end.send(messages.Serving())
        await worker.serves.wait()
        states.append(worker.is_serving)
        assert worker.served_at
        worker.ended.set()
        assert [*states, worker.is_serving] == [False, True, False]

    assert run(scene) == 2


def test_who_is_silent_is_asked_once() -> None:
    """All who ask before there is an answer get that one, and who asks then gets another."""

    async def scene(worker: RemoteWorker, end: Channel) -> None:
        first = worker.ask()
        assert worker.ask() is first
        assert await end.receive() == messages.Tell()
        end.send(TELLING)
        await first
        assert worker.told == TELLING
        second = worker.ask()
        assert second is not first
        assert await end.receive() == messages.Tell()
        end.send(TELLING)
        await second

    run(scene)


def test_who_has_gone_keeps_nobody_waiting() -> None:
    """Neither those who had asked nor those who ask afterwards; what it told last is kept."""

    async def scene(worker: RemoteWorker, end: Channel) -> None:
        end.send(TELLING)
        asked = worker.ask()
        await end.close()
        await asked
        await worker.gone.wait()
        await worker.ask()
        assert worker.told == TELLING

    run(scene)


def test_it_is_named() -> None:
    """As in messages, by its number and its pid."""

    async def scene(worker: RemoteWorker, _: Channel) -> None:
        worker.pid = 77
        assert str(worker) == "worker 1 (pid 77)"

    run(scene)
