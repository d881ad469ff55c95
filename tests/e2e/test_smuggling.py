"""Each hostile request of the corpus is refused, or goes on as one message that every parser reads alike.

Judged by what the app has got on each of its connections, as h11 and llhttp read it, and by the next honest client, who
gets its own answer. The rows are files: tests/corpus/requests.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.corpus.library import Message, messages
from tests.corpus.parsers import EMPTY_LINES, Reading, Seen, alike, requests_by_h11
from tests.e2e.messages import IncompleteError, Response
from tests.e2e.raw_client import TlsClient, get
from tests.e2e.refusal import assert_refused
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

REQUESTS = messages("requests")
COUNTS = {"one": 1, "two": 2}
# Longer ones say the same at each byte.
SHORT = [message for message in REQUESTS if len(message.data) < 1000]
SAMPLE = random.Random(8).sample(SHORT, 3)  # noqa: S311  a sample is no secret


def cut_up(data: bytes) -> list[bytes]:
    """The data, each byte alone."""
    return [data[at : at + 1] for at in range(len(data))]


def until_behind(client: TlsClient) -> list[Response]:
    """What the client gets until the answer to its last request, or the end of the connection."""
    answers: list[Response] = []
    while not answers or answers[-1].body != b"/behind":
        try:
            answers.append(client.read_response())
        except IncompleteError as end:
            if end.partial:
                raise
            break
    return answers


def seen_by_app(app: ScriptedApp) -> Reading:
    """All that the app has got, as h11 and llhttp alike read it; what is not whole has ended with its connection."""
    seen = Reading()
    for connection in app.connections:
        raw = bytes(connection.raw)
        reading = alike(raw)
        if reading.rest:
            assert connection.over.wait(5), f"kept with bytes left over: {raw!r}"
        seen.messages += reading.messages
    return seen


@pytest.fixture(scope="module")
def honest(session_sidecar: Sidecar) -> Iterator[TlsClient]:
    """Another client, who asks in between."""
    with session_sidecar.connect() as client:
        yield client


@dataclass
class Stand:
    """Those who take part."""

    sidecar: Sidecar
    app: ScriptedApp
    honest: TlsClient


@pytest.fixture
def stand(shared_sidecar: Sidecar, app: ScriptedApp, honest: TlsClient) -> Stand:
    return Stand(shared_sidecar, app, honest)


def judge(stand: Stand, message: Message, pieces: list[bytes]) -> None:
    """Send a message between two honest requests and see what becomes of it, and of the next client."""
    sidecar, app = stand.sidecar, stand.app
    app.answer(lambda request: response(b"" if request.method == b"HEAD" else request.target))
    with sidecar.connect() as client:
        client.send(get("/before"), *pieces, get("/behind"))
        assert client.read_response().body == b"/before"
        answers = until_behind(client)
        if message.expect not in COUNTS:
            assert_refused(client, answers[-1], int(message.expect))
    assert stand.honest.get("/honest").body == b"/honest"
    seen = seen_by_app(app).messages
    targets = [one.start[1] for one in seen]
    assert b"/smuggled" not in targets
    # What a client before sent last may be heard late.
    seen = seen[targets.index(b"/before") :]
    assert targets[-1] == b"/honest"
    passed = seen[1 : -2 if b"/behind" in targets else -1]
    assert_passed(message, passed, b"".join(bytes(connection.raw) for connection in app.connections))


def assert_passed(message: Message, passed: list[Seen], raw: bytes) -> None:
    """What the app got of it is what it is."""
    said = requests_by_h11(message.data, between=EMPTY_LINES).messages
    if message.expect in COUNTS:
        assert len(passed) == COUNTS[message.expect]
        assert [one.body for one in passed] == [one.body for one in said[: len(passed)]]
    else:
        assert b"/behind" not in raw
    assert not message.never or message.never not in raw.lower()


@pytest.mark.parametrize("message", REQUESTS, ids=repr)
def test_a_hostile_request_is_refused_or_is_one(stand: Stand, message: Message) -> None:
    """Sent between two honest ones; nothing behind a refused one is read, and the next client gets its own answer."""
    judge(stand, message, [message.data])


@pytest.mark.parametrize("message", SAMPLE, ids=repr)
def test_a_hostile_request_in_two_pieces(stand: Stand, message: Message) -> None:
    """The same wherever it is cut (the whole corpus, in memory: tests/corpus/test_passage.py)."""
    for at in range(1, len(message.data)):
        judge(stand, message, [message.data[:at], message.data[at:]])
        stand.app.clear()


@pytest.mark.soak
@pytest.mark.parametrize("message", SHORT, ids=repr)
def test_a_hostile_request_byte_by_byte(stand: Stand, message: Message) -> None:
    """The same when each byte comes in a record of its own."""
    judge(stand, message, cut_up(message.data))


def test_the_rest_of_a_body_that_was_answered_early_is_no_request(stand: Stand) -> None:
    """An app that answers before a paused body has come (0.CL) ends the connection: the rest is read by nobody."""

    def script(connection: AppConnection) -> None:
        while b"\r\n\r\n" not in connection.raw:
            connection.receive()
        connection.send(response(b"early"))
        connection.receive()

    stand.app.script(script)
    rest = get("/smuggled")
    with stand.sidecar.connect() as client:
        client.send(f"POST /before HTTP/1.1\r\nHost: a\r\nContent-Length: {len(rest)}\r\n\r\n".encode())
        assert client.read_response().body == b"early"
        client.send(rest)
        assert client.read_to_end() == b""
    assert all(b"/smuggled" not in connection.raw for connection in stand.app.connections)
