"""The corpus in memory: each message cut at every one of its bytes becomes what it becomes when it is whole."""

import logging
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.corpus.library import Message, messages
from tests.corpus.parsers import Seen, alike, responses_by_h11
from tests.corpus.passage import Passage, passage

STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"
SHORT = {
    kind: [message for message in messages(kind) if len(message.data) < 1000] for kind in ("requests", "responses")
}
SAMPLE = {kind: random.Random(8).sample(short, 25) for kind, short in SHORT.items()}  # noqa: S311  a sample is no secret
LONG = pytest.mark.soak


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """A line for each refusal would be most of the time."""
    caplog.set_level(logging.CRITICAL, "tlsproxy")


@pytest.fixture
def proxy() -> Iterator[Passage]:
    with passage() as made:
        yield made


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """The data in two pieces, in every way, and then each byte alone."""
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]
    yield [data[at : at + 1] for at in range(len(data))]


def passed(proxy: Passage, pieces: Sequence[bytes]) -> tuple[list[tuple[tuple[bytes, bytes], bytes]], bytes]:
    """What the app got of it, as every parser reads it, and the status of the last answer."""
    outcome = proxy.send(pieces)
    seen: list[Seen] = []
    for app, carried in outcome.requests.items():
        reading = alike(carried)
        assert not reading.rest or app.wire.ended, "kept with bytes left over"
        seen += reading.messages
    return [(one.start, one.body) for one in seen], STATUS.findall(outcome.answered)[-1]


def assert_cut_alike(proxy: Passage, message: Message) -> None:
    whole = passed(proxy, [message.data])
    assert whole[1] == (b"200" if message.expect in {"one", "two"} else message.expect.encode())
    for pieces in cuts(message.data):
        assert passed(proxy, pieces) == whole, pieces


def test_a_request_is_the_same_wherever_it_is_cut(proxy: Passage) -> None:
    """A sample of the corpus; all of it by name."""
    for message in SAMPLE["requests"]:
        assert_cut_alike(proxy, message)


@LONG
@pytest.mark.parametrize("message", SHORT["requests"], ids=repr)
def test_each_request_is_the_same_wherever_it_is_cut(proxy: Passage, message: Message) -> None:
    """At every byte, and byte by byte."""
    assert_cut_alike(proxy, message)


@dataclass
class Teller:
    """What the app says to the first request."""

    pieces: Sequence[bytes] = ()

    def __call__(self, target: bytes) -> Sequence[bytes]:
        return (NEXT,) if target == b"/next" else self.pieces


@pytest.fixture
def teller() -> Teller:
    return Teller()


@pytest.fixture
def telling(teller: Teller) -> Iterator[Passage]:
    with passage(teller) as made:
        yield made


def assert_answered_alike(telling: Passage, teller: Teller, message: Message) -> None:
    """One that is refused may have gone out in part before its fault came: then it is not whole."""
    for pieces in cuts(message.data):
        teller.pieces = [*pieces, *([b""] if message.ends else [])]
        outcome = telling.send([b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % message.method.encode()])
        following = telling.send([b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"]).answered
        assert following.endswith(b"\r\n\r\nnext")
        assert not message.never or message.never not in (outcome.answered + following).lower()
        whole = responses_by_h11(outcome.answered, [message.method], ended=outcome.client.ended == "close").messages
        assert [one.start[0] for one in whole if message.expect != "one"] in ([], [b"502"]), pieces


def test_a_response_is_no_other_wherever_it_is_cut(telling: Passage, teller: Teller) -> None:
    """A sample of the corpus; all of it by name."""
    for message in SAMPLE["responses"]:
        assert_answered_alike(telling, teller, message)


@LONG
@pytest.mark.parametrize("message", SHORT["responses"], ids=repr)
def test_each_response_is_no_other_wherever_it_is_cut(telling: Passage, teller: Teller, message: Message) -> None:
    """At every byte, and byte by byte."""
    assert_answered_alike(telling, teller, message)
