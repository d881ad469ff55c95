"""CPUs from the affinity mask and the cgroups' quotas."""

import os
from pathlib import Path

import pytest

from tlsproxy.workers.cpus import granted_cpus, quotas, whole_cpus


@pytest.mark.parametrize(
    ("allowed", "granted", "expected"),
    [
        (8, [], 8),
        (8, [2.0], 2),
        (8, [1.5], 2),
        (8, [2.0, 1.01], 2),
        (8, [0.25], 1),
        (8, [0.001], 1),
        (2, [7.5], 2),
        (1, [], 1),
    ],
)
def test_the_smallest_bound_counts_rounded_up(allowed: int, granted: list[float], expected: int) -> None:
    """A part of a CPU is a process's worth, and there is always one."""
    assert whole_cpus(allowed, granted) == expected


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V1 = {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, [1.5]),
        ("0::/\n", {"cpu.max": "max 100000\n"}, []),
        ("0::/\n", {}, []),
        ("0::/\n", {"cpu.max": "nonsense\n"}, []),
        ("0::/\n", {"cpu.max": ""}, []),
        # The pod's own and the one around it, on a machine or where the host's tree is mounted.
        ("0::/pod/app\n", {"pod/cpu.max": "300000 100000\n", "pod/app/cpu.max": "50000 100000\n"}, [0.5, 3.0]),
        # A cgroup outside of the namespace that is mounted.
        ("0::/../other\n", {"cpu.max": "200000 100000\n"}, [2.0]),
        ("4:cpu,cpuacct:/\n", {**V1, "cpu/cpu.cfs_quota_us": "250000\n"}, [2.5]),
        (
            "4:cpuacct,cpu:/job\n",
            {"cpu/job/cpu.cfs_quota_us": "100000\n", "cpu/job/cpu.cfs_period_us": "50000\n"},
            [2.0],
        ),
        # docker with cgroup v1 names the host's path, and mounts the container's own cgroup at the root.
        ("4:cpu:/docker/abc\n", {**V1, "cpu/cpu.cfs_quota_us": "100000\n"}, [1.0]),
        ("4:cpu:/\n", V1, []),
        ("7:memory:/\n3:cpuset:/\n", {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, []),
        ("", {"cpu.max": "100000 100000\n"}, []),
    ],
)
def test_quotas(tmp_path: Path, own: str, files: dict[str, str], expected: list[float]) -> None:
    """Version 1 and 2, at any depth, from the process's own cgroup upwards; what can't be read is no quota."""
    named = tmp_path / "cgroup"
    named.write_text(own)
    assert list(quotas(tree(tmp_path / "sys", files), named)) == expected


def test_this_machine(tmp_path: Path) -> None:
    """Where nothing is known of cgroups the affinity mask counts."""
    assert granted_cpus(tmp_path, tmp_path / "none") == len(os.sched_getaffinity(0))
    assert 1 <= granted_cpus() <= len(os.sched_getaffinity(0))
