"""Of shared variables: checks in their order, and whose fault what goes wrong is."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.companions.rollout.scripted_port import port, status
from tests.companions.rollout.test_variables import settings
from tlsproxy.companions.rollout import assembly
from tlsproxy.companions.rollout.commands import CommandError
from tlsproxy.companions.rollout.outcomes import Check, Outcome, RefusedError
from tlsproxy.companions.rollout.releases import write_files


async def fine(staged: Path) -> None:
    """Nothing is wrong."""


async def bad(staged: Path) -> None:
    raise RefusedError("bad")


def outcome(volume: Path, given: Mapping[str, str], check: Check = fine, tells: bool = True) -> Outcome:
    """Of one version with one file."""

    async def fill(staged: Path) -> None:
        write_files(staged, {"a": b"a"})

    async def play() -> Outcome:
        rollout = assembly.rollout(settings(**given), volume, "some", check, tells=tells)
        await rollout.start()
        try:
            return await rollout.offer("v1", "the test", fill)
        finally:
            await rollout.close()

    return asyncio.run(play(), debug=True)


def test_files_have_their_mode(tmp_path: Path) -> None:
    """And the layout that is set."""
    assert outcome(tmp_path, {"MODE": "0640", "LAYOUT": "files"}).result == "published"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    assert not (tmp_path / "a").is_symlink()
    assert (tmp_path / assembly.HISTORY_FILE).exists()


def test_a_check_command_comes_last(tmp_path: Path) -> None:
    """It runs among the files, and only on what the other check lets pass."""
    assert outcome(tmp_path / "1", {"CHECK_COMMAND": "cat a"}).result == "published"
    assert outcome(tmp_path / "2", {"CHECK_COMMAND": "cat b"}).result == "rejected"
    assert outcome(tmp_path / "3", {"CHECK_COMMAND": "no-such-program"}, bad) == Outcome("v1", "rejected", "bad")


def test_a_check_command_that_can_not_be_run(tmp_path: Path) -> None:
    """Is no verdict on the version."""
    with pytest.raises(CommandError):
        outcome(tmp_path, {"CHECK_COMMAND": "no-such-program"})


def _told_by_command(volume: Path) -> str:
    text = f"sh -c 'echo $SOME_VERSION $SOME_DIR >{volume}/..told'"
    outcome(volume, {"TELL": "command", "TELL_COMMAND": text})
    return (volume / "..told").read_text()


def _told_by_http(volume: Path) -> str:
    with port([status(200)]) as app:
        outcome(volume, {"TELL": "http", "TELL_URL": f"http://127.0.0.1:{app.number}/r", "TELL_METHOD": "put"})
    return app.asked[0].decode()


@pytest.mark.parametrize(
    ("told", "what"),
    [(_told_by_command, "v1 {volume}\n"), (_told_by_http, "Some-Version: v1\r\n"), (_told_by_http, "PUT /r HTTP")],
)
def test_the_app_hears_which_version(tmp_path: Path, told: Callable[[Path], str], what: str) -> None:
    """By names that begin with the program's."""
    assert what.format(volume=tmp_path) in told(tmp_path)


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ({"TELL": "command", "TELL_COMMAND": "false"}, "failed"),
        ({"TELL": "command", "TELL_COMMAND": "no-such-program"}, "untold"),
        ({"TELL": "signal", "TELL_PROCESS": "pidfile:/no/such"}, "untold"),
        ({"TELL": "end", "TELL_PROCESS": "pidfile:/no/such"}, "untold"),
        ({"TELL": "touch", "TELL_FILE": "/no/such/file"}, "untold"),
        ({"HEALTH": "tcp://127.0.0.1:1", "HEALTH_WITHIN": "0"}, "failed"),
    ],
)
def test_who_says_no_and_who_is_not_reached(tmp_path: Path, given: dict[str, str], result: str) -> None:
    """A verdict fails the version; that nobody could be told is tried again."""
    assert outcome(tmp_path, given).result == result


def test_an_app_that_has_not_started(tmp_path: Path) -> None:
    """Is neither told nor watched."""
    given = {"TELL": "command", "TELL_COMMAND": "false", "HEALTH": "tcp://127.0.0.1:1"}
    assert outcome(tmp_path, given, tells=False).result == "published"
