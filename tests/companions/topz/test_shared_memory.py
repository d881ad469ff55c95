"""How often and how long processes are asked for their part of memory."""

from pathlib import Path

import pytest

from tests.companions.topz.proc_tree import ProcTree
from tlsproxy.companions.topz import shared_memory
from tlsproxy.companions.topz.shared_memory import SharedMemory


@pytest.fixture
def tree(tmp_path: Path) -> ProcTree:
    tree = ProcTree(tmp_path)
    for pid in (1, 2, 3):
        tree.add(pid, pss=pid)
    return tree


def test_figures(tree: ProcTree) -> None:
    """Bytes; None for one that may not be read or has ended."""
    assert SharedMemory(tree.place).look([(1, 0), (2, 0), (9, 0)]) == {(1, 0): 1024, (2, 0): 2048, (9, 0): None}


def test_a_figure_lasts(tree: ProcTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process is not asked again before its figure is old; another with its pid is another process."""
    memory = SharedMemory(tree.place)
    memory.look([(1, 0)])
    tree.add(1, pss=7)
    assert memory.look([(1, 0)]) == {(1, 0): 1024}
    assert memory.look([(1, 5)]) == {(1, 5): 7168}
    memory.look([(1, 0)])
    monkeypatch.setattr(shared_memory, "LASTING", 0.0)
    tree.add(1, pss=8)
    assert memory.look([(1, 0)]) == {(1, 0): 8192}


def test_what_time_there_is(tree: ProcTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no time left the others come at the next look, those that wait the longest first."""
    monkeypatch.setattr(shared_memory, "FIRST_LOOK", 0.0)
    monkeypatch.setattr(shared_memory, "LATER_LOOK", 10.0)
    memory, keys = SharedMemory(tree.place), [(1, 0), (2, 0), (3, 0)]
    assert memory.look(keys) == dict.fromkeys(keys)
    assert memory.look(keys) == {(1, 0): 1024, (2, 0): 2048, (3, 0): 3072}
