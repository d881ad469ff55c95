"""The demo's processes: an app, and a worker of it that is busy.

`python -m tlsproxy.companions.topz.demo.app`, with arguments that only look like an app's.
"""

import os
import subprocess
import sys
import time

WORKER = "worker"
BUSY, PERIOD = 0.02, 0.1
"""Seconds of work in so many: a fifth of a CPU."""


def main() -> None:
    """Run as the app, or as its worker where the first argument says so; ends with its parent."""
    parent, is_worker = os.getppid(), sys.argv[1:] == [WORKER]
    children = [] if is_worker else _children()
    while os.getppid() == parent and all(child.poll() is None for child in children):
        _work(BUSY if is_worker else 0.0)


def _children() -> list[subprocess.Popen[bytes]]:
    return [subprocess.Popen([sys.executable, "-m", __spec__.name, WORKER])]  # noqa: S603 - this very module


def _work(busy: float) -> None:
    until = time.monotonic() + busy
    while time.monotonic() < until:
        pass
    time.sleep(PERIOD - busy)


if __name__ == "__main__":
    main()
