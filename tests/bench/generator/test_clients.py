"""What counts as an answer."""

import itertools
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from bench.generator.clients import Client

Pair = tuple[Client, socket.socket]
OTHER = b"HTTP/1.1 200 OK\r\nX-Request-ID: 10\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nX-Request-ID: f\r\n\r\n"


@pytest.fixture
def connected() -> Iterator[Pair]:
    """A client that waits for four bytes behind a head, and the other end of its connection."""
    mine, theirs = socket.socketpair()
    mine.setblocking(False)
    with closing(mine), closing(theirs):
        yield Client(mine, b"?", 4, headed=True), theirs


@pytest.mark.parametrize("cuts", [(), (5,), (len(HEAD) - 2,), (len(HEAD),), (len(HEAD) + 1, len(HEAD) + 3)])
def test_an_answer_is_whole_when_its_body_is(cuts: tuple[int, ...], connected: Pair) -> None:
    """However it is cut, and not before."""
    client, app = connected
    client.send()
    answer, marks = HEAD + b"body", (0, *cuts, len(HEAD) + 4)
    for begin, end in itertools.pairwise(marks):
        assert client.waits
        app.send(answer[begin:end])
        assert client.receive() is (end == len(answer))
    assert not client.waits


def test_heads_may_differ_in_length(connected: Pair) -> None:
    """A request's id that grows is no other answer."""
    client, app = connected
    for head in (HEAD, OTHER):
        client.send()
        app.send(head + b"body")
        assert client.receive()


@pytest.mark.parametrize(
    "answer", [HEAD + b"body and more", b"HTTP/1.1 502 Bad Gateway\r\n\r\nbody", b"HTTP/1.1 408 Timeout\r\n\r\n"]
)
def test_another_answer_is_none(answer: bytes, connected: Pair) -> None:
    """Neither an error page nor too many bytes are counted as answered."""
    client, app = connected
    client.send()
    app.send(answer)
    with pytest.raises(ConnectionError):
        client.receive()


def test_an_end_is_none(connected: Pair) -> None:
    """In the middle of a body."""
    client, app = connected
    client.send()
    app.send(HEAD + b"bo")
    app.close()
    with pytest.raises(ConnectionResetError):
        client.receive()
