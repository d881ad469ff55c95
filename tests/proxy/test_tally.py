"""Counts as metric families."""

import pytest

from tlsproxy.measures import Measure
from tlsproxy.proxy.tally import CONNECTS, DURATIONS, METHODS, Tally


def families(tally: Tally) -> dict[str, Measure]:
    return {measure.name: measure for measure in tally.measures()}


def test_requests_are_counted_by_method_and_code() -> None:
    """Each method of the RFCs has a label of its own, and all others share one: the label is bounded."""
    tally = Tally()
    for method in (*METHODS, "PROPFIND", "-", "MKCOL"):
        tally.requests[method, 200] += 1
    tally.requests["GET", 404] += 2
    samples = families(tally)["tlsproxy_requests_total"].samples
    assert samples["other", "200"] == 3
    assert (samples["GET", "200"], samples["GET", "404"]) == (1, 2)
    assert {method for method, _ in samples} == METHODS | {"other"}


def test_nothing_has_happened() -> None:
    """Before the first request every family is there, at zero or empty."""
    found = families(Tally())
    assert found["tlsproxy_received_bytes_total"].samples == {(): 0}
    assert found["tlsproxy_sent_bytes_total"].samples == {(): 0}
    assert not found["tlsproxy_requests_total"].samples
    assert not found["tlsproxy_app_errors_total"].samples


def test_counts_go_up() -> None:
    """Bytes, errors and times are what was added."""
    tally = Tally()
    tally.received += 5
    tally.sent += 7
    tally.app_errors["app_reset"] += 2
    tally.durations.observe(0.003)
    tally.app_connects.observe(99)
    found = families(tally)
    assert found["tlsproxy_received_bytes_total"].samples == {(): 5}
    assert found["tlsproxy_sent_bytes_total"].samples == {(): 7}
    assert found["tlsproxy_app_errors_total"].samples == {("app_reset",): 2}
    assert found["tlsproxy_request_duration_seconds"].samples == {(): tally.durations}
    assert (sum(tally.durations.counts), tally.app_connects.counts[-1]) == (1, 1)


@pytest.mark.parametrize("bounds", [DURATIONS, CONNECTS])
def test_bounds_ascend(bounds: tuple[float, ...]) -> None:
    """A histogram's bounds are in order, each once."""
    assert list(bounds) == sorted(set(bounds))


def test_every_family_says_what_it_is() -> None:
    """Counters end in _total, and each help is a sentence."""
    for measure in Tally().measures():
        assert measure.name.endswith("_total") == (measure.kind == "counter")
        assert measure.help.endswith(".")
