"""When memory is given back, and that it is."""

import ctypes
import platform
from pathlib import Path

import pytest

from tlsproxy.chassis.heap import Slack, give_back


@pytest.mark.parametrize(
    ("connections", "given_back"),
    [
        ([0, 10_000, 9_000, 5_001], 0),
        ([0, 10_000, 5_000], 1),
        ([0, 10_000, 5_000, 2_501], 1),
        ([0, 10_000, 5_000, 2_500, 2_000], 2),
        ([0, 10_000, 0, 0, 0], 1),
        ([0, 500, 0, 500, 0], 2),
        ([0, 499, 0], 0),
        ([0, 10_000, 0, 400, 0], 1),
    ],
)
def test_when(connections: list[int], given_back: int) -> None:
    """Once for each time that half of the connections has ended, if those are many."""
    calls: list[None] = []
    slack = Slack(lambda: calls.append(None))
    for count in connections:
        slack.look(count)
    assert len(calls) == given_back


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has malloc_trim")
def test_give_back() -> None:
    """What is free in the heap below something that is not is the system's again."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    # Each smaller than what malloc would map by itself; every 16th stays.
    pieces = [libc.malloc(64_000) for _ in range(1024)]
    for piece in pieces:
        ctypes.memset(piece, 1, 64_000)
    for number, piece in enumerate(pieces):
        if number % 16:
            libc.free(piece)
    before = resident()
    give_back()
    assert before - resident() > 40_000_000
    for piece in pieces[::16]:
        libc.free(piece)


def resident() -> int:
    """Of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
