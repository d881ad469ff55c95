"""How many connections are let in, and what becomes of the others: real sockets, on both loops."""

import asyncio
import functools
import gc
import logging
import socket
import time
from collections.abc import Callable, Coroutine
from typing import ParamSpec, cast

import pytest
import uvloop

from tests.proxy.loopback import turns, until
from tlsproxy.admission import Admission
from tlsproxy.chassis.listening import listen

P = ParamSpec("P")
WITHIN = 5.0


class Echo(asyncio.Protocol):
    """Says what it hears; in time it tells of its end."""

    def __init__(self, scene: "Scene") -> None:
        self._scene = scene

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._scene.open.append(self)
        self._scene.most = max(self._scene.most, len(self._scene.open))

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._scene.open.remove(self)
        self._scene.admission.ended()


class Scene:
    """Some ports with one limit, and clients that come to them."""

    def __init__(self, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.loop_factory = loop_factory
        self.admission = Admission(3)
        self.open: list[Echo] = []
        self.most = 0
        self.clients: list[socket.socket] = []
        self.errors: list[dict[str, object]] = []
        self.accepted = 0
        self.on_accept: Callable[[], None] = lambda: None

    async def play(self, test: Coroutine[None, None, None]) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, error: self.errors.append(error))
        try:
            await test
        finally:
            self.admission.close()
            for client in self.clients:
                client.close()
            await until(lambda: not self.open)
            await turns()
        assert self.admission.admitted == 0
        assert self.errors == []

    def port(self) -> int:
        """One more port."""
        sockets = listen("127.0.0.1", 0, "")
        port: int = sockets[0].getsockname()[1]
        self.admission.open(sockets, self._accept)
        return port

    def _accept(self) -> Echo:
        self.accepted += 1
        self.on_accept()
        return Echo(self)

    def knock(self, port: int) -> socket.socket:
        """A client that the kernel has said yes to; nobody else may have."""
        client = socket.create_connection(("127.0.0.1", port), WITHIN)
        client.setblocking(False)
        self.clients.append(client)
        return client

    async def fill(self, port: int) -> list[socket.socket]:
        """As many clients as there are places, each let in, and one that is not."""
        let_in = []
        while len(self.open) < 3:
            let_in.append(self.knock(port))
            await until(lambda: len(self.open) == len(let_in))
        self.knock(port)
        await until(lambda: self.admission.waiting == 1)
        await turns()
        assert len(self.open) == self.admission.admitted == 3
        return let_in


async def talk(port: int) -> bytes:
    """A whole connection: a word, its echo, the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"word")
    said = await asyncio.wait_for(reader.readexactly(4), WITHIN)
    writer.close()
    await writer.wait_closed()
    return said


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(request.param)


def staged(test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    """Play the test in its scene: what the loop has to report fails it, and so does a place that is not given back."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        scene = kwargs["scene"]
        assert isinstance(scene, Scene)
        with asyncio.Runner(loop_factory=scene.loop_factory) as runner:
            runner.run(scene.play(test(*args, **kwargs)))
        gc.collect()

    return run


# ---------------------------------------------------------------------------- the limit


@staged
async def test_up_to_the_limit_and_no_further(scene: Scene) -> None:
    """The last place is taken, and who comes next waits in the backlog until one ends."""
    first, *_ = await scene.fill(scene.port())
    first.close()
    await until(lambda: scene.admission.waiting == 0)
    await until(lambda: len(scene.open) == 3)
    assert scene.most == 3


@staged
async def test_a_burst_is_cut_at_the_limit(scene: Scene) -> None:
    """Who was in the backlog already is let in as far as there is room, though several are taken in one turn."""
    port = scene.port()
    for _ in range(20):
        scene.knock(port)
    await until(lambda: len(scene.open) >= 3)
    await turns()
    assert scene.most == 3
    assert scene.admission.waiting == 17


@staged
async def test_the_ports_share_the_limit(scene: Scene) -> None:
    """What is full is full for all, for a port that opens later as well; and there is room again for all."""
    first, *_ = await scene.fill(scene.port())
    other = scene.knock(scene.port())
    await turns()
    assert len(scene.open) == 3
    assert scene.admission.waiting == 2
    scene.clients[3].close()
    first.close()
    other.sendall(b"word")
    await until(lambda: scene.most and scene.admission.waiting == 0)
    assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(other, 4), WITHIN) == b"word"


