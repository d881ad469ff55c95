"""Lines to a descriptor, in batches, by a writer that never waits for whoever reads them.

Whoever adds lines flushes twice a second; a full batch is written earlier. What the reader of a pipe does not
take is kept up to a bound and then lost, and counted. (A thread for the writing would cost each request 7 us more, in
the interpreter's lock.)
"""

import logging
import os
import select
import stat
import sys
from collections import deque
from time import monotonic, sleep
from typing import TextIO

from tlsproxy.chassis.measures import Measure
from tlsproxy.chassis.repeats import Repeats
from tlsproxy.chassis.turns import Turns

_logger = logging.getLogger("tlsproxy.output")
# A batch is about 100 KB: larger ones gain nothing.
_BATCH = 256
# What is kept for a reader that is slow: seconds of a busy core's lines.
_BACKLOG = 16 * 1024 * 1024
# What goes into a pipe whole, whoever else writes to it (POSIX: PIPE_BUF).
_PIPE_PIECE = select.PIPE_BUF
# Seconds until a turn that another process has is asked for again, at the end.
_TURN = 0.01


def descriptor_of(stream: TextIO | None) -> int:
    """What writes to a standard stream; /dev/null where the process was started without it."""
    # Its number is free then, and the next file or connection that is opened has it.
    return os.open(os.devnull, os.O_WRONLY) if stream is None else stream.fileno()


class LineWriter:
    """Writes lines to a descriptor, in order.

    Args:
        descriptor: open for writing; it is neither closed here nor made non-blocking, since others may share it.
        backlog: bytes that may wait for a slow reader.
        losing: told, in a storm once in ten seconds, that lines are lost; None: nobody is.
        turns: taken with other processes that write there, so that no line is torn that is longer than what a pipe
            takes whole; None: nobody else writes.
    """

    def __init__(
        self,
        descriptor: int,
        backlog: int = _BACKLOG,
        losing: logging.Logger | None = _logger,
        turns: Turns | None = None,
    ) -> None:
        self.lost = 0
        """Lines that were never written, or not whole."""
        self._descriptor = descriptor
        self._bound = backlog
        self._losing = losing
        self._turns = turns
        self._may_write = turns is None
        """Whether it is our turn."""
        self._repeats = Repeats()
        self._lines: list[str] = []
        self._batches: deque[bytes] = deque()
        """What waits to be written."""
        self._at = 0
        """Bytes of the oldest batch that are written."""
        self._waiting = 0
        """Bytes that are not."""
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._piece = _BACKLOG if is_file else _PIPE_PIECE
        self._can_refuse_to_wait = not is_file and sys.platform == "linux"

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
                self._batches.append(data)
                self._waiting += len(data)
        while self._batches and self._has_turn() and self._write_some():
            pass
        self._end_turn()

    def _has_turn(self) -> bool:
        if self._turns is not None and not self._may_write:
            self._may_write = self._turns.take()
        return self._may_write

    def _end_turn(self) -> None:
        """Let others write, but not into a line of ours."""
        if self._turns is None or not self._may_write:
            return
        if not self._at or self._batches[0].endswith(b"\n", 0, self._at):
            self._turns.end()
            self._may_write = False

    def _write_some(self) -> bool:
        """Write a piece of the oldest batch; whether more may be tried."""
        data, at = self._batches[0], self._at
        try:
            written = self._write(data[at : self._end(data, at)])
        except OSError as error:
            self._lose(data.count(b"\n", at), error.strerror or str(error))
            written = len(data) - at
        self._waiting -= written
        self._at += written
        if self._at == len(data):
            self._batches.popleft()
            self._at = 0
        return written > 0

    def _end(self, data: bytes, at: int) -> int:
        """Where a piece ends: with a line, so that what others write comes between lines and never into one."""
        limit = at + self._piece
        return len(data) if limit >= len(data) else data.rfind(b"\n", at, limit) + 1 or limit

    def _write(self, piece: bytes) -> int:
        """Write what is taken without waiting; how many bytes that was."""
        if self._can_refuse_to_wait:
            # Where others write to the same pipe, one that polls as writable may be full before the write.
            try:
                return os.pwritev(self._descriptor, [piece], -1, os.RWF_NOWAIT)
            except BlockingIOError:
                return 0
            except OSError as error:
                if isinstance(error, BrokenPipeError):
                    raise
                self._can_refuse_to_wait = False  # terminals, devices and old kernels can't
        return os.write(self._descriptor, piece) if self._poll.poll(0) else 0

    def close(self, within: float) -> None:
        """Write all that is left, waiting for the reader for at most so many seconds."""
        deadline = monotonic() + within
        self.flush()
        while self._batches and (left := deadline - monotonic()) > 0:
            self._poll.poll(left * 1000)
            self.flush()
            if self._turns is not None and self._batches and not self._may_write:
                sleep(_TURN)
        if self._batches:
            lines = sum(data.count(b"\n") for data in self._batches) - self._batches[0].count(b"\n", 0, self._at)
            self._batches.clear()
            self._at = self._waiting = 0
            self._lose(lines, "their reader was too slow")

    def _lose(self, count: int, why: str) -> None:
        self.lost += count
        if self._losing is not None and self._repeats.untold(why, monotonic()) is not None:
            self._losing.error("request lines are being lost: %s; %d so far", why, self.lost)


def lost_measure(request_lines: int, diagnostics: int, program: str = "tlsproxy") -> Measure:
    """Lines that were never written, or not whole, by the stream that they were for."""
    return Measure(
        f"{program}_log_lines_lost_total",
        "counter",
        "Lines that could not be written, since their reader was gone or too slow, or the disk full.",
        ("stream",),
        {("stdout",): request_lines, ("stderr",): diagnostics},
    )
