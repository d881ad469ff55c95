"""Measures in Prometheus' text format. The one place that knows prometheus_client, whose are the `process_*`.

Imported at the first scrape: prometheus_client takes 1.1 MB, which a sidecar that nobody scrapes is spared. The text is
made here, since every request waits meanwhile: that takes a third of the library's time, which shows where there are a
thousand certificates.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from pathlib import Path

from prometheus_client import ProcessCollector

from tlsproxy.chassis.measures import Distribution, Measure

# The version that every Prometheus reads; ours has nothing that a later one would add.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_START = "process_start_time_seconds"
_CPU = "process_cpu_seconds_total"
_FILES = "process_open_fds"


def render(measures: Iterable[Measure], processes: Iterable[int] = ()) -> tuple[bytes, str]:
    """One scrape: the measures, read in a single pass, and the `process_*` family.

    Args:
        measures: in the order in which they are shown. Where `process_open_fds` is one, it is what the other processes
            have counted themselves, and counts in place of what the kernel would say of them.
        processes: ids of those whose `process_*` are added to this one's; memory that they share counts for each.

    Returns:
        The text and its content type.
    """
    told = {measure.name: measure for measure in measures}
    counted = told.pop(_FILES, None)
    families = [*told.values(), *process_measures(processes, counted)]
    return "".join(line for family in families for line in _lines(family)).encode(), CONTENT_TYPE


# --- The text: https://prometheus.io/docs/instrumenting/exposition_formats/ ---------------------------------


def _lines(measure: Measure) -> Iterator[str]:
    yield f"# HELP {measure.name} {measure.help}\n# TYPE {measure.name} {measure.kind}\n"
    for texts, value in measure.samples.items():
        labels = [f'{name}="{_escaped(text)}"' for name, text in zip(measure.labels, texts, strict=True)]
        if isinstance(value, Distribution):
            yield from _histogram(measure.name, labels, value)
        else:
            yield _sample(measure.name, labels, value)


def _histogram(name: str, labels: list[str], distribution: Distribution) -> Iterator[str]:
    """Each bucket holds all that is at or under its bound, the last one everything."""
    count = 0
    for bound, count in zip((*distribution.bounds, "+Inf"), accumulate(distribution.counts), strict=True):
        yield _sample(f"{name}_bucket", [*labels, f'le="{bound}"'], count)
    yield _sample(f"{name}_sum", labels, distribution.total)
    yield _sample(f"{name}_count", labels, count)


def _sample(name: str, labels: list[str], value: float) -> str:
    return f"{name}{{{','.join(labels)}}} {value}\n" if labels else f"{name} {value}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


# --- The processes ------------------------------------------------------------------------------------------


def process_measures(others: Iterable[int] = (), counted: Measure | None = None) -> Iterator[Measure]:
    """The `process_*` of this process and others together; the start is this one's."""
    own, *more = map(_process, ("self", *map(str, others)))
    for name, (help_, value) in own.items():
        rest = 0.0 if name == _START else sum(process[name][1] for process in more if name in process)
        if name == _FILES and counted is not None:
            rest = _only(counted)
        yield Measure(name, "counter" if name.endswith("_total") else "gauge", help_, (), {(): value + rest})


def _only(measure: Measure) -> float:
    (value,) = measure.samples.values()
    assert not isinstance(value, Distribution)
    return value


def _process(pid: str) -> Mapping[str, tuple[str, float]]:
    """Help and value of the `process_*` of a process, by name; of one that has ended there is nothing."""
    # In no registry: the global one would add its own families to ours.
    families = ProcessCollector(pid=lambda: pid, registry=None).collect()
    values = {sample.name: (family.documentation, sample.value) for family in families for sample in family.samples}
    if _CPU in values:
        help_, seconds = values[_CPU]
        values[_CPU] = help_, seconds + _cpu_of_ended(pid)
    return values


def _cpu_of_ended(parent: str) -> float:
    """Seconds of CPU of those that a process has seen end, without which the sum of all would go back (proc(5))."""
    try:
        fields = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