@staged
async def test_nothing_is_lost_at_the_limit(scene: Scene) -> None:
    """Two hundred connections through three places, from two ports: each gets its answer."""
    ports = [scene.port(), scene.port()]
    said = await asyncio.gather(*(talk(ports[number % 2]) for number in range(200)))
    assert said == [b"word"] * 200
    assert scene.most == 3
    assert scene.admission.pauses > 1


@staged
async def test_an_end_at_the_last_moment(scene: Scene) -> None:
    """Where one ends just as the last place is taken, there is no pause that nobody would end."""
    port = scene.port()
    scene.knock(port)
    scene.knock(port)
    await until(lambda: len(scene.open) == 2)
    scene.on_accept = scene.open[0].transport.abort
    scene.knock(port)
    await until(lambda: scene.accepted == 3)
    scene.knock(port)
    await until(lambda: scene.accepted == 4)


@staged
async def test_waiting_costs_nothing(scene: Scene) -> None:
    """While connections wait, nothing wakes up for them."""
    await scene.fill(scene.port())
    spent = time.process_time()
    await asyncio.sleep(0.3)
    assert time.process_time() - spent < 0.03


@staged
async def test_pauses_are_told(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """Each is counted; the first is told of with the variable that sets the limit, not each one after it."""
    port = scene.port()
    first, *_ = await scene.fill(port)
    first.close()
    await until(lambda: scene.admission.pauses == 2)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("tlsproxy", logging.WARNING)
    assert record.getMessage() == (
        "3 client connections are open, and new ones wait until one ends (TLSPROXY_MAX_CONNECTIONS)"
    )
    (measure,) = scene.admission.measures()
    assert measure.samples == {(): 2}


@staged
async def test_below_the_limit_nothing_is_told(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """One place is free, and nobody is held back."""
    port = scene.port()
    for _ in range(20):
        await asyncio.gather(talk(port), talk(port))
        await until(lambda: not scene.open)
    assert scene.admission.pauses == 0
    assert caplog.records == []


# ---------------------------------------------------------------------------- the end


@staged
async def test_the_end(scene: Scene) -> None:
    """Who waits is reset, nobody can come any more, and a connection that ends then opens nothing again."""
    port = scene.port()
    first, *_ = await scene.fill(port)
    scene.admission.close()
    scene.admission.close()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(scene.clients[3], 1), WITHIN)
    first.close()
    await until(lambda: len(scene.open) == 2)
    await turns()
    with pytest.raises(ConnectionRefusedError):
        scene.knock(port)
    assert scene.admission.waiting == 0


@staged
async def test_who_waits_at_the_end_is_let_in(scene: Scene) -> None:
    """The backlog is served before the port is closed, on every port, and then nobody can come any more."""
    ports = [scene.port(), scene.port()]
    waiting = [scene.knock(port) for port in ports]
    await scene.admission.finish()
    for client in waiting:
        client.sendall(b"word")
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 4), WITHIN) == b"word"
    assert scene.admission.admitted == 2
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            scene.knock(port)


@staged
async def test_at_the_end_too_there_is_a_limit(scene: Scene) -> None:
    """Only as many are let in as there is room for; the others are reset."""
    ports = [scene.port(), scene.port()]
    waiting = [scene.knock(port) for port in (*ports, *ports)]
    await scene.admission.finish()
    await until(lambda: len(scene.open) == 3)
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(waiting[3], 1), WITHIN)
    assert scene.most == 3


@staged
async def test_what_fails_takes_no_place(scene: Scene) -> None:
    """Where memory for a connection is wanting its client is hung up on, and the next have every place."""

    def exhausted() -> None:
        raise MemoryError

    port, scene.on_accept = scene.port(), exhausted
    for _ in range(3):
        scene.knock(port)
    await until(lambda: len(scene.errors) == 3)
    assert [type(error["exception"]) for error in scene.errors] == [MemoryError] * 3
    scene.errors.clear()
    scene.on_accept = lambda: None
    await scene.fill(port)
