"""A look at everything: what processes, containers and the machine have to do with one another."""

from pathlib import Path

import pytest

from tests.companions.topz.proc_tree import ID, ProcTree, pages
from tlsproxy.companions.topz import look
from tlsproxy.companions.topz.look import Looks
from tlsproxy.companions.topz.masking import Masking


@pytest.fixture
def tree(tmp_path: Path) -> ProcTree:
    return ProcTree(tmp_path)


def test_a_snapshot(tree: ProcTree) -> None:
    """Memory is in per cent of the machine's where there is no limit; PSS is told where it may be read."""
    tree.write("pressure/cpu", "some avg10=1.00 avg60=0 avg300=0 total=5\n")
    tree.write("sys/kernel/hostname", "shop-5d8f7c\n")
    tree.add(7, pss=4)
    tree.add(8, pss=None)
    seen = Looks(tree.place, Masking(), pss=True).look()
    assert (seen.machine.memory, seen.machine.available, seen.machine.load) == (1_024_000, 409_600, (0.5, 0.25, 0.1))
    assert seen.machine.pressure.keys() == {"cpu"}
    assert seen.machine.name == "shop-5d8f7c"
    assert [process.pss for process in seen.processes] == [4096, None]
    assert seen.processes[0].memory == pages(10) / 1_024_000 * 100
    assert seen.containers[0].pss is None


def test_without_pss(tree: ProcTree) -> None:
    """It is not asked for where it is switched off."""
    tree.add(7, pss=4)
    assert Looks(tree.place, Masking(), pss=False).look().processes[0].pss is None


def test_memory_of_a_limit(tree: ProcTree, tmp_path: Path) -> None:
    """A process's memory is in per cent of its container's limit."""
    cgroup = tmp_path / "cgroup" / ID
    cgroup.mkdir(parents=True)
    for name, content in {"cgroup.procs": "7", "memory.current": "9", "memory.max": "81920"}.items():
        (cgroup / name).write_text(content)
    tree.write("self/mountinfo", f"41 31 0:38 / {tmp_path}/cgroup rw - cgroup2 cgroup2 rw\n")
    tree.add(7, cgroup=f"0::/{ID}\n", pages=10)
    assert Looks(tree.place, Masking(), pss=False).look().processes[0].memory == pages(10) / 81920 * 100


def test_a_look_long_ago_measures_nothing(tree: ProcTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interval is from the look before, unless that is too long ago."""
    tree.add(7)
    looks = Looks(tree.place, Masking(), pss=False)
    assert looks.look().interval is None
    assert looks.look().interval is not None
    monkeypatch.setattr(look, "BASELINE", -1.0)
    again = looks.look()
    assert (again.interval, again.processes[0].cpu) == (None, None)
