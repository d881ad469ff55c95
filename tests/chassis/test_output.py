"""Lines to a descriptor: in order, in batches, never waiting for a reader, and counted when they are lost."""

import contextlib
import fcntl
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.polling import wait_until
from tlsproxy.chassis.output import LineWriter, lost_measure


class Pipe:
    """A pipe whose reader is the test."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.capacity = fcntl.fcntl(self.writer, fcntl.F_GETPIPE_SZ)

    def read(self) -> bytes:
        """Everything that is there."""
        pieces = []
        try:
            while piece := os.read(self.reader, 1 << 20):
                pieces.append(piece)
        except BlockingIOError:
            pass
        return b"".join(pieces)

    def close_reader(self) -> None:
        os.close(self.reader)
        self.reader = -1

    def close(self) -> None:
        for descriptor in (self.reader, self.writer):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_lines_come_in_order(pipe: Pipe) -> None:
    """What is flushed is written, as it was added."""
    writer = LineWriter(pipe.writer)
    for n in range(10):
        writer.add(f"line {n} é\n")
    writer.flush()
    writer.close(5)
    assert pipe.read().decode() == "".join(f"line {n} é\n" for n in range(10))
    assert writer.lost == 0


def test_lines_wait_for_a_flush_or_a_full_batch(pipe: Pipe) -> None:
    """A line alone costs no write; many together are written without being asked for."""
    writer = LineWriter(pipe.writer)
    writer.add("x\n")
    assert pipe.read() == b""
    for _ in range(1000):
        writer.add("x\n")
    assert len(wait_until(pipe.read, "a batch is written")) >= 256 * 2
    writer.close(5)


def test_a_flush_of_nothing_is_nothing(pipe: Pipe) -> None:
    """It may be called at any time."""
    writer = LineWriter(pipe.writer)
    writer.flush()
    writer.close(5)
    assert pipe.read() == b""


def test_a_slow_reader_stops_nobody(pipe: Pipe) -> None:
    """When the pipe is full, adding and flushing return at once; the lines come when there is room."""
    writer = LineWriter(pipe.writer)
    line = "x" * 99 + "\n"
    count = pipe.capacity // 100 * 3
    started = time.monotonic()
    for _ in range(count):
        writer.add(line)
    writer.flush()
    assert time.monotonic() - started < 2
    got = b""

    def gather() -> bool:
        nonlocal got
        got += pipe.read()
        writer.flush()
        return len(got) >= count * 100

    wait_until(gather, "all lines")
    assert got.decode() == line * count
    assert writer.lost == 0
    writer.close(5)


def test_what_nobody_reads_is_lost_and_counted(pipe: Pipe, caplog: pytest.LogCaptureFixture) -> None:
    """Beyond the backlog lines are lost whole, the first time with a word about it, and later ones come again."""
    writer = LineWriter(pipe.writer, backlog=200_000)
    count = (pipe.capacity + 1_000_000) // 100
    for n in range(count):
        writer.add(f"{n:>99}\n")
    writer.flush()
    assert 0 < writer.lost < count
    assert [r.getMessage() for r in caplog.records] == ["request lines are being lost: nobody reads them; 256 so far"]
    got = b""

    def gather() -> bool:
        nonlocal got
        got += pipe.read()
        writer.flush()
        return len(got) >= (count - writer.lost) * 100

    wait_until(gather, "the lines that were kept")
    writer.add("after\n")
    writer.close(5)
    *numbers, last = (got + pipe.read()).decode().splitlines()
    assert last == "after"
    assert len(numbers) == count - writer.lost
    assert [int(n) for n in numbers] == sorted(int(n) for n in numbers)


def test_a_reader_that_has_gone_is_no_disaster(pipe: Pipe, caplog: pytest.LogCaptureFixture) -> None:
    """A broken pipe loses lines, and is said once."""
    writer = LineWriter(pipe.writer)
    pipe.close_reader()
    for _ in range(3):
        writer.add("x\n")
        writer.flush()
    writer.close(5)
    assert writer.lost == 3
    assert len(caplog.records) == 1


def test_close_waits_for_the_reader(pipe: Pipe) -> None:
    """The last lines are written, though the reader takes them only now."""
    writer = LineWriter(pipe.writer)
    size = pipe.capacity * 2
    writer.add("x" * size + "\n")
    os.set_blocking(pipe.reader, True)
    got = bytearray()

    def read() -> None:
        while len(got) < size + 1:
            got.extend(os.read(pipe.reader, 1 << 16))

    reader = threading.Thread(target=read)
    reader.start()
    writer.close(10)
    reader.join(5)
    assert len(got) == size + 1
    assert writer.lost == 0


def test_close_waits_no_longer_than_told(pipe: Pipe) -> None:
    """A reader that takes nothing delays the end by that time alone, and what it did not take is counted."""
    writer = LineWriter(pipe.writer)
    writer.add("x" * pipe.capacity * 2 + "\n")
    started = time.monotonic()
    writer.close(0.2)
    assert 0.1 < time.monotonic() - started < 2
    assert writer.lost == 1


def test_the_descriptor_is_left_as_it_is(pipe: Pipe) -> None:
    """It is shared with others: neither made non-blocking nor closed."""
    writer = LineWriter(pipe.writer)
    writer.add("x\n")
    writer.close(5)
    assert os.get_blocking(pipe.writer)
    os.write(pipe.writer, b"y\n")
    assert pipe.read() == b"x\ny\n"


def test_what_others_write_comes_between_lines(pipe: Pipe) -> None:
    """Writers that share a pipe, as workers do, never cut each other's lines, however slowly it is read."""
    writers = [LineWriter(pipe.writer) for _ in range(2)]
    lines = [f"{name}{'x' * (37 + name)}\n" for name in range(2)]
    for _ in range(pipe.capacity // 40):
        for writer, line in zip(writers, lines, strict=True):
            writer.add(line)
    got = b""

    def gather() -> bool:
        nonlocal got
        got += os.read(pipe.reader, 1000)
        for writer in writers:
            writer.flush()
        return len(got) >= pipe.capacity // 40 * sum(map(len, lines))

    wait_until(gather, "all lines", 20)
    assert set(got.decode().splitlines(keepends=True)) == set(lines)


def test_a_pipe_that_fills_between_a_look_and_a_write(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the pipe has polled as writable and another process has filled it since, nobody waits."""
    writer = LineWriter(pipe.writer)
    os.set_blocking(pipe.writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe.writer, b"y" * 4096)
    os.set_blocking(pipe.writer, True)
    monkeypatch.setattr(writer, "_poll", Ready())
    writer.add("x\n")
    writer.flush()
    assert set(pipe.read()) == {ord("y")}
    writer.flush()
    assert pipe.read() == b"x\n"


class Ready:
    """A poll object that has looked too early."""

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        return [(0, select.POLLOUT)]


def test_half_written_lines_are_lost_and_no_others(pipe: Pipe) -> None:
    """When the reader goes away in the middle, what it was given whole is not counted."""
    writer = LineWriter(pipe.writer)
    line = "x" * 99 + "\n"
    count = pipe.capacity // 100 * 2
    for _ in range(count):
        writer.add(line)
    writer.flush()
    got = len(pipe.read())
    pipe.close_reader()
    writer.close(5)
    assert 0 < got < count * 100
    assert writer.lost == count - got // 100


def test_started_without_the_stream() -> None:
    """A process that was given no standard output writes to nobody, and never to what was opened in its place."""
    code = (
        "import socket, sys; from tlsproxy.chassis.output import *\n"
        "number = descriptor_of(sys.stdout); a, b = socket.socketpair(); w = LineWriter(number)\n"
        "w.add('x'); w.close(1)\n"
        "b.setblocking(False); a.setblocking(False)\n"
        "for end in a, b:\n"
        "    try: sys.exit(f'{end.recv(1)!r} was read')\n"
        "    except BlockingIOError: pass"
    )
    command = ["/bin/sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, code]
    subprocess.run(command, check=True)


def test_a_file(tmp_path: Path) -> None:
    """Standard output may be a file."""
    with (tmp_path / "lines").open("wb") as file:
        writer = LineWriter(file.fileno())
        for n in range(5000):
            writer.add(f"{n}\n")
        writer.close(5)
    assert (tmp_path / "lines").read_text() == "".join(f"{n}\n" for n in range(5000))


def test_a_full_disk(caplog: pytest.LogCaptureFixture) -> None:
    """A device that takes nothing loses lines, with the reason."""
    with Path("/dev/full").open("wb", buffering=0) as full:
        writer = LineWriter(full.fileno())
        writer.add("x\n")
        writer.close(5)
        assert writer.lost == 1
    assert "No space left" in caplog.text


def test_a_storm_of_losses_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever keeps failing is said once in a while, and each line counts."""
    with Path("/dev/full").open("wb", buffering=0) as full:
        writer = LineWriter(full.fileno())
        for _ in range(5):
            writer.add("x\n")
            writer.flush()
        assert writer.lost == 5
    assert [r.getMessage() for r in caplog.records] == [
        "request lines are being lost: No space left on device; 1 so far"
    ]


def test_lost_lines_are_a_metric() -> None:
    """One counter for both streams."""
    assert lost_measure(3, 4).samples == {("stdout",): 3, ("stderr",): 4}
