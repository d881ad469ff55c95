"""What is told of the machine, of containers and of one process besides the table, in every form alike; pure."""

from collections.abc import Iterator

from tlsproxy.companions.topz import words
from tlsproxy.companions.topz.detail import Detail
from tlsproxy.companions.topz.snapshot import Container, Pressures, Snapshot

CONTAINER_TITLES = (
    *("CONTAINER", "ID", "PROCS", "THR", "CPU%", "CPU LIMIT", "THROTTLED%"),
    *("MEMORY", "LIMIT", "MEM%", "RSS", "PSS", "OOM", "PRESSURE"),
)
CONTAINER_IS_TEXT = (True, True, *(False,) * 11, True)


def headline(snapshot: Snapshot) -> Iterator[str]:
    """A line on what there is, and one on the machine."""
    processes, containers = len(snapshot.processes), len(snapshot.containers)
    interval = f"CPU over {snapshot.interval:.1f} s" if snapshot.interval is not None else "CPU not measured yet"
    yield (
        f"{snapshot.machine.name}, {words.moment(snapshot.taken)}: {processes} process{'es' * (processes != 1)} "
        f"in {containers} container{'s' * (containers != 1)}, {interval}"
    )
    machine = snapshot.machine
    told = [f"machine: {machine.cpus} CPU{'s' * (machine.cpus != 1)}"]
    if machine.load is not None:
        told.append("load " + " ".join(f"{value:.2f}" for value in machine.load))
    if machine.memory is not None:
        told.append(f"memory {words.size(machine.memory)}, available {words.size(machine.available)}")
    if machine.pressure:
        told.append(f"pressure {pressure(machine.pressure)}")
    yield ", ".join(told)


def pressure(told: Pressures) -> str:
    """Per cent of the last ten seconds in which some tasks waited, by resource."""
    return " ".join(f"{resource} {one.some:.1f}%" for resource, one in told.items()) or words.DASH


def share(container: Container) -> float | None:
    """Memory in per cent of the limit, by what counts against it."""
    usage = container.usage
    if usage.working_set is None or not usage.memory_limit:
        return None
    return usage.working_set / usage.memory_limit * 100


def throttled(container: Container) -> float | None:
    """Per cent of the limit's periods in which it was held back."""
    usage = container.usage
    return (
        usage.throttled_periods / usage.periods * 100 if usage.periods and usage.throttled_periods is not None else None
    )


def cells_of(container: Container) -> list[str]:
    """A row of the table of containers, as `CONTAINER_TITLES` has it."""
    usage = container.usage
    return [
        container.name,
        container.id or words.DASH,
        str(container.processes),
        str(container.threads),
        words.percent(container.cpu),
        words.cpus(usage.cpu_limit),
        words.percent(throttled(container)),
        words.size(usage.working_set),
        words.size(usage.memory_limit),
        words.percent(share(container)),
        words.size(container.rss),
        words.size(container.pss),
        words.count(usage.oom_kills),
        pressure(usage.pressure),
    ]


def container_cells(snapshot: Snapshot) -> tuple[tuple[str, ...], list[list[str]], tuple[bool, ...]]:
    """The table of containers: titles, rows, and which columns are text."""
    return CONTAINER_TITLES, [cells_of(container) for container in snapshot.containers], CONTAINER_IS_TEXT


def facts(detail: Detail) -> Iterator[tuple[str, str]]:
    """What there is to be told of one process in a line each."""
    process, usage = detail.process, detail.container.usage if detail.container is not None else None
    yield "pid", str(process.pid)
    yield "parent", words.count(process.ppid)
    yield "name", process.name or words.DASH
    yield "command", process.command or words.DASH
    yield "container", detail.container.name if detail.container is not None else words.DASH
    yield "state", process.state or words.DASH
    yield "user", process.user or words.DASH
    yield "started", words.moment(process.started) if process.started is not None else words.DASH
    yield "threads", words.count(process.threads)
    yield "CPU", f"{words.percent(process.cpu)} %, {words.seconds(process.cpu_seconds)} since it began"
    yield "CPU limit", words.cpus(usage.cpu_limit) if usage is not None else words.DASH
    yield "memory", f"RSS {words.size(process.rss)}, PSS {words.size(process.pss)}, {words.percent(process.memory)} %"
    yield "memory limit", words.size(usage.memory_limit) if usage is not None else words.DASH
    yield "executable", detail.executable or words.DASH
    yield "directory", detail.directory or words.DASH
    yield "open files", words.count(detail.open_files)
    yield "sockets", words.count(detail.socket_count)
    yield "nice", words.count(detail.nice)
    yield "context switches", _switches(detail)
    yield "read and written", f"{words.size(detail.read)}, {words.size(detail.written)}"
    yield "children", " ".join(map(str, detail.children)) or words.DASH
    yield "environment", detail.environment_hint


def _switches(detail: Detail) -> str:
    if detail.switches is None:
        return words.DASH
    return "{} voluntary, {} not".format(*detail.switches)
