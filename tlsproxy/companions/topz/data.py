"""Snapshots and processes as values for JSON: names with their units, null for what is not known; pure."""

from collections.abc import Mapping
from dataclasses import asdict

from tlsproxy.companions.topz import words
from tlsproxy.companions.topz.columns import Place, container_of
from tlsproxy.companions.topz.detail import Detail
from tlsproxy.companions.topz.facts import share, throttled
from tlsproxy.companions.topz.rows import Rows
from tlsproxy.companions.topz.snapshot import Container, Pressures, Process, Snapshot

Values = dict[str, object]


def render(snapshot: Snapshot, rows: Rows) -> Values:
    """The machine, the containers, and the processes that are asked for."""
    machine = snapshot.machine
    return {
        "taken": words.moment(snapshot.taken),
        "interval_seconds": _rounded(snapshot.interval),
        "machine": {
            "name": machine.name,
            "cpus": machine.cpus,
            "memory_bytes": machine.memory,
            "available_bytes": machine.available,
            "load": machine.load,
            "pressure": _pressure(machine.pressure),
        },
        "containers": [_container(container) for container in snapshot.containers],
        "processes": [{**_process(row.process, rows.place), "depth": row.depth} for row in rows.shown],
        "processes_found": rows.found,
    }


def render_detail(detail: Detail, place: Place) -> Values:
    """One process."""
    return {
        **_process(detail.process, place),
        "children": detail.children,
        "executable": detail.executable,
        "directory": detail.directory,
        "open_files": detail.open_files,
        "nice": detail.nice,
        "context_switches": detail.switches and {"voluntary": detail.switches[0], "involuntary": detail.switches[1]},
        "read_bytes": detail.read,
        "written_bytes": detail.written,
        "limits": {name: {"soft": soft, "hard": hard} for name, soft, hard in detail.limits},
        "socket_count": detail.socket_count,
        "sockets": [asdict(socket) for socket in detail.sockets],
        "environment": detail.environment or None,
        "container_details": _container(detail.container) if detail.container is not None else None,
    }


def _process(process: Process, place: Place) -> Values:
    return {
        "pid": process.pid,
        "ppid": process.ppid,
        "name": process.name or None,
        "command": process.command or None,
        "state": process.state,
        "user": process.user,
        "threads": process.threads,
        "started": words.moment(process.started) if process.started is not None else None,
        "cpu_percent": _rounded(process.cpu),
        "cpu_seconds": process.cpu_seconds,
        "memory_percent": _rounded(process.memory),
        "rss_bytes": process.rss,
        "pss_bytes": process.pss,
        "container": container_of(process, place),
    }


def _container(container: Container) -> Values:
    usage = container.usage
    return {
        "name": container.name,
        "id": container.id or None,
        "cgroup": container.key,
        "infra": container.infra,
        "processes": container.processes,
        "threads": container.threads,
        "cpu_percent": _rounded(container.cpu),
        "cpu_seconds": _rounded(container.cpu_seconds),
        "cpu_limit": usage.cpu_limit,
        "throttled_percent": _rounded(throttled(container)),
        "throttled_seconds": usage.throttled_seconds,
        "memory_bytes": usage.memory,
        "working_set_bytes": usage.working_set,
        "memory_limit_bytes": usage.memory_limit,
        "memory_percent": _rounded(share(container)),
        "rss_bytes": container.rss,
        "pss_bytes": container.pss,
        "oom_kills": usage.oom_kills,
        "pressure": _pressure(usage.pressure),
    }


def _pressure(told: Pressures) -> Mapping[str, Values] | None:
    return {
        resource: {
            "some_percent": one.some,
            "full_percent": one.full,
            "some_seconds": one.some_seconds,
            "full_seconds": one.full_seconds,
        }
        for resource, one in told.items()
    } or None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
