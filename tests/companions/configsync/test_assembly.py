"""Of configsync's settings: credentials and bounds for its sources, and what a version is held to."""

import asyncio
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.companions.configsync.test_settings import settings
from tlsproxy.companions.configsync import assembly
from tlsproxy.companions.configsync.sources.credentials import Credentials
from tlsproxy.companions.rollout.outcomes import RefusedError


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"TOKEN": "a-token"}, "Bearer a-token"),
        ({"USERNAME": "anna", "PASSWORD": "word"}, "Basic YW5uYTp3b3Jk"),
        ({"TOKEN": "a-token", "USERNAME": "anna", "PASSWORD": "word"}, "Bearer a-token"),
        ({}, None),
    ],
)
def test_credentials(given: dict[str, str], field: str | None) -> None:
    """A token goes before user and password."""
    assert made(**given).authorization() == field


def test_files_are_read_again(tmp_path: Path) -> None:
    """On each use, and before what a variable holds."""
    for name in ("token", "password"):
        (tmp_path / name).write_text("first\n")
    token = made(TOKEN="unused", TOKEN_FILE=str(tmp_path / "token"))
    login = made(USERNAME="anna", PASSWORD_FILE=str(tmp_path / "password"))
    assert (token.authorization(), login.asked_login()) == ("Bearer first", ("anna", "first"))
    for name in ("token", "password"):
        (tmp_path / name).write_text("second\n")
    assert (token.authorization(), login.asked_login()) == ("Bearer second", ("anna", "second"))


def made(**given: str) -> Credentials:
    return assembly._credentials(settings(**given))


def test_the_pace() -> None:
    """A period below a second is kept to, also where changes are heard of."""
    assert assembly.pace(settings(UPDATE_PERIOD="50ms")).until_fetch(1) == 0.05
    assert assembly.pace(settings(RETRY_MAX="5m")).longest_retry == 300


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "app.json: line 1"),
        ({"FORMAT": "none"}, ""),
        ({"FORMAT": "none", "CHECK_COMMAND": "false"}, "false ended with exit status 1"),
    ],
)
def test_what_a_version_is_held_to(tmp_path: Path, given: dict[str, str], why: str) -> None:
    """Its format, and then the command."""
    (tmp_path / "app.json").write_text("{")

    async def checked() -> None:
        await assembly.checks(settings(**given))(tmp_path)

    with pytest.raises(RefusedError, match=why) if why else nullcontext():
        asyncio.run(checked(), debug=True)
