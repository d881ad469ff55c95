"""The app's container, as far as the demo needs one: what runs in it is started anew whenever it ends."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event, Lock, Thread

PAUSE = 0.1
"""Seconds before a new start, so that an app that ends at once is not all that the machine does. A kubelet waits for
none the first time, and then ever longer."""


class Container:
    """One command, kept running."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = environment
        self._stopped = Event()
        self._lock = Lock()
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        # In a session of its own: a terminal's Ctrl-C is for the demo.
        return subprocess.Popen(  # noqa: S603 - the demo's own
            self._command, env=dict(self._environment), stdin=subprocess.DEVNULL, start_new_session=True
        )

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        return self._process.pid

    def keep(self) -> None:
        """Start it anew whenever it ends, until `stop`."""
        while not self._stopped.is_set():
            self._process.wait()
            if not self._stopped.wait(PAUSE):
                with self._lock:
                    if not self._stopped.is_set():
                        self._process = self._started()

    def stop(self) -> None:
        """End it for good."""
        with self._lock:
            self._stopped.set()
            self._process.kill()
        self._process.wait()


@contextmanager
def container(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Container]:
    """Keeps a command running for the length of the block."""
    kept = Container(command, environment)
    keeping = Thread(target=kept.keep, name="container", daemon=True)
    keeping.start()
    try:
        yield kept
    finally:
        kept.stop()
        keeping.join()
