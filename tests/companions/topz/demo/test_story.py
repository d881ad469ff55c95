"""`topz demo`, run as people run it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.companions.topz.running import PROGRAM
from tests.e2e.leftovers import processes_with
from tests.e2e.polling import wait_until
from tests.e2e.sidecar_process import PROJECT


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
    wait_until(lambda: not list(processes_with("TMPDIR", str(tmp_path))), "its processes have ended")


def test_the_end_by_hand(tmp_path: Path) -> None:
    """Ctrl-C reaches every process of the terminal: the demo ends, its app with it, and none of them prints a stack."""
    demo = subprocess.Popen(
        [sys.executable, "-m", PROGRAM, "demo"],
        env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)},
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert demo.stdout is not None
    for line in demo.stdout:
        if "topz is ready" in line:
            break
    os.killpg(demo.pid, signal.SIGINT)
    told, errors = demo.communicate(timeout=30)
    assert (demo.returncode, errors) == (0, "")
    assert "Stopped; nothing is left behind." in told
    wait_until(lambda: not list(processes_with("TMPDIR", str(tmp_path))), "its processes have ended")
