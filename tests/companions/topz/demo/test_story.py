"""`topz demo`, run as people run it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.companions.topz.running import PROGRAM
from tests.e2e.polling import wait_until
from tests.e2e.sidecar_process import PROJECT
from tlsproxy.companions.topz.processes import pids


def test_the_transcript(tmp_path: Path) -> None:
    """It shows a tree of processes with the password masked, refuses who has no token, and leaves nothing behind."""
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "TOPZ_PORT": "none"}
    ended = subprocess.run(
        [sys.executable, "-m", PROGRAM, "demo"],
        env=environment,
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "[+] 401: nothing is shown" in ended.stdout
    shown = next(line for line in ended.stdout.splitlines() if "--password=***" in line)
    assert "tlsproxy.companions.topz.demo.app --database=legacy" in shown
    assert "tlsproxy.companions.topz.demo.app worker" in ended.stdout
    assert "Authorization: Bearer" in ended.stdout
    assert list(tmp_path.iterdir()) == []
    wait_until(lambda: not list(left_behind(tmp_path)), "its processes have ended")


def left_behind(directory: Path) -> Iterator[int]:
    """Processes that have the variables of this test."""
    for pid in pids("/proc"):
        with suppress(OSError):
            if f"TMPDIR={directory}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes():
                yield pid
