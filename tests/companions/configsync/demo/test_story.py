"""`configsync demo`, run as people run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.leftovers import processes_with
from tests.e2e.polling import wait_until
from tests.e2e.sidecar_process import PROJECT
from tlsproxy.companions.configsync.demo.story import PROGRAM

VERSION = "([0-9a-f]{20})"


def test_the_transcript(tmp_path: Path) -> None:
    """A good change reaches the app, a torn one is refused, a sick one is undone; nothing is left behind."""
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "CONFIGSYNC_TELL": "none"}
    ended = subprocess.run(
        [sys.executable, "-m", PROGRAM, "demo"],
        env=environment,
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    shown = ended.stdout
    assert "CONFIGSYNC_TELL=end\n" in shown
    assert re.search(r'\[\+\] \d+\.\d s after the change the app says "Good morning"\n', shown)
    assert re.search(r"\[\+\] process (\d+) was asked to end, and its container started (?!\1 )\d+ with", shown)
    assert "[+] refused: app.json: line " in shown
    assert "[+] the file is the one before, and the app was left alone" in shown
    assert re.search(r'\[\+\] \d+\.\d s after the change the app says "Good morning" again\n', shown)
    good = re.search(rf"current: {VERSION}\n", shown)
    assert good, shown
    assert re.search(rf" {good[1]} restored, .* {VERSION} failed: .*/healthz did not become healthy within 3s", shown)
    assert shown.isascii()
    assert list(tmp_path.iterdir()) == []
    wait_until(lambda: not list(processes_with("TMPDIR", str(tmp_path))), "its processes have ended")
