"""Each hostile answer of an app's is refused, or reaches the client as one message, whole or plainly cut.

The next client gets its own answer and nothing of a former one's. The rows are files: tests/corpus/responses; those of
what is refused are the rows of a table in docs/http.md.
"""

from collections.abc import Iterator

import pytest

from tests.corpus.library import Message, messages
from tests.corpus.parsers import responses_by_h11, responses_by_llhttp
from tests.e2e.raw_client import TlsClient, get
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

RESPONSES = messages("responses")
# Of what comes behind a response a part may come so late that the connection has been lent again: docs/security.md.
SHORT = [message for message in RESPONSES if len(message.data) < 1000 and message.group != "surplus"]


def outcome(answered: bytes, method: str, *, ended: bool) -> str:
    """What the client got, read alike by both: `one` whole response, the status of ours, or `cut`."""
    reading = responses_by_h11(answered, [method], ended=ended)
    if not reading.messages:
        return "cut"
    assert not reading.rest, f"more than one response: {answered!r}"
    assert method == "HEAD" or responses_by_llhttp(answered) == reading
    ours = dict(reading.messages[0].fields).get(b"proxy-status")
    return reading.messages[0].start[0].decode() if ours else "one"


def play(app: ScriptedApp, message: Message, pieces: list[bytes]) -> None:
    """Let the first request be answered so, and all others in order."""

    def script(connection: AppConnection) -> None:
        first = connection.number == 0
        while connection.read_request():
            connection.send(*(pieces if first else [response(b"next")]))
            if first and message.ends:
                return
            first = False

    app.script(script)


@pytest.fixture(scope="module")
def honest(session_sidecar: Sidecar) -> Iterator[TlsClient]:
    """The next client."""
    with session_sidecar.connect() as client:
        yield client


def judge(sidecar: Sidecar, app: ScriptedApp, honest: TlsClient, message: Message, pieces: list[bytes]) -> str:
    """What the client gets of it; the next one, on another connection, gets its own answer."""
    play(app, message, pieces)
    with sidecar.connect() as client:
        client.send(get("/", "Connection: close").replace(b"GET", message.method.encode(), 1))
        answered = client.read_to_end()
        ended = client.ended == "close_notify"
    following = [honest.get("/next") for _ in range(2)]
    assert [answer.body for answer in following] == [b"next"] * 2
    got = answered + b"".join(answer.head for answer in following)
    assert not message.never or message.never not in got.lower()
    return outcome(answered, message.method, ended=ended)


@pytest.mark.parametrize("message", RESPONSES, ids=repr)
def test_a_hostile_response(shared_sidecar: Sidecar, app: ScriptedApp, honest: TlsClient, message: Message) -> None:
    """It is what its row says; one that is cut never looks whole."""
    assert judge(shared_sidecar, app, honest, message, [message.data]) == message.expect


@pytest.mark.soak
@pytest.mark.parametrize("message", SHORT, ids=repr)
def test_a_hostile_response_byte_by_byte(
    shared_sidecar: Sidecar, app: ScriptedApp, honest: TlsClient, message: Message
) -> None:
    """The same byte by byte, where one whose fault lies behind its head is cut: that has been passed on."""
    pieces = [message.data[at : at + 1] for at in range(len(message.data))]
    expected = {message.expect, "cut"} if message.expect == "502" else {message.expect}
    assert judge(shared_sidecar, app, honest, message, pieces) in expected
