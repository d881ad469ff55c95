"""The control port: what it understands, and its token. What it does is in e2e/test_control.py."""

import asyncio
import stat
from base64 import b64encode
from functools import partial
from pathlib import Path

import pytest

from tests.companions.configsync.test_settings import settings
from tests.e2e.ports import free_port
from tests.e2e.raw_client import RawClient
from tlsproxy.chassis.listening import listen
from tlsproxy.companions.configsync.control import TOKEN_FILE, Control, make_token, token_of
from tlsproxy.companions.rollout.history import History
from tlsproxy.companions.rollout.releases import Releases
from tlsproxy.companions.rollout.rollout import Rollout


def test_a_token_is_made(tmp_path: Path) -> None:
    """Anew at each start, for this user alone, whatever lies there."""
    made = settings(DIR=str(tmp_path))
    (tmp_path / TOKEN_FILE).write_text("known to many")
    make_token(made)
    first = token_of(made)()
    make_token(made)
    assert len({first, token_of(made)(), "known to many"}) == 3
    assert len(first) >= 32
    assert stat.S_IMODE((tmp_path / TOKEN_FILE).stat().st_mode) == 0o600


def test_the_operators_token(tmp_path: Path) -> None:
    """Where there is one, none is made."""
    given = settings(DIR=str(tmp_path), CONTROL_TOKEN="of-the-operator")
    make_token(given)
    assert token_of(given)() == "of-the-operator"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "the body is no JSON"),
        (b"[" * 5000, "the body is no JSON"),
        (b"[]", "the body is to be"),
        (b'{"versions": "a"}', "the body is to be"),
        (b'{"version": ""}', "a value is no text of 1 to 100"),
        (b'{"by": "line\\nfeed"}', "a value is no text"),
        (b'{"by": "' + b"x" * 101 + b'"}', "a value is no text"),
        (b"", "there is no version to go back to"),
    ],
)
def test_what_it_does_not_understand(tmp_path: Path, body: bytes, said: str) -> None:
    """Is refused in one line, and nothing is done; an empty body asks for the default."""
    given = settings(DIR=str(tmp_path), CONTROL_TOKEN="of-the-operator", CONTROL_PORT=str(free_port()))

    async def play() -> bytes:
        changes: list[None] = []
        rollout = Rollout(Releases(tmp_path), History(tmp_path / "history"))
        await rollout.start()
        control = Control(given, rollout, lambda: changes.append(None))
        await control.start(partial(listen, "127.0.0.1"))
        try:
            return await asyncio.to_thread(ask)
        finally:
            await control.stop()
            await rollout.close()

    def ask() -> bytes:
        fields = f"Host: h\r\nAuthorization: Bearer of-the-operator\r\nContent-Length: {len(body)}"
        with RawClient(given.control_port) as client:
            answer = client.ask(f"POST /rollback HTTP/1.1\r\n{fields}\r\n\r\n".encode() + body, "POST")
            assert answer.status in {400, 409}
            return answer.body

    assert asyncio.run(play()).decode().startswith(said)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ("Authorization: Basic {basic}", 200),
        ("Authorization: Basic {basic}\r\nOrigin: https://page.example", 403),
        ("Authorization: Bearer planted-by-others", 401),
    ],
)
def test_who_is_let_in(tmp_path: Path, fields: str, status: int) -> None:
    """Who has the token that was made, whatever lies in the volume since; and no page, whatever its browser knows."""
    given = settings(DIR=str(tmp_path), CONTROL_PORT=str(free_port()))

    async def play() -> int:
        rollout = Rollout(Releases(tmp_path), History(tmp_path / "history"))
        await rollout.start()
        control = Control(given, rollout, lambda: None)
        await control.start(partial(listen, "127.0.0.1"))
        basic = b64encode(f"any:{token_of(given)()}".encode()).decode()
        (tmp_path / TOKEN_FILE).write_text("planted-by-others")
        try:
            return await asyncio.to_thread(ask, fields.format(basic=basic))
        finally:
            await control.stop()
            await rollout.close()

    def ask(sent: str) -> int:
        with RawClient(given.control_port) as client:
            return client.ask(f"GET /versions HTTP/1.1\r\nHost: h\r\n{sent}\r\n\r\n".encode(), "GET").status

    assert asyncio.run(play()) == status


def test_a_port_that_is_off(tmp_path: Path) -> None:
    """Opens nothing, and makes no token."""

    async def play() -> None:
        control = Control(
            settings(DIR=str(tmp_path), CONTROL_PORT="0"), Rollout(Releases(tmp_path), History(tmp_path)), lambda: None
        )
        await control.start(lambda *_: pytest.fail("it listens"))
        await control.stop()

    asyncio.run(play(), debug=True)
    assert list(tmp_path.iterdir()) == []
