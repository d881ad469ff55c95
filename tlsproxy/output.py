"""Lines to a descriptor, in batches, by a writer that never waits for whoever reads them.

Whoever adds lines flushes twice a second; a full batch is written earlier. What the reader of a pipe does not
take is kept up to a bound and then lost, and counted. (A thread for the writing would cost each request 7 us more, in
the interpreter's lock.)
"""

import logging
import os
import select
import stat
from collections import deque
from time import monotonic

_logger = logging.getLogger("tlsproxy.output")
# A batch is about 100 KB: larger ones gain nothing.
_BATCH = 256
# What is kept for a reader that is slow: seconds of a busy core's lines.
_BACKLOG = 16 * 1024 * 1024
# A pipe that polls as writable takes this much without waiting (POSIX: PIPE_BUF).
_PIPE_PIECE = select.PIPE_BUF


class LineWriter:
    """Writes lines to a descriptor, in order.

    Args:
        descriptor: open for writing; it is neither closed here nor made non-blocking, since others may share it.
        backlog: bytes that may wait for a slow reader.
    """

    def __init__(self, descriptor: int, backlog: int = _BACKLOG) -> None:
        self.lost = 0
        """Lines that were never written, or not whole."""
        self._descriptor = descriptor
        self._bound = backlog
        self._lines: list[str] = []
        self._batches: deque[tuple[memoryview, int]] = deque()
        """What waits to be written, and how many lines it is."""
        self._waiting = 0
        """Bytes of it."""
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        mode = os.fstat(descriptor).st_mode
        self._piece = _BACKLOG if stat.S_ISREG(mode) else _PIPE_PIECE

    def add(self, line: str) -> None:
        """Take one line with its end."""
        lines = self._lines
        lines.append(line)
        if len(lines) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered, as far as it is taken without waiting."""
        lines = self._lines
        if lines:
            self._lines = []
            data = "".join(lines).encode()
            if self._waiting + len(data) > self._bound:
                self._lose(len(lines), "nobody reads them")
            else:
                self._batches.append((memoryview(data), len(lines)))
                self._waiting += len(data)
        while self._batches and self._write_some():
            pass

    def _write_some(self) -> bool:
        """Write a piece of the oldest batch; whether more may be tried."""
        data, count = self._batches[0]
        try:
            if not self._poll.poll(0):
                return False
            written = os.write(self._descriptor, data[: self._piece])
        except OSError as error:
            self._lose(count, error.strerror or str(error))
            written = len(data)
        self._waiting -= written
        if written < len(data):
            self._batches[0] = data[written:], count
        else:
            self._batches.popleft()
        return True

    def close(self, within: float) -> None:
        """Write all that is left, waiting for the reader for at most so many seconds."""
        deadline = monotonic() + within
        self.flush()
        while self._batches and (left := deadline - monotonic()) > 0:
            self._poll.poll(left * 1000)
            self.flush()
        for _, count in self._batches:
            self._lose(count, "their reader was too slow")

    def _lose(self, count: int, why: str) -> None:
        if not self.lost:
            _logger.error("request lines are being lost: %s", why)
        self.lost += count
