"""What is read from /proc."""

import os
import subprocess
import sys

from bench import proc

STAT = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 10 1 5 80 4 0 0 0 0 0\ncpu1 50 0 30 15 0 2 3 0 0 0\nintr 1 2 3\n"


def test_cpu_ticks_counts_user_system_and_ended_children() -> None:
    """Fields 14 to 17 are summed, whatever the process calls itself."""
    stat = "7 (a b) c)) S 1 7 7 0 -1 4194304 100 0 0 0 11 22 33 44 20 0 1 0 100"
    assert proc.cpu_ticks(stat) == 110


def test_core_times_counts_idle_and_waiting_as_idle() -> None:
    """Only the cores asked for count, and iowait is not work."""
    assert proc.core_times(STAT, (0,)) == proc.CoreTimes(busy=16, total=100)
    assert proc.core_times(STAT, (0, 1)) == proc.CoreTimes(busy=101, total=200)


def test_busy_since_is_a_share_of_the_time_between() -> None:
    """Two readings make a share; the same reading twice makes none."""
    earlier = proc.CoreTimes(busy=10, total=100)
    assert proc.CoreTimes(busy=60, total=200).busy_since(earlier) == 0.5
    assert earlier.busy_since(earlier) == 0


def test_kilobytes_reads_whole_names_only() -> None:
    """A field is found by its whole name, in bytes; a missing one is 0."""
    text = "VmHWM:\t    20 kB\nPss:  3 kB\nPss_Anon:  1 kB\n"
    assert (proc.kilobytes(text, "VmHWM"), proc.kilobytes(text, "Pss"), proc.kilobytes(text, "VmRSS")) == (
        20480,
        3072,
        0,
    )


def test_a_living_tree_has_figures_and_an_ended_one_has_none() -> None:
    """Children count while they live; an ended process is an empty tree, not an error."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in proc.tree(os.getpid())
        assert proc.memory(child.pid).resident > 0
        child.communicate(b"\n")
    assert proc.tree(child.pid) == []
    assert proc.cpu_seconds(child.pid) == 0
    assert proc.memory(child.pid) == proc.Memory(0, 0, 0)
