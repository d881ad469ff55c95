"""What the files of /proc say, and what is made of odd ones."""

import os
from pathlib import Path

import pytest

from tlsproxy.companions.topz import proc_files
from tlsproxy.companions.topz.proc_files import PAGE, TICKS, parse_arguments, parse_stat, read

STAT = b"7 (a) b (c) S 3 7 7 0 -1 4194560 1 2 3 4 250 50 9 9 20 0 12 0 4242 99 17 18446744073709551615 1 1"


def test_stat() -> None:
    """A name may hold blanks and parentheses; the rest is counted from its last one."""
    stat = parse_stat(STAT)
    assert stat is not None
    assert (stat.name, stat.state, stat.ppid, stat.threads) == ("a) b (c", "sleeping", 3, 12)
    assert stat.cpu_seconds == 300 / TICKS
    assert (stat.began, stat.rss) == (4242, 17 * PAGE)


@pytest.mark.parametrize("content", [b"", b"7", b"7 (a) S 3", b"() "])
def test_no_stat(content: bytes) -> None:
    """What is no such file, or a part of one, is none."""
    assert parse_stat(content) is None


def test_this_process() -> None:
    """The kernel's own file is read as it is."""
    stat = parse_stat(read(f"/proc/{os.getpid()}/stat"))
    assert stat is not None
    assert (stat.ppid, stat.state) == (os.getppid(), "running")
    assert stat.rss > PAGE


@pytest.mark.parametrize(
    ("content", "arguments"),
    [
        (b"", ()),
        (b"\0\0", ()),
        (b"a\0b c\0\0d\0", ("a", "b c", "", "d")),
        (b"title: all of it   \0\0\0\0", ("title: all of it",)),
        (b"\xff\xfe\0", ("\\xff\\xfe",)),
    ],
)
def test_arguments(content: bytes, arguments: tuple[str, ...]) -> None:
    """Of an empty command line there are none; bytes that are no text stay visible."""
    assert parse_arguments(content) == arguments


def test_the_others() -> None:
    """Each file's value is found by its name; None where there is none."""
    assert proc_files.parse_effective_user(b"Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t5\t5\t5\n") == 2
    assert proc_files.parse_effective_user(b"Name:\tx\n") is None
    assert proc_files.parse_pss(b"0-1 [rollup]\nRss: 8 kB\nPss:     3 kB\nPss_Dirty: 2 kB\n") == 3 * 1024
    assert proc_files.parse_pss(b"") is None
    assert proc_files.parse_memory(b"MemTotal:  12 kB\nHugePages_Total:  0\nOdd:\n")["MemTotal"] == 12 * 1024
    assert proc_files.parse_boot_time(b"cpu 1\nbtime 1700000000\nx 1\n") == 1700000000.0
    assert proc_files.parse_boot_time(b"") is None
    assert proc_files.parse_load(b"0.5 0.25 0.1 1/2 3\n") == (0.5, 0.25, 0.1)
    assert proc_files.parse_load(b"") is None


def test_what_is_long_is_cut(tmp_path: Path) -> None:
    """No more is read than wanted."""
    (tmp_path / "x").write_bytes(b"abcdef")
    assert read(str(tmp_path / "x"), 3) == b"abc"
