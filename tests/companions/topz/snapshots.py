"""Snapshots made by hand, for what shows them."""

from tlsproxy.companions.topz.snapshot import Container, Machine, Pressure, Process, Snapshot, Usage

APP, SIDECAR, PAUSE = "/pod/app", "/pod/sidecar", "/pod/pause"
NOW = 1_700_086_400.0

PROCESSES = (
    Process(1, 0, "pause", "/pause", "sleeping", "65535", 1, NOW - 90_000, 0.01, 0.0, 700_000, 10_000, 0.1, PAUSE),
    Process(7, 0, "server", "server --port 8080", "sleeping", "app", 9, NOW - 60, 7.5, 12.34, 50_000_000, 40_000_000,
            37.3, APP),
    Process(8, 7, "worker", "worker <b>&amp;", "running", "app", 1, NOW - 50, 100.0, 87.5, 20_000_000, 15_000_000, 14.9,
            APP),
    Process(9, 7, "worker", "[worker]", "zombie", "app", 1, NOW - 40, 0.5, 0.0, None, None, None, APP),
    Process(20, 0, "tlsproxy", "tlsproxy", "sleeping", "root", 2, NOW - 60, 3600.5, 1.0, 30_000_000, None, 0.1,
            SIDECAR),
    Process(30, None, "", ""),
)  # fmt: skip
CONTAINERS = (
    Container(
        APP,
        "app",
        "0123456789ab",
        processes=3,
        threads=11,
        cpu=99.84,
        rss=70_000_000,
        pss=55_000_000,
        cpu_seconds=108.0,
        usage=Usage(
            cpu_seconds=108.0,
            cpu_limit=1.5,
            periods=10,
            throttled_periods=4,
            throttled_seconds=2.5,
            memory=90_000_000,
            working_set=80_000_000,
            memory_limit=134_217_728,
            oom_kills=1,
            pressure={"cpu": Pressure(12.5, 1.5, 3.0, 1.0)},
        ),
    ),
    Container(SIDECAR, "tlsproxy", "ba9876543210", processes=1, threads=2, cpu=1.0, rss=30_000_000, cpu_seconds=3600.5),
    Container(PAUSE, "pause", "ffffffffffff", infra=True, processes=1, threads=1, cpu=0.0, rss=700_000, pss=10_000),
)
SNAPSHOT = Snapshot(
    taken=NOW,
    at=1000.0,
    took=0.0042,
    interval=5.0,
    machine=Machine(
        "legacy-app-7d4b", 4, 16 * 1024**3, 12 * 1024**3, (0.5, 0.25, 0.1), {"cpu": Pressure(1.5, 0.0, 10.0, 0.0)}
    ),
    processes=PROCESSES,
    containers=CONTAINERS,
)
NOTHING = Snapshot(NOW, 0.0, 0.0, None, Machine("pod", 1, None, None, None, {}), (), ())
"""What is seen where nothing may be read."""
