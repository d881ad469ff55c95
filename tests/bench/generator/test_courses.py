"""Loads against an app that stalls, closes and counts."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from bench.generator.clients import Client, Watch
from bench.generator.courses import Traffic, closed_loop, constant_rate, listen
from bench.stream_app import event

Answer = Callable[[int, socket.socket], None]


def traffic_with(answer: Answer, connections: int, size: int = 1) -> AbstractContextManager[Traffic]:
    """Connections to one thread that is called with a number and the socket for each byte that was sent."""
    return traffic_over([socket.socketpair() for _ in range(connections)], answer, size)


@contextmanager
def traffic_over(pairs: list[tuple[socket.socket, socket.socket]], answer: Answer, size: int = 1) -> Iterator[Traffic]:
    """The same over pairs of sockets."""
    asked: list[socket.socket] = [theirs for _, theirs in pairs]
    over = threading.Event()

    def serve() -> None:
        number = 0
        while not over.is_set():
            for theirs in asked:
                try:
                    sent = theirs.recv(1)
                except (BlockingIOError, OSError):
                    continue
                if sent:
                    answer(number, theirs)
                    number += 1

    for mine, theirs in pairs:
        mine.setblocking(False)
        theirs.setblocking(False)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Traffic([Client(mine, b"?", size) for mine, _ in pairs], Watch())
    finally:
        over.set()
        thread.join()
        for pair in pairs:
            for each in pair:
                each.close()


def at_once(_number: int, client: socket.socket) -> None:
    client.send(b"!")


def test_a_stall_counts_for_all_that_were_due_in_it() -> None:
    """Of 100 requests in 0.5 s one stops the app for 0.2 s: about 40 should have been sent meanwhile, and waited."""

    def stall_once(number: int, client: socket.socket) -> None:
        if number == 20:
            time.sleep(0.2)
        client.send(b"!")

    with traffic_with(stall_once, connections=1) as traffic:
        counts = constant_rate(traffic, rate=200, seconds=0.5)
    waited = [latency for latency in counts.latencies if latency > 0.02]
    assert (counts.answered, counts.broken) == (100, 0)
    assert len(waited) >= 30
    assert max(waited) >= 0.19


def test_what_is_never_answered_counts_as_long_as_it_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app that falls silent makes no good percentiles: sent or not, each request has a latency."""
    monkeypatch.setattr("bench.generator.courses.GRACE", 0.1)

    def silent(number: int, client: socket.socket) -> None:
        if number < 5:
            client.send(b"!")

    with traffic_with(silent, connections=2) as traffic:
        counts = constant_rate(traffic, rate=100, seconds=0.2)
    assert (counts.answered, counts.broken, len(counts.latencies)) == (5, 15, 20)
    assert sum(latency > 0.1 for latency in counts.latencies) >= 14


def test_a_constant_rate_keeps_its_rate() -> None:
    """As many requests as the rate says, in the time that it says, and the generator's own delay is told."""
    with traffic_with(at_once, connections=4) as traffic:
        counts = constant_rate(traffic, rate=100, seconds=0.3)
    assert counts.answered == len(counts.latencies) == 30
    assert counts.seconds >= 0.29
    assert 0 < len(counts.late) <= 30


def test_no_more_are_under_way_than_allowed() -> None:
    """All connections have their turn, two at a time."""
    most, used = 0, set[int]()
    traffic: Traffic

    def answer(_number: int, client: socket.socket) -> None:
        nonlocal most
        most = max(most, len(traffic.under_way))
        used.add(client.fileno())
        client.send(b"!")

    with traffic_with(answer, connections=6) as traffic:
        counts = closed_loop(traffic, in_flight=2, seconds=0.1)
    assert most <= 2
    assert len(used) == 6
    assert counts.answered >= 6
    assert traffic.under_way == set()


def test_an_answer_of_another_length_is_none() -> None:
    """A front that gives an error page instead of the app's answer is not counted as quick."""
    with traffic_with(lambda _number, client: client.sendall(b"!!!"), connections=2, size=2) as traffic:
        counts = closed_loop(traffic, in_flight=2, seconds=0.1)
    assert (counts.answered, counts.broken) == (0, 2)


def test_a_connection_that_ends_unasked_is_no_answer() -> None:
    """The app closes those that rest: they are broken, and what is answered comes over the others."""
    traffic: Traffic

    def close_another(number: int, client: socket.socket) -> None:
        if number == 0:
            for resting in servers[2:]:
                resting.shutdown(socket.SHUT_RDWR)
        client.send(b"!")

    pairs = [socket.socketpair() for _ in range(4)]
    servers = [theirs for _, theirs in pairs]
    with traffic_over(pairs, close_another) as traffic:
        counts = closed_loop(traffic, in_flight=1, seconds=0.1)
    assert counts.broken == 2
    assert counts.answered > 10
    assert len(traffic.free) == 2


def test_events_are_counted_however_they_are_cut() -> None:
    """Each listener's events, in pieces or together; a time that is cut is no latency."""
    listeners: list[socket.socket] = []
    asked = 0

    def fan_out(_number: int, client: socket.socket) -> None:
        nonlocal asked
        asked += 1
        made = event(time.monotonic())
        for listener, cut in zip(listeners, (0, 12, 20), strict=True):
            for piece in filter(None, (made[:cut], made[cut:])):
                listener.send(piece)
        client.send(b"!")

    with traffic_with(fan_out, connections=1) as asking:
        pairs = [socket.socketpair() for _ in range(3)]
        for mine, theirs in pairs:
            mine.setblocking(False)
            listeners.append(theirs)
        traffic = Traffic([*(Client(mine, b"", 0) for mine, _ in pairs), asking.free[0]], Watch())
        counts = listen(traffic, rate=20, seconds=0.2)
        for pair in pairs:
            for each in pair:
                each.close()
    assert (asked, counts.answered, counts.broken) == (4, 12, 0)
    assert 4 <= len(counts.latencies) <= 12
    assert max(counts.latencies) < 0.5
