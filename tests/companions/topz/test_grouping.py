"""Containers as they are put together from their processes and their cgroups."""

from pathlib import Path

import pytest

from tests.companions.topz.proc_tree import ID, OTHER, ProcTree, pages
from tlsproxy.companions.topz.grouping import Grouping
from tlsproxy.companions.topz.masking import Masking
from tlsproxy.companions.topz.processes import Processes
from tlsproxy.companions.topz.snapshot import Container


class Pod:
    """A /proc and what is seen of its containers."""

    def __init__(self, root: Path) -> None:
        self.tree = ProcTree(root)
        self.processes = Processes(self.tree.place, Masking())
        self.grouping = Grouping(self.tree.place)

    def look(self, interval: float | None = None) -> dict[str, Container]:
        seen = self.processes.look(measured=interval is not None)
        return {one.name: one for one in self.grouping.group(seen, interval)}


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def test_sums(pod: Pod) -> None:
    """What is not told by a cgroup is the sum of its processes; a pod's own container stands last."""
    pod.tree.add(1, "pause", cgroup=f"0::/../{OTHER}\n")
    pod.tree.add(7, "app", cgroup=f"0::/../{ID}\n")
    pod.tree.add(8, "zzz", ppid=7, cgroup=f"0::/../{ID}\n")
    seen = pod.look()
    assert list(seen) == ["app", "pause"]
    assert (seen["app"].processes, seen["app"].threads, seen["app"].rss, seen["app"].id) == (2, 6, pages(20), ID[:12])
    assert seen["pause"].infra
    assert seen["app"].cpu is None


def test_cpu_of_what_can_not_be_looked_into(pod: Pod) -> None:
    """Its counter is what its processes were seen to use, from the first look on, and never goes back."""
    pod.tree.add(7, cpu=5.0)
    assert pod.look()["app"].cpu_seconds == 0.0
    pod.tree.add(7, cpu=6.5)
    seen = pod.look(interval=1.0)["app"]
    assert seen.cpu_seconds == pytest.approx(1.5)
    assert seen.cpu is not None
    assert seen.cpu > 0
    pod.tree.add(8, cpu=1.0, began=1, ppid=7)
    pod.tree.add(7, cpu=7.0)
    assert pod.look()["app"].cpu_seconds == pytest.approx(2.0)


def test_cpu_by_the_cgroup(pod: Pod, tmp_path: Path) -> None:
    """Where the cgroup can be read, it counts: those that have ended are in it too."""
    cgroup = tmp_path / "cgroup"
    cgroup.mkdir()
    for name, content in {"cgroup.procs": "", "memory.current": "9", "cpu.stat": "usage_usec 1000000\n"}.items():
        (cgroup / name).write_text(content)
    pod.tree.write("self/mountinfo", f"41 31 0:38 / {cgroup} rw - cgroup2 cgroup2 rw\n")
    pod.tree.add(7, cpu=0.5)
    assert pod.look()["app"].cpu_seconds == 1.0
    (cgroup / "cpu.stat").write_text("usage_usec 3000000\n")
    seen = pod.look(interval=1.0)["app"]
    assert seen.cpu_seconds == 3.0
    assert seen.cpu is not None
    assert seen.cpu > 100


def test_the_kubelets_name(pod: Pod) -> None:
    """A container is called as in the pod's manifest, where a kubelet has made it."""
    pod.tree.add(7, "java", cgroup=f"0::/../{ID}\n")
    mount = "1 2 8:1 /var/lib/kubelet/pods/u/containers/legacy/3f /dev/termination-log rw - ext4 /dev/sda1 rw\n"
    pod.tree.write("7/mountinfo", mount)
    assert list(pod.look()) == ["legacy"]


def test_processes_of_no_known_container(pod: Pod) -> None:
    """What may not be asked for its cgroup is in none."""
    pod.tree.add(7)
    (pod.tree.root / "7" / "cgroup").unlink()
    assert pod.look() == {}
