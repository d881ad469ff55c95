"""Measures in Prometheus' text format. The one place that knows prometheus_client.

Imported at the first scrape: prometheus_client takes 1.1 MB, which a sidecar that nobody scrapes is spared.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from tlsproxy.measures import Distribution, Measure

# The version that every Prometheus reads; ours has nothing that a later one would add.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Belongs to no registry: the global one would add its own families to ours.
_PROCESS = ProcessCollector(registry=None)


def render(measures: Iterable[Measure]) -> tuple[bytes, str]:
    """One scrape: the measures, read in a single pass, and the `process_*` family of this process.

    Returns:
        The text and its content type.
    """
    return generate_latest(_Scrape(measures)), CONTENT_TYPE


class _Scrape(Collector):
    """What generate_latest asks for families; good for one pass."""

    def __init__(self, measures: Iterable[Measure]) -> None:
        self._measures = measures

    def collect(self) -> Iterator[Metric]:
        for measure in self._measures:
            yield _family(measure)
        yield from _PROCESS.collect()


def _family(measure: Measure) -> Metric:
    if measure.kind == "histogram":
        return _histogram(measure)
    kind = CounterMetricFamily if measure.kind == "counter" else GaugeMetricFamily
    family = kind(measure.name, measure.help, labels=measure.labels)
    for labels, value in measure.samples.items():
        if not isinstance(value, Distribution):
            family.add_metric(labels, value)
    return family


def _histogram(measure: Measure) -> Metric:
    family = HistogramMetricFamily(measure.name, measure.help, labels=measure.labels)
    for labels, value in measure.samples.items():
        if isinstance(value, Distribution):
            family.add_metric(labels, _buckets(value), value.total)
    return family


def _buckets(distribution: Distribution) -> list[tuple[str, float]]:
    """Prometheus' buckets: each holds all that is at or under its bound, the last one everything."""
    bounds = (*map(str, distribution.bounds), "+Inf")
    return list(zip(bounds, accumulate(distribution.counts), strict=True))
