"""Lines to a descriptor, in batches and from a thread of their own, so that a slow reader never stops serving.

Whoever writes lines flushes twice a second; a batch is handed over earlier when it is full. What a reader does not
take is kept up to a bound and then lost, and counted.
"""

import logging
import os
from queue import SimpleQueue
from threading import Thread

_logger = logging.getLogger("tlsproxy.output")
# A batch is about 100 KB, two pipe buffers: larger ones gain nothing.
_BATCH = 256
# What is kept for a reader that is slow: ten seconds of a busy core's lines.
_BACKLOG = 64 * 1024 * 1024


class LineWriter:
    """Writes lines to a descriptor, in order.

    Args:
        descriptor: open for writing; it is not closed here.
        backlog: bytes that may wait for the reader.
    """

    def __init__(self, descriptor: int, backlog: int = _BACKLOG) -> None:
        self.lost = 0
        """Lines that were never written."""
        self._descriptor = descriptor
        self._bound = backlog
        self._lines: list[str] = []
        self._queue: SimpleQueue[tuple[bytes, int] | None] = SimpleQueue()
        self._queued = 0
        self._written = 0
        self._thread = Thread(target=self._run, name="lines", daemon=True)
        self._thread.start()

    def add(self, line: str) -> None:
        """Take one line with its end."""
        lines = self._lines
        lines.append(line)
        if len(lines) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Hand over what has gathered."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        data = "".join(lines).encode()
        if self._queued - self._written + len(data) > self._bound:
            self._lose(len(lines), "nobody reads them")
            return
        self._queued += len(data)
        self._queue.put((data, len(lines)))

    def close(self, within: float) -> None:
        """Hand over the rest and wait for at most so many seconds until all is written."""
        self.flush()
        self._queue.put(None)
        self._thread.join(within)

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            data, count = batch
            try:
                self._write(data)
            except OSError as error:
                self._lose(count, error.strerror or str(error))
            self._written += len(data)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def _lose(self, count: int, why: str) -> None:
        if not self.lost:
            _logger.error("request lines are being lost: %s", why)
        self.lost += count
