"""`configsync check` where nothing answers and nothing can be had; the rest is in e2e/test_check.py."""

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.companions.configsync.test_settings import settings
from tests.companions.rollout.scripted_port import closed_port
from tlsproxy.chassis.exits import Exit
from tlsproxy.companions.configsync.check import check


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    """It turns logging off, for its process."""
    yield
    logging.disable(logging.NOTSET)


def test_everything_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sources, volume and ports each have their line, whatever became of the others; nothing is thrown."""
    (tmp_path / "no").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        outcome = check(
            settings(
                SOURCES=f"a=http://127.0.0.1:{closed_port()}/a,secret:keys/",
                DIR=str(tmp_path / "no"),
                ADMIN_HOST="127.0.0.1",
                ADMIN_PORT="0",
                CONTROL_PORT=str(number),
                KUBERNETES_ACCOUNT=str(tmp_path),
            )
        )
    told = capsys.readouterr().out
    assert outcome is Exit.FAILED
    for what in (
        "no connection to port",
        "secret:keys/: ",
        f"{tmp_path}/no is no directory",
        f"CONFIGSYNC_CONTROL_PORT={number}",
    ):
        assert what in told


def test_a_port_alone(tmp_path: Path) -> None:
    """Has a status of its own, but comes after what else is wrong."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = {"DIR": str(tmp_path), "ADMIN_PORT": "0", "CONTROL_PORT": str(taken.getsockname()[1])}
        assert check(settings(SOURCES=f"a=http://127.0.0.1:{closed_port()}/a", **given)) is Exit.FAILED
