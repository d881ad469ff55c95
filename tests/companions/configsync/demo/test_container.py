"""The demo's container starts what runs in it anew, as long as there is a demo."""

import os
import signal
import sys

from tests.e2e.leftovers import processes_with
from tests.e2e.polling import wait_until
from tlsproxy.companions.configsync.demo.container import container


def test_started_anew() -> None:
    """What ends is started again with the same environment, and not after the block."""
    mark = f"{os.getpid()}-container"
    with container([sys.executable, "-S", "-c", "input()"], {"DEMO_TEST": mark}) as kept:
        ended = wait_until(lambda: kept.pid, "it has started")  # of the end of its input
        wait_until(lambda: kept.pid != ended, "it was started anew")
    with container(["sleep", "60"], {"PATH": os.environ["PATH"], "DEMO_TEST": mark}) as kept:
        first = kept.pid
        os.kill(first, signal.SIGTERM)
        wait_until(lambda: kept.pid != first, "it was started anew")
    assert list(processes_with("DEMO_TEST", mark)) == []
