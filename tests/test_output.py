"""Lines to a descriptor: in order, in batches, never waiting for a reader, and counted when they are lost."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.polling import wait_until
from tlsproxy.output import LineWriter


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
    assert [r.getMessage() for r in caplog.records] == ["request lines are being lost: nobody reads them"]
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
