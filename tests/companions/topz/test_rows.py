"""Which processes are shown, and in which order."""

from dataclasses import replace

import pytest

from tests.companions.topz.snapshots import NOTHING, NOW, SNAPSHOT
from tlsproxy.companions.topz.question import parse_question
from tlsproxy.companions.topz.rows import choose
from tlsproxy.companions.topz.snapshot import Process


def shown(query: str, limit: int = 0) -> list[int]:
    return [row.process.pid for row in choose(SNAPSHOT, parse_question(query), limit).shown]


@pytest.mark.parametrize(
    ("query", "pids"),
    [
        ("", [8, 7, 20, 1, 9, 30]),
        ("sort=-cpu", [1, 9, 20, 7, 8, 30]),
        ("sort=pid", [1, 7, 8, 9, 20, 30]),
        ("sort=-pid", [30, 20, 9, 8, 7, 1]),
        ("sort=rss", [7, 20, 8, 1, 9, 30]),
        ("sort=pss", [7, 8, 1, 9, 20, 30]),
        ("sort=time", [20, 8, 7, 9, 1, 30]),
        ("sort=started", [9, 8, 7, 20, 1, 30]),
        ("sort=command", [1, 9, 7, 20, 8, 30]),
        ("sort=container", [7, 8, 9, 1, 20, 30]),
        ("sort=user", [1, 7, 8, 9, 20, 30]),
        ("sort=state", [8, 1, 7, 20, 9, 30]),
        ("sort=threads", [7, 20, 1, 8, 9, 30]),
        ("sort=memory", [7, 8, 1, 20, 9, 30]),
        ("filter=WORKER", [8, 9]),
        ("filter=zombie", [9]),
        ("filter=20", [20]),
        ("filter=8080", [7]),
        ("filter=nothing", []),
        ("container=app", [8, 7, 9]),
        ("container=0123", [8, 7, 9]),
        ("container=0123456789abcdef", [8, 7, 9]),
        ("container=012", []),
        ("container=ap", []),
        ("container=app&filter=server", [7]),
        ("limit=2", [8, 7]),
        ("tree=on&sort=pid", [1, 7, 8, 9, 20, 30]),
        ("tree=on", [7, 8, 9, 20, 1, 30]),
        ("tree=on&filter=zombie", [7, 9]),
        ("tree=on&container=app&sort=-pid", [7, 9, 8]),
    ],
)
def test_chosen_and_ordered(query: str, pids: list[int]) -> None:
    """Numbers from the largest, text from A, what is not known last; children below their parents."""
    assert shown(query) == pids


def test_limits() -> None:
    """The question's limit counts before the default, and 0 is none; how many there are is told."""
    assert len(shown("", limit=3)) == 3
    assert len(shown("limit=0", limit=3)) == 6
    assert choose(SNAPSHOT, parse_question("limit=1"), 0).found == 6


def test_branches() -> None:
    """A tree's lines show who is below whom, and who is the last."""
    deep = replace(SNAPSHOT, processes=tuple(Process(pid, ppid, "x", "x") for pid, ppid in
                                             ((1, 0), (2, 1), (3, 2), (4, 1), (5, 4))))  # fmt: skip
    rows = choose(deep, parse_question("tree=on&sort=pid"), 0).shown
    assert [row.branch for row in rows] == ["", "├─ ", "│  └─ ", "└─ ", "   └─ "]
    assert [row.depth for row in rows] == [0, 1, 2, 1, 2]


def test_a_deep_tree() -> None:
    """A chain of a thousand processes, each below another, is a tree like any other; one of a ring breaks nothing."""
    chain = tuple(Process(pid, pid - 1, "x", "x") for pid in range(1, 1001))
    rows = choose(replace(SNAPSHOT, processes=chain), parse_question("tree=on&sort=pid"), 0).shown
    assert rows[-1].depth == 999
    own = (Process(5, 5, "x", "x"),)
    assert len(choose(replace(SNAPSHOT, processes=own), parse_question("tree=on"), 0).shown) == 1


def test_nothing() -> None:
    """Of nothing there is nothing to be shown."""
    rows = choose(NOTHING, parse_question("tree=on&filter=x"), 10)
    assert (rows.shown, rows.found, rows.place.now) == ((), 0, NOW)
