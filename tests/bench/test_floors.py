"""The floors beside a run."""

from typing import Literal

import pytest

from bench.floors import MB, Verdict, judge
from bench.idle import FIRST, Idle
from bench.latency import Course, Found
from bench.machine import Cores, Machine
from bench.probe import Connection
from bench.proc import Memory
from bench.results import FrontFacts, Results
from bench.rounds import Sample
from bench.transfers import Transfer
from bench.variants import Compared


def sample(cpu_us: float, rate: float = 100, p99: float | None = None) -> Sample:
    return Sample(10, 0, cpu_us, rate, 1, 0.5, 0, None, latency={} if p99 is None else {"99": p99})


def size(resident: int) -> Memory:
    return Memory(resident, 0, 0)


@pytest.fixture
def results() -> Results:
    facts = FrontFacts(
        command=["ours"],
        environment={},
        ours=True,
        connection=Connection("TLSv1.3", "", resumes=True),
        first_answer=0.2,
        start=size(40 * MB),
    )
    return Results("", [], 1, 1, Machine("", 2, "", 0.0, {}), Cores((1,), (0,)), fronts={"ours": facts})


def verdict(results: Results) -> Verdict:
    """The only one."""
    (only,) = judge(results, "ours")
    return only


@pytest.mark.parametrize(("ours", "reached"), [(50, "neither"), (40, "floor"), (25, "goal")])
def test_a_ratio_is_the_peers_cpu_over_ours(
    results: Results, ours: float, reached: Literal["goal", "floor", "neither"]
) -> None:
    """At 25 us nginx's floor of 0.62 is at 40.3, and the goal of 0.85 at 29.4."""
    results.samples["small"] = {"nginx": [sample(25)], "ours": [sample(ours)]}
    assert verdict(results) == Verdict("small responses, to nginx", f"{25 / ours:.2f}", "0.62", "0.85", reached)


def test_each_peer_has_its_floor(results: Results) -> None:
    """The same load is judged beside several."""
    results.samples["small"] = {"caddy": [sample(50)], "plain aiohttp": [sample(70)], "ours": [sample(20)]}
    assert [(one.subject, one.measured, one.reached) for one in judge(results, "ours")] == [
        ("the same, to Caddy", "2.50", "floor"),
        ("the same, to the plain aiohttp proxy", "3.50", "neither"),
    ]


def test_memory_is_judged_by_what_is_resident_after_the_loads(results: Results) -> None:
    """Millions of bytes; less is better."""
    results.fronts["ours"].after = size(51 * MB)
    results.samples["small"] = {"ours": []}
    assert verdict(results) == Verdict("memory of one process after load", "51 MB", "50 MB", "38 MB", "neither")


def test_an_idle_connection_is_judged_by_the_difference_of_memory(results: Results) -> None:
    """What a front is without connections doesn't count."""

    def grown(front: str, each: int) -> Idle:
        return Idle(front, size(0), size(40 * MB), {1000: size(40 * MB + each * (1000 - FIRST))}, size(0))

    results.idle = [grown("nginx", 10_000), grown("ours", 15_000)]
    assert [one.each(1000) for one in results.idle] == [10_000, 15_000]
    assert verdict(results).measured == "1.50"


def test_p99_is_judged_beside_nginx_at_our_rate(results: Results) -> None:
    """Neither nginx at its own rate nor the samples with rotations are taken."""
    results.latency = [
        Found(Course("nginx", 9, "nginx"), [sample(1, p99=1000)]),
        Found(Course("nginx", 5, "ours"), [sample(1, p99=100)]),
        Found(Course("ours", 5, "ours"), [sample(1, p99=150)]),
        Found(Course("ours", 5, "ours", rotating=True), [sample(1, p99=900)]),
    ]
    assert (verdict(results).measured, verdict(results).reached) == ("1.50", "floor")


def test_workers_are_judged_by_rates_where_cores_allow(results: Results) -> None:
    """Twice the rate is the goal; on shared cores there is no figure."""
    one, two = [sample(20, rate=100)], [sample(20, rate=195)]
    results.variants = {"workers": {"ours": Compared(one, two, apart=True)}}
    assert (verdict(results).measured, verdict(results).reached) == ("1.95", "goal")
    results.variants = {"workers": {"ours": Compared(one, two, apart=False)}}
    assert judge(results, "ours") == []


def test_the_log_is_judged_by_what_is_saved_without_it(results: Results) -> None:
    """18 us without it to 20 us with it is 0.90."""
    results.variants = {"log": {"ours": Compared([sample(20)], [sample(18)], apart=True)}}
    assert (verdict(results).measured, verdict(results).reached) == ("0.90", "floor")


def test_transfers_are_judged_by_direction(results: Results) -> None:
    """CPU time beside nginx's and the peak, for each direction on its own."""
    results.transfers = [
        Transfer("ours", "up", 1, 2.0, 40 * MB, 85 * MB),
        Transfer("ours", "down", 1, 1.0, 40 * MB, 79 * MB),
        Transfer("nginx", "down", 1, 1.1, 40 * MB, 99 * MB),
    ]
    assert [(one.subject, one.measured, one.reached) for one in judge(results, "ours")] == [
        ("1 GiB down, to nginx", "1.10", "floor"),
        ("peak memory, 1 GiB down", "79 MB", "goal"),
        ("peak memory, 1 GiB up", "85 MB", "neither"),
    ]


def test_a_start_is_judged_by_its_median(results: Results) -> None:
    """One slow start of three is none."""
    results.starts = {"ours": [0.2, 0.9, 0.3]}
    assert (verdict(results).measured, verdict(results).reached) == ("0.30 s", "goal")


def test_what_was_not_measured_is_not_judged(results: Results) -> None:
    """A run of some loads only has verdicts on those."""
    assert judge(results, "ours") == []
