"""Server-sent events: when there is one, whatever way it is cut into parts."""

import pytest

from tlsproxy.companions.configsync.sources.events import EventStream


@pytest.mark.parametrize(
    ("text", "events"),
    [
        (b"data: x\n\n", 1),
        (b"data\n\n", 1),
        (b"\xef\xbb\xbfdata: x\r\n\r\n", 1),
        (b"data: x\r\rdata: y\r\r", 2),
        (b"event: changed\nid: 7\ndata: a\ndata: b\n\n", 1),
        (b"data: a\r\ndata: b\r\n\r\n", 1),
        (b": heartbeat\n\n", 0),
        (b"event: nothing\n\n", 0),
        (b"data: not whole\n", 0),
        (b"database: x\n\n", 0),
        (b"\n\n\n", 0),
    ],
)
def test_events(text: bytes, events: int) -> None:
    """An event is what has data and ends with an empty line; parts of any size tell the same."""
    assert EventStream().feed(text) == events
    stream = EventStream()
    assert sum(stream.feed(text[at : at + 1]) for at in range(len(text))) == events


def test_where_to_go_on_from() -> None:
    """An identifier counts with its event; a new connection forgets what was torn off, and not the identifier."""
    stream = EventStream()
    stream.feed(b"id: 1\ndata: x\n\nid: 2\ndata: y\n")
    assert stream.last_id == "1"
    stream.connected()
    assert stream.feed(b"\n") == 0
    assert stream.last_id == "1"
    stream.feed(b"id: 3\n\nid: 4\0\n\n")
    assert stream.last_id == "3"


def test_when_to_come_back() -> None:
    """The server's word is in milliseconds; what is no number says nothing."""
    stream = EventStream()
    stream.feed(b"retry: 2500\nretry: soon\nretry: 99999999999999999999\n\n")
    assert stream.retry == 2.5


def test_memory_is_bounded() -> None:
    """A line without an end is not kept."""
    stream = EventStream()
    stream.feed(b"data: ")
    for _ in range(100):
        assert stream.feed(b"x" * 65536) == 0
    assert len(stream._line) <= 4096
    assert stream.feed(b"\n\n") == 1
