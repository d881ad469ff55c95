"""The commands that ask the process that runs: what they send, and what they make of the answer."""

import json
from pathlib import Path

import pytest

from tests.companions.configsync.test_settings import settings
from tests.companions.rollout.scripted_port import closed_port, port
from tlsproxy.companions.configsync.asking import ask, show_history

TOKEN = "of-the-operator"


def answering(status: int, body: object) -> bytes:
    text = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text


STRANGER = "what answers at the control port is not configsync: is CONFIGSYNC_CONTROL_PORT the right one?"
NOT_ITS_TOKEN = (
    "127.0.0.1:{port} does not accept the token: set CONFIGSYNC_CONTROL_TOKEN_FILE (or CONFIGSYNC_CONTROL_TOKEN), "
    "or without them CONFIGSYNC_DIR, as the process that runs has it"
)
OUTCOME = {"name": "v1", "result": "rolled back", "detail": ""}


@pytest.mark.parametrize(
    ("verb", "answer", "status", "said"),
    [
        ("rollback", answering(200, OUTCOME), 0, "v1 rolled back\n"),
        ("pin", answering(200, {**OUTCOME, "result": "pinned"}), 0, "v1 pinned\n"),
        (
            "rollback",
            answering(200, {**OUTCOME, "result": "failed", "detail": "\x1b[31m"}),
            1,
            "v1 failed: \\x1b[31m\n",
        ),
        ("unpin", answering(200, {}), 0, "no version is pinned any longer: the next one that comes is taken\n"),
    ],
)
def test_what_came_of_it(capsys: pytest.CaptureFixture[str], verb: str, answer: bytes, status: int, said: str) -> None:
    """Is said in a line, without what a version's name could do to a terminal; the exit status tells, too."""
    with port([answer]) as server:
        given = settings(CONTROL_PORT=str(server.number), CONTROL_TOKEN=TOKEN)
        assert ask(given, verb, "v1" if verb == "pin" else None) == status
    assert capsys.readouterr().out == said
    head = server.asked[0].decode()
    assert head.startswith(f"POST /{verb} HTTP/1.1\r\n")
    assert f"Authorization: Bearer {TOKEN}" in head


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (answering(409, "version v1 is pinned; unpin it first\n"), "version v1 is pinned; unpin it first"),
        (answering(401, "unauthorized\n"), NOT_ITS_TOKEN),
        (answering(503, ""), "status 503"),
        (b"nonsense\r\n\r\n", "no answer from 127.0.0.1:{port}: badstatusline"),
        (answering(200, "[]"), STRANGER),
        (answering(200, "<html>"), STRANGER),
        (answering(200, {"pinned": [1]}), STRANGER),
    ],
)
def test_what_went_wrong(capsys: pytest.CaptureFixture[str], answer: bytes, said: str) -> None:
    """Is said on standard error, after the verb."""
    with port([answer]) as server:
        assert show_history(settings(CONTROL_PORT=str(server.number), CONTROL_TOKEN=TOKEN)) == 1
    assert capsys.readouterr().err == f"configsync history: {said.format(port=server.number)}\n"


def test_nobody_to_ask(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A port that is closed or off, and a token that is not there."""
    closed = closed_port()
    assert ask(settings(CONTROL_PORT=str(closed), CONTROL_TOKEN=TOKEN), "unpin", None) == 1
    assert ask(settings(CONTROL_PORT="0"), "unpin", None) == 1
    assert ask(settings(DIR=str(tmp_path)), "unpin", None) == 1
    refused, off, missing = capsys.readouterr().err.splitlines()
    assert refused == f"configsync unpin: no answer from 127.0.0.1:{closed}: connection refused"
    assert "is off (CONFIGSYNC_CONTROL_PORT=0)" in off
    assert "there is no token to show" in missing
    assert str(tmp_path) in missing
