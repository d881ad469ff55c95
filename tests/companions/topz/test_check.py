"""`topz check`: what is told of what `run` would do."""

import socket
from pathlib import Path

import pytest

from tlsproxy.chassis.environment import read
from tlsproxy.chassis.exits import Exit
from tlsproxy.companions.topz.check import check
from tlsproxy.companions.topz.settings import Settings


def checked(**given: object) -> Exit:
    environ = {f"TOPZ_{name}": str(value) for name, value in given.items()}
    return check(read(Settings, {"TOPZ_ADMIN_PORT": "0", **environ}).settings)


def test_what_is_found_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is taken stops `run`; a token that can't be read stops those who come."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert checked(TOKEN_FILE=tmp_path / "none", HOST="127.0.0.1", PORT=port) is Exit.PORT
    told = capsys.readouterr().out
    assert f"[-] token: {tmp_path}/none: no such file or directory; nobody is let in\n" in told
    assert "[+] processes: " in told
    assert f"[-] TOPZ_PORT={port}: another process listens there" in told


def test_without_processes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A place without processes keeps /readyz from saying yes, and nothing from starting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert checked(PROC=tmp_path / "none", PORT=port) is Exit.STOPPED
    told = capsys.readouterr().out
    assert "[+] token: none, so the page is on 127.0.0.1 alone\n" in told
    assert f"[-] processes: {tmp_path}/none: no such file or directory\n" in told
    assert f"[+] TOPZ_PORT={port}: free\n" in told


def test_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pod that does not share its processes is told how it would."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "stat").write_text("1 (topz) S 0 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 9 99 10 1 1\n")
    checked(PROC=tmp_path, TOKEN="x", HOST="127.0.0.1", PORT=1, PSS="off")
    told = capsys.readouterr().out
    assert "[+] token: set; the page is on 127.0.0.1\n" in told
    assert "only this one: the pod does not share its processes (shareProcessNamespace: true)" in told
