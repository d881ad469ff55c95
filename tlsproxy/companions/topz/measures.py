"""What Prometheus is told: what each container uses and may use, the machine's pressure, and what looking costs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tlsproxy.chassis.measures import Distribution, Measure
from tlsproxy.companions.topz.snapshot import Container, Machine, Pressures


@dataclass(frozen=True, slots=True)
class _Figure:
    """One of each container's."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    value: Callable[[Container], float | None]
    """None: it is not told, and left out."""


_FIGURES = (
    _Figure(
        "cpu_seconds_total",
        "counter",
        "CPU time used, in seconds; of a cgroup that can't be read, what its processes were seen to use.",
        lambda one: one.cpu_seconds,
    ),
    _Figure("cpu_limit", "gauge", "CPUs' worth of time that it may use, if limited.", lambda one: one.usage.cpu_limit),
    _Figure(
        "cpu_periods_total",
        "counter",
        "Periods of the CPU limit in which there was something to run.",
        lambda one: one.usage.periods,
    ),
    _Figure(
        "cpu_throttled_periods_total",
        "counter",
        "Periods in which it was held back by its CPU limit.",
        lambda one: one.usage.throttled_periods,
    ),
    _Figure(
        "cpu_throttled_seconds_total",
        "counter",
        "Time that it was held back by its CPU limit, in seconds.",
        lambda one: one.usage.throttled_seconds,
    ),
    _Figure(
        "memory_bytes", "gauge", "Memory that its cgroup counts, page cache included.", lambda one: one.usage.memory
    ),
    _Figure(
        "memory_working_set_bytes",
        "gauge",
        "Memory without what can be taken back at once.",
        lambda one: one.usage.working_set,
    ),
    _Figure("memory_limit_bytes", "gauge", "Memory that it may use, if limited.", lambda one: one.usage.memory_limit),
    _Figure("memory_rss_bytes", "gauge", "The sum of its processes' RSS.", lambda one: one.rss),
    _Figure(
        "memory_pss_bytes",
        "gauge",
        "The sum of its processes' PSS; left out where one may not be read.",
        lambda one: one.pss,
    ),
    _Figure(
        "oom_kills_total",
        "counter",
        "Processes killed by the kernel for want of memory.",
        lambda one: one.usage.oom_kills,
    ),
    _Figure("processes", "gauge", "Its processes.", lambda one: one.processes),
    _Figure("threads", "gauge", "Its processes' threads.", lambda one: one.threads),
)
_LABELS = ("container", "id")


def container_measures(containers: Sequence[Container]) -> Iterator[Measure]:
    """A family for each figure, with a sample for each container that has it."""
    for figure in _FIGURES:
        samples: dict[tuple[str, ...], float | Distribution] = {
            _labels(one): value for one in containers if (value := figure.value(one)) is not None
        }
        yield Measure(f"topz_container_{figure.name}", figure.kind, figure.help, _LABELS, samples)
    yield Measure(
        "topz_container_pressure_seconds_total",
        "counter",
        "Time that some or all (full) of its tasks waited for a resource, in seconds.",
        (*_LABELS, "resource", "kind"),
        {(*_labels(one), *labels): seconds for one in containers for labels, seconds in _pressure(one.usage.pressure)},
    )


def machine_measures(machine: Machine) -> Iterator[Measure]:
    """What all containers share."""
    yield Measure(
        "topz_pressure_seconds_total",
        "counter",
        "Time that some or all (full) tasks of the machine waited for a resource, in seconds.",
        ("resource", "kind"),
        dict(_pressure(machine.pressure)),
    )


def look_measures(taken: int, seconds: float) -> Iterator[Measure]:
    """What looking has cost."""
    yield Measure("topz_snapshots_total", "counter", "Looks at all processes.", (), {(): taken})
    yield Measure("topz_snapshot_seconds_total", "counter", "Time that these took, in seconds.", (), {(): seconds})


def _labels(container: Container) -> tuple[str, str]:
    return container.name, container.id


def _pressure(told: Pressures) -> Iterator[tuple[tuple[str, str], float]]:
    for resource, one in told.items():
        yield (resource, "some"), one.some_seconds
        if one.full_seconds is not None:
            yield (resource, "full"), one.full_seconds
