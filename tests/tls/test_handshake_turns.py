"""Handshakes have their share of a turn, and wait in order above it: decisions with a clock in hand, then real ones."""

import asyncio

import pytest
import uvloop

from tests.tls.loopback import Client, Scene, staged
from tests.tls.material import until
from tlsproxy.tls import handshake_turns
from tlsproxy.tls.handshake_turns import _SHARE, HandshakeTurns


class Clock:
    """Goes on when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Connection:
    """Takes so long for each flight, and writes down when it was its turn."""

    def __init__(self, name: str, seconds: float, hand: "Hand") -> None:
        self.name, self.seconds, self.hand = name, seconds, hand

    def come(self, data: bytes = b"") -> None:
        if self.hand.turns.has(self, data):
            self.go_on(data)

    def go_on(self, data: bytes) -> None:
        self.hand.clock.now += self.seconds
        self.hand.went_on.append((self.hand.turn, self.name, data))


class Hand:
    """A loop whose turns are counted."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.turns = HandshakeTurns()
        self.turn = 0
        self.went_on: list[tuple[int, str, bytes]] = []

    async def play(self, count: int) -> None:
        for _ in range(count):
            self.turn += 1
            await asyncio.sleep(0)

    def names(self) -> list[tuple[int, str]]:
        return [(turn, name) for turn, name, _ in self.went_on]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(handshake_turns, "monotonic", clock)
    return clock


def test_a_few_go_on_at_once(clock: Clock) -> None:
    """As long as the share lasts nobody waits, in this turn and in each that comes."""

    async def test() -> None:
        hand = Hand(clock)
        for _ in range(3):
            for name in "abc":
                Connection(name, _SHARE / 4, hand).come()
            await hand.play(1)
        assert hand.names() == [(turn, name) for turn in range(3) for name in "abc"]

    asyncio.run(test())


def test_above_the_share_they_wait_in_order(clock: Clock) -> None:
    """Who comes when it is spent has the next turns, with what it had to say, and nobody overtakes."""

    async def test() -> None:
        hand = Hand(clock)
        for name in "abcdef":
            Connection(name, _SHARE / 2, hand).come(name.encode())
        await hand.play(1)
        Connection("g", _SHARE / 2, hand).come(b"g")
        await hand.play(5)
        assert [name for _, name in hand.names()] == list("abcdefg")
        assert [data for *_, data in hand.went_on] == [b"a", b"b", b"c", b"d", b"e", b"f", b"g"]
        by_turn = [turn for turn, _ in hand.names()]
        assert max(by_turn.count(turn) for turn in by_turn) == 2

    asyncio.run(test())


def test_one_at_least_goes_on_in_each_turn(clock: Clock) -> None:
    """A handshake that takes longer than the share has a turn to itself, and those behind it are not forgotten."""

    async def test() -> None:
        hand = Hand(clock)
        for name in "abcd":
            Connection(name, 10 * _SHARE, hand).come()
        await hand.play(6)
        assert [name for _, name in hand.names()] == list("abcd")
        assert len({turn for turn, _ in hand.names()}) == 4

    asyncio.run(test())


def test_a_part_of_long_turns(clock: Clock) -> None:
    """Where others take long, handshakes go on for a part of that: many have their turn, and the others keep theirs."""

    async def test() -> None:
        hand = Hand(clock)
        for name in "abcdefghijklmnopqrst":
            Connection(name, _SHARE / 2, hand).come()
        for _ in range(4):
            clock.now += 24 * _SHARE
            await hand.play(1)
        assert [name for _, name in hand.names()] == list("abcdefghijklmnopqrst")
        by_turn = [turn for turn, _ in hand.names()]
        assert max(by_turn.count(turn) for turn in by_turn) * _SHARE / 2 <= 24 * _SHARE / 2

    asyncio.run(test())


# ---------------------------------------------------------------------------- real connections


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def scene(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """One in which each turn has room for one handshake."""
    monkeypatch.setattr(handshake_turns, "_SHARE", 0.0)
    return Scene(request.param)


@staged
async def test_a_crowd_is_served(scene: Scene) -> None:
    """Of those who come at once everybody is served, in small pieces too, and nothing behind a handshake is lost."""
    clients = [(await scene.arrive())[0] for _ in range(12)]

    async def talk(client: Client) -> None:
        for byte in await client.shake() + client.seal(b"early"):
            client.write(bytes((byte,)))
            await asyncio.sleep(0)
            waiting = [connection for connection, _ in scene.acceptor.turns._waiting]
            assert len(set(waiting)) == len(waiting), "nothing more is read from who waits"

    await asyncio.gather(*map(talk, clients))
    await until(lambda: [b"".join(upper.pieces) for upper in scene.uppers] == [b"early"] * len(clients))


@staged
async def test_others_have_their_turn_between_two(scene: Scene) -> None:
    """A client that is there is heard after one handshake of a crowd, and not after all of them."""
    there, _ = await scene.connect()
    crowd = [(await scene.arrive())[0] for _ in range(12)]
    waiting: list[int] = []
    scene.on_data = lambda _: waiting.append(len(scene.acceptor.turns._waiting))
    for client in crowd:
        client.write(client.hello())
    there.write(there.seal(b"word"))
    await until(lambda: bool(waiting))
    assert waiting[0] > len(crowd) / 2


@staged
async def test_who_leaves_while_it_waits(scene: Scene) -> None:
    """A client that is gone when its turn comes is no trouble."""
    crowd = [(await scene.arrive())[0] for _ in range(6)]
    for client in crowd:
        client.write(client.hello())
    for client in crowd[1:]:
        client.reset()
    assert await crowd[0].raw()
    await until(lambda: scene.open == 1)


@staged
async def test_a_failure_in_its_turn_is_the_end(scene: Scene) -> None:
    """What fails above a connection that had to wait cuts it, as the loop does where nobody waits."""
    crowd = [(await scene.arrive())[0] for _ in range(4)]
    last = [await client.shake() + client.seal(b"early") for client in crowd]

    def exhausted(_: asyncio.Transport) -> None:
        raise MemoryError

    scene.on_data = exhausted
    for client, words in zip(crowd, last, strict=True):
        client.write(words)
    await until(lambda: len(scene.errors) == len(crowd))
    assert [type(error["exception"]) for error in scene.errors] == [MemoryError] * len(crowd)
    scene.errors.clear()
    await until(lambda: scene.open == 0)
