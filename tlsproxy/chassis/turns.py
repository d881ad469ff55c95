"""Whose turn it is to write, where several processes write to one pipe or file."""

import fcntl
import os


class Turns:
    """Taken by one process at a time; made before the processes are forked that take turns.

    The kernel gives up what a process holds when it ends, however it does.
    """

    def __init__(self) -> None:
        # A file in memory: the directory may be read-only, and what is written to may be nothing that can be locked.
        self._file = os.memfd_create("turns")

    def take(self) -> bool:
        """Take the turn, unless another process has it; whether it is ours. May be taken again while it is."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def end(self) -> None:
        """Let others have it."""
        fcntl.lockf(self._file, fcntl.LOCK_UN)
