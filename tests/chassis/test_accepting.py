"""Connections are taken, or the loop rests: real sockets, on both loops, and errors of accept(2) as the kernel's."""

import asyncio
import errno
import gc
import os
import resource
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import cast

import pytest
import uvloop

from tests.proxy.loopback import turns, until
from tlsproxy.chassis import accepting
from tlsproxy.chassis.accepting import Accepting
from tlsproxy.chassis.listening import listen

WITHIN = 5.0
TOLD = "things can't be accepted: {}; it is tried again in {:g}s"


class Listening(socket.socket):
    """A socket that listens, and on which accept(2) fails as often as it is told to."""

    error = 0
    """What it fails with; 0: it does not."""
    tried = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.tried += 1
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        return super().accept()


class Greeting(asyncio.Protocol):
    """Says a word, and ends."""

    ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(b"word")
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True


class Scene:
    """Two ports, clients that come to them, and who was let in."""

    def __init__(self) -> None:
        self.accepting = Accepting("things")
        self.listening = [self._port(), self._port()]
        self.met: list[Greeting] = []
        self.clients = ExitStack()
        self.before_one_is_made: Callable[[], None] = lambda: None

    def _port(self) -> Listening:
        (sock,) = listen("127.0.0.1", 0, "")
        return Listening(fileno=sock.detach())

    def open(self) -> None:
        for sock in self.listening:
            sock.setblocking(False)
        self.accepting.open(self.listening, self._make)

    def _make(self) -> Greeting:
        self.before_one_is_made()
        self.met.append(Greeting())
        return self.met[-1]

    def knock(self, place: int = 0) -> socket.socket:
        """A client of one of the ports, to which the kernel has said yes."""
        client = socket.create_connection(self.listening[place].getsockname(), WITHIN)
        return self.clients.enter_context(client)


