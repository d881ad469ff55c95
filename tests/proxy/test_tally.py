"""Counts as metric families."""

from collections.abc import Iterator

import pytest

from tlsproxy.chassis.measures import Measure
from tlsproxy.proxy.refusals import AppFault, OurLimit, Refusal
from tlsproxy.proxy.tally import APP_ERRORS, CONNECTS, DURATIONS, METHODS, Tally


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
    assert found["tlsproxy_app_errors_total"].samples == {(reason,): 0 for reason in APP_ERRORS}


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
    assert found["tlsproxy_app_errors_total"].samples["app_reset",] == 2
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


def test_every_failure_that_is_counted_is_shown() -> None:
    """Each reason for which the journal counts a failure of the app has a sample, and no other has."""
    counted = [kind for kind in below(Refusal) if issubclass(kind, AppFault | OurLimit) and hasattr(kind, "reason")]
    assert set(APP_ERRORS) == {kind.reason for kind in counted}
    assert APP_ERRORS == (
        "app_invalid", "app_refused", "app_reset", "app_timeout", "app_truncated", "draining", "overloaded",
    )  # fmt: skip


def below(top: type[Refusal]) -> Iterator[type[Refusal]]:
    for kind in top.__subclasses__():
        yield kind
        yield from below(kind)
