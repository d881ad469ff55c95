"""A pod that is shown in pictures: an app with workers, one of them busy, its sidecars, and what holds them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.companions.topz.proc_tree import ProcTree
from tlsproxy.companions.topz.proc_files import TICKS

IDS = {"pause": "9f3c" * 16, "legacy-app": "41d7" * 16, "tlsproxy": "b2e0" * 16, "topz": "7a55" * 16}
PSI = "some avg10={0} avg60=0.00 avg300=0.00 total=4180000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=90000\n"
MB = 1024 * 1024
USERS = 1001
"""Of the app; without a name here."""

# pid, name, parent, state, container, share of a CPU, MB, arguments.
PROCESSES = (
    (1, "pause", 0, "S", "pause", 0.0, 1, ("/pause",)),
    (7, "java", 0, "S", "legacy-app", 0.12, 312,
     ("java", "-Xmx384m", "-Ddb.password=hunter2", "-jar", "/app/legacy.jar", "--port=8080")),
    (41, "report.sh", 7, "S", "legacy-app", 0.0, 3, ("/bin/sh", "/app/report.sh", "--month", "2026-10")),
    (42, "wkhtmltopdf", 41, "R", "legacy-app", 0.71, 96, ("wkhtmltopdf", "https://app:s3cr3t@localhost/", "out.pdf")),
    (43, "convert", 7, "Z", "legacy-app", 0.0, 0, ()),
    (60, "tlsproxy", 0, "S", "tlsproxy", 0.02, 44, ("/usr/bin/python3", "/usr/bin/tlsproxy")),
    (75, "topz", 0, "S", "topz", 0.004, 38, ("/usr/bin/python3", "/usr/bin/topz")),
)  # fmt: skip
LIMITS = {
    "legacy-app": {"cpu.max": "100000 100000", "memory.max": str(512 * MB), "memory.current": str(468 * MB)},
    "tlsproxy": {"cpu.max": "50000 100000", "memory.max": str(128 * MB), "memory.current": str(51 * MB)},
    "topz": {"cpu.max": "max 100000", "memory.max": str(64 * MB), "memory.current": str(40 * MB)},
}


@contextmanager
def example_pod(root: Path) -> Iterator[str]:
    """Where its /proc is, for the length of the block; its processes go on working meanwhile."""
    tree = ProcTree(root)
    tree.write("stat", f"cpu 1\nbtime {int(time.time() - time.clock_gettime(time.CLOCK_BOOTTIME))}\n")
    tree.write("meminfo", f"MemTotal: {16 * MB} kB\nMemAvailable: {9 * MB} kB\n")
    tree.write("sys/kernel/hostname", "shop-5d8f7c\n")
    tree.write("loadavg", "0.92 0.71 0.55 2/310 9000\n")
    for resource, share in (("cpu", 2.1), ("memory", 0.0), ("io", 0.4)):
        tree.write(f"pressure/{resource}", PSI.format(share))
    stop = threading.Event()
    began = time.monotonic()
    _work(tree, 0.0)
    worker = threading.Thread(target=_go_on, args=(tree, began, stop))
    worker.start()
    try:
        yield tree.place
    finally:
        stop.set()
        worker.join()


def _go_on(tree: ProcTree, began: float, stop: threading.Event) -> None:
    while not stop.wait(0.05):
        _work(tree, time.monotonic() - began)


def _work(tree: ProcTree, elapsed: float) -> None:
    """Everything as it is so many seconds later."""
    since = round((time.clock_gettime(time.CLOCK_BOOTTIME) - elapsed - 3600) * TICKS)
    for pid, name, ppid, state, container, share, size, arguments in PROCESSES:
        cgroup = f"/../cri-containerd-{IDS[container]}.scope"
        tree.add(
            pid,
            name,
            ppid=ppid,
            state=state,
            cpu=share * (elapsed + 300),
            began=since + pid,
            pages=size * 256,
            arguments=arguments,
            cgroup=f"0::{cgroup}\n",
            uid=USERS if container == "legacy-app" else 65532,
            pss=size * 900,
        )
        mounts = f"1 2 0:3 {cgroup} /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
        kubelet = (
            f"3 2 8:1 /var/lib/kubelet/pods/u/containers/{container}/1 /dev/termination-log rw - ext4 /dev/sda1 rw\n"
        )
        tree.write(f"{pid}/mountinfo", mounts + (kubelet if container != "pause" else ""))
        if container in LIMITS:
            _limit(tree, pid, container, elapsed + 300)


def _limit(tree: ProcTree, pid: int, container: str, age: float) -> None:
    used = age * sum(share for _, _, _, _, inside, share, _, _ in PROCESSES if inside == container)
    throttled = 37 if container == "legacy-app" else 0
    files = {
        **LIMITS[container],
        "cgroup.procs": "",
        "cpu.stat": f"usage_usec {round(used * 1e6)}\n"
        f"nr_periods 400\nnr_throttled {throttled}\nthrottled_usec {throttled * 20000}\n",
        "memory.stat": "inactive_file 4194304\n",
        "memory.events": "oom_kill 0\n",
        "cpu.pressure": PSI.format(8.6 if throttled else 0.0),
        "memory.pressure": PSI.format(0.0),
        "io.pressure": PSI.format(1.2 if throttled else 0.0),
    }
    for name, content in files.items():
        tree.write(f"{pid}/root/sys/fs/cgroup/{name}", content)