Play = Callable[[Callable[[Scene], Coroutine[None, None, None]]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Plays a test in its scene on each of the loops; a rest is short, and what the loop has to report fails it."""
    monkeypatch.setattr(accepting, "_REST", 0.05)

    async def staged(test: Callable[[Scene], Coroutine[None, None, None]]) -> None:
        errors: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, error: errors.append(error))
        scene = Scene()
        with scene.clients:
            scene.open()
            await test(scene)
            scene.accepting.close()
            await until(lambda: all(one.ended for one in scene.met))
        assert errors == []

    def run(test: Callable[[Scene], Coroutine[None, None, None]]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(staged(test))
        gc.collect()

    return run


@contextmanager
def no_more_open_files() -> Iterator[None]:
    """Let this process open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def heard(client: socket.socket) -> bytes:
    """What a client hears, until the end."""
    return await asyncio.to_thread(lambda: client.recv(16) + client.recv(1))


# ---------------------------------------------------------------------------- taken


def test_every_port_is_served(play: Play) -> None:
    """Who comes is let in, wherever; so is who joins the crowd when more come at once than are taken at once."""

    async def test(scene: Scene) -> None:
        clients = [scene.knock(number % 2) for number in range(5 * accepting._AT_ONCE)]
        await until(lambda: len(scene.met) == len(clients))
        assert await heard(clients[-1]) == b"word"

    play(test)


def test_a_few_are_taken_in_one_turn(play: Play) -> None:
    """A crowd at one port does not keep waiting who is there: between a few of them others have their turn."""

    async def test(scene: Scene) -> None:
        scene.accepting.pause()
        for _ in range(3 * accepting._AT_ONCE):
            scene.knock()
        seen = [0]
        scene.accepting.resume()
        while len(scene.met) < 3 * accepting._AT_ONCE:
            await asyncio.sleep(0)
            seen.append(len(scene.met))
        most = max(after - before for before, after in pairwise(seen))
        assert most == accepting._AT_ONCE

    play(test)


def test_paused(play: Play) -> None:
    """Who comes meanwhile waits in the backlog, at no cost; the last protocol that is made may pause it."""

    async def test(scene: Scene) -> None:
        scene.before_one_is_made = scene.accepting.pause
        first, *others = scene.knock(), scene.knock(), scene.knock(1)
        assert await heard(first) == b"word"
        assert scene.accepting.waiting == 2
        spent = time.process_time()
        await asyncio.sleep(0.2)
        assert time.process_time() - spent < 0.03
        scene.before_one_is_made = lambda: None
        scene.accepting.resume()
        scene.accepting.resume()
        assert [await heard(client) for client in others] == [b"word"] * 2

    play(test)


def test_the_end(play: Play) -> None:
    """Who waits is reset, and nobody comes any more, whatever is resumed."""

    async def test(scene: Scene) -> None:
        scene.accepting.pause()
        client = scene.knock()
        scene.accepting.close()
        scene.accepting.close()
        scene.accepting.resume()
        with pytest.raises(ConnectionResetError):
            await heard(client)
        assert scene.accepting.waiting == 0

    play(test)


def test_an_end_in_order(play: Play) -> None:
    """Who waits is let in before the sockets are closed, and their protocols have been told when it is over."""

    async def test(scene: Scene) -> None:
        clients = [scene.knock(number % 2) for number in range(3 * accepting._AT_ONCE)]
        await scene.accepting.finish()
        assert len(scene.met) == len(clients)
        assert [client.recv(4, socket.MSG_DONTWAIT) for client in clients] == [b"word"] * len(clients)

    play(test)


# ---------------------------------------------------------------------------- not to be had


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_a_rest(play: Play, caplog: pytest.LogCaptureFixture, error: int) -> None:
    """Where the kernel has none to give, no port is tried for a while; that is told once, and then all are served."""

    async def test(scene: Scene) -> None:
        one, other = scene.listening
        one.error = error
        clients = scene.knock(), scene.knock(1)
        await until(lambda: one.tried == 2)
        tried = other.tried
        await turns()
        assert (one.tried, other.tried) == (2, tried)
        one.error = 0
        assert [await heard(client) for client in clients] == [b"word"] * 2

    play(test)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", TOLD.format(os.strerror(error), 0.05))
    ]


def test_no_descriptor_is_left(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    """Who comes then waits, and is not hung up on."""

    async def test(scene: Scene) -> None:
        client = scene.knock()
        with no_more_open_files():
            await until(lambda: caplog.records)
            assert scene.accepting.waiting == 1
        assert await heard(client) == b"word"

    play(test)
    assert caplog.records[0].getMessage() == TOLD.format("Too many open files", 0.05)


def test_an_end_while_it_rests(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is tried again after the end."""

    async def test(scene: Scene) -> None:
        one, _ = scene.listening
        one.error = errno.EMFILE
        scene.knock()
        await until(lambda: one.tried == 1)
        scene.accepting.close()
        await asyncio.sleep(2 * accepting._REST)
        assert one.tried == 1

    play(test)


def test_a_rest_outlasts_a_pause(play: Play) -> None:
    """Who resumes while it rests does not cut that short, and a rest that is over ends no pause."""

    async def test(scene: Scene) -> None:
        one, _ = scene.listening
        one.error = errno.EMFILE
        client = scene.knock()
        await until(lambda: one.tried == 1)
        scene.accepting.pause()
        scene.accepting.resume()
        await turns()
        assert one.tried == 1
        scene.accepting.pause()
        one.error = 0
        await asyncio.sleep(2 * accepting._REST)
        assert scene.accepting.waiting == 1
        assert not asyncio.get_running_loop().remove_reader(one.fileno()), "it would be ready in every turn"
        scene.accepting.resume()
        assert await heard(client) == b"word"

    play(test)


@pytest.mark.parametrize("error", sorted(accepting._NOBODYS_FAULT_BUT_ITS_OWN))
def test_a_connections_own_error(play: Play, caplog: pytest.LogCaptureFixture, error: int) -> None:
    """One that had failed before it was taken holds up nobody, and is not told of."""

    async def test(scene: Scene) -> None:
        one, _ = scene.listening
        one.error = error
        client = scene.knock()
        await until(lambda: one.tried >= 3)
        one.error = 0
        assert await heard(client) == b"word"

    play(test)
    assert caplog.records == []
