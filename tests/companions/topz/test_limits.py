"""What cgroups tell of limits and use, and where their files are found."""

import os
from pathlib import Path

import pytest

from tests.companions.topz.proc_tree import ID, ProcTree
from tlsproxy.companions.topz.limits import Directories, Mount, below, find, parse_mounts, usage
from tlsproxy.companions.topz.snapshot import Usage

UNIFIED = {
    "memory.current": "3000\n",
    "memory.max": "4096\n",
    "memory.stat": "anon 1\ninactive_file 1000\n",
    "memory.events": "low 0\noom_kill 2\n",
    "cpu.max": "150000 100000\n",
    "cpu.stat": "usage_usec 2500000\nnr_periods 10\nnr_throttled 4\nthrottled_usec 500000\n",
    "cpu.pressure": "some avg10=1.00 avg60=0 avg300=0 total=1000000\n",
    "cgroup.procs": "1\n",
}
LEGACY = {
    "memory": {
        "memory.usage_in_bytes": "3000",
        "memory.limit_in_bytes": "4096",
        "memory.stat": "total_inactive_file 1000",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2",
    },
    "cpu": {
        "cpu.cfs_quota_us": "150000",
        "cpu.cfs_period_us": "100000",
        "cpu.stat": "nr_periods 10\nnr_throttled 4\nthrottled_time 500000000",
    },
    "cpuacct": {"cpuacct.usage": "2500000000"},
}


def fill(directory: Path, files: dict[str, str]) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name).write_text(content)
    return str(directory)


def test_version_2(tmp_path: Path) -> None:
    """Seconds, bytes and CPUs; the working set is without what can be taken back."""
    told = usage(Directories(fill(tmp_path, UNIFIED)))
    assert told.pressure["cpu"].some_seconds == 1.0
    assert (told.cpu_seconds, told.cpu_limit, told.memory, told.working_set) == (2.5, 1.5, 3000, 2000)
    assert (told.memory_limit, told.oom_kills) == (4096, 2)
    assert (told.periods, told.throttled_periods, told.throttled_seconds) == (10, 4, 0.5)


def test_version_1(tmp_path: Path) -> None:
    """The same, by one directory for each controller; without pressure, which it does not tell."""
    found = usage(Directories("", {name: fill(tmp_path / name, files) for name, files in LEGACY.items()}))
    assert found == Usage(2.5, 1.5, 10, 4, 0.5, 3000, 2000, 4096, 2, {})


def test_no_limits(tmp_path: Path) -> None:
    """No limit is None in either version, and so is what can't be read."""
    unlimited = {**UNIFIED, "memory.max": "max\n", "cpu.max": "max 100000\n"}
    told = usage(Directories(fill(tmp_path / "2", unlimited)))
    assert (told.cpu_limit, told.memory_limit) == (None, None)
    legacy = {"memory.limit_in_bytes": "9223372036854771712", "cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}
    one = fill(tmp_path / "1", legacy)
    assert usage(Directories("", {"cpu": one, "memory": one})) == Usage()
    assert usage(Directories()) == Usage()
    assert usage(Directories(str(tmp_path / "gone"))) == Usage()


@pytest.mark.parametrize(
    ("root", "cgroup", "rest"),
    [
        ("/", "/", ""),
        ("/", "/a/b", "/a/b"),
        ("/a", "/a/b", "/b"),
        ("/a", "/ab", None),
        ("/", "/../a", None),
        ("/../a", "/../a", ""),
        ("/../a", "/../a/b", "/b"),
        ("/../a", "/../b", None),
    ],
)
def test_below(root: str, cgroup: str, rest: str | None) -> None:
    """A cgroup outside of what is mounted, as another container's, has no file there."""
    assert below(root, cgroup) == rest


def test_mounts() -> None:
    """Of all mounts those of cgroups, with the controllers of version 1."""
    content = (
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
        "32 31 0:29 /docker/x /sys/fs/cgroup/cpu,cpuacct ro shared:1 - cgroup cgroup rw,cpu,cpuacct\n"
        "41 31 0:38 / /sys/fs/cgroup\\040unified rw - cgroup2 cgroup2 rw\n"
        "odd\n"
    )
    cpu, unified = parse_mounts(content)
    assert (cpu.root, cpu.place) == ("/docker/x", "/sys/fs/cgroup/cpu,cpuacct")
    assert {"cpu", "cpuacct"} <= cpu.controllers
    assert unified == Mount("/", "/sys/fs/cgroup unified", frozenset({""}))


def mount(root: str, place: str | Path) -> str:
    return f"41 31 0:38 {root} {place} rw - cgroup2 cgroup2 rw\n"


def test_found_by_our_own_mount(tmp_path: Path) -> None:
    """Where all cgroups are mounted, as from a host, a container's files are below."""
    tree, key = ProcTree(tmp_path / "proc"), f"/x/docker-{ID}.scope"
    tree.add(7, cgroup=f"0::{key}/init\n")
    tree.write("self/mountinfo", mount("/", tmp_path / "cgroup"))
    place = fill(tmp_path / "cgroup" / key[1:], UNIFIED)
    assert find(tree.place, 7, key) == Directories(place)


def test_found_through_a_process(tmp_path: Path) -> None:
    """Where only a container itself has its cgroup mounted, it is seen with the eyes of one of its processes."""
    tree, key = ProcTree(tmp_path / "proc"), f"/../docker-{ID}.scope"
    tree.add(7, cgroup=f"0::{key}\n")
    tree.write("self/mountinfo", mount("/", tmp_path / "cgroup"))
    tree.write("7/mountinfo", mount(key, "/sys/fs/cgroup"))
    fill(tmp_path / "cgroup", UNIFIED)
    place = fill(tmp_path / "proc/7/root/sys/fs/cgroup", UNIFIED)
    assert find(tree.place, 7, key) == Directories(place)


def test_another_controllers_cgroup_is_not_the_containers(tmp_path: Path) -> None:
    """A controller that a container is not told apart by tells of all containers, and is left out."""
    tree, key = ProcTree(tmp_path / "proc"), f"/docker/{ID}"
    tree.add(7, cgroup=f"4:memory:{key}\n1:cpu:/\n")
    mounts = (f"4{name} 1 0:1 / {tmp_path}/{name} rw - cgroup cgroup rw,{name}\n" for name in ("cpu", "memory"))
    tree.write("self/mountinfo", "".join(mounts))
    for place in (tmp_path / "cpu", tmp_path / "cpu" / key[1:], tmp_path / "memory" / key[1:]):
        fill(place, {"cgroup.procs": ""})
    assert find(tree.place, 7, key) == Directories("", {"memory": f"{tmp_path}/memory{key}"})


def test_not_to_be_found(tmp_path: Path) -> None:
    """A process that has ended, and a container that can't be looked into, have none."""
    tree = ProcTree(tmp_path)
    tree.add(7, cgroup=f"0::/../{ID}\n")
    assert find(tree.place, 7, f"/../{ID}") == Directories()
    assert find(tree.place, 8, "/") == Directories()
    assert not Directories().found


def test_this_machine() -> None:
    """What this process is in is looked at without an error, whatever the machine has."""
    usage(find("/proc", os.getpid(), "/"))
