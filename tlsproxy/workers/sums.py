"""What several processes have counted, added up. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

from tlsproxy.chassis.measures import Distribution, Measure


def added(scrapes: Iterable[Iterable[Measure]]) -> list[Measure]:
    """One family for each name, with the sums of all samples; in the order in which they first come."""
    families: dict[str, Measure] = {}
    for scrape in scrapes:
        for measure in scrape:
            known = families.get(measure.name)
            families[measure.name] = measure if known is None else _both(known, measure)
    return list(families.values())


def _both(one: Measure, other: Measure) -> Measure:
    samples = dict(one.samples)
    for labels, value in other.samples.items():
        samples[labels] = _sum(samples[labels], value) if labels in samples else value
    return replace(one, samples=samples)


def _sum(one: float | Distribution, other: float | Distribution) -> float | Distribution:
    if isinstance(one, Distribution) and isinstance(other, Distribution):
        both = Distribution(one.bounds)
        both.counts = [a + b for a, b in zip(one.counts, other.counts, strict=True)]
        both.total = one.total + other.total
        return both
    assert not isinstance(one, Distribution)
    assert not isinstance(other, Distribution)
    return one + other


def lasting(measures: Iterable[Measure]) -> list[Measure]:
    """Those that outlive whoever has counted them: what has happened, not what is."""
    return [measure for measure in measures if measure.kind != "gauge"]


def added_status(statuses: Iterable[Mapping[str, object]]) -> dict[str, object]:
    """One status of several: numbers are added up, everything else is the first one's."""
    total: dict[str, object] = {}
    for status in statuses:
        for name, value in status.items():
            total[name] = _added(total[name], value) if name in total else value
    return total


def _added(one: object, other: object) -> object:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return added_status([cast("Mapping[str, object]", one), cast("Mapping[str, object]", other)])
    if isinstance(one, int | float) and isinstance(other, int | float) and not isinstance(one, bool):
        return one + other
    return one
