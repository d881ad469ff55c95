"""The floors beside a run."""

import pytest

from bench.floors import MIB, Verdict, judge
from bench.machine import Cores, Machine
from bench.probe import Connection
from bench.proc import Memory
from bench.results import FrontFacts, Results
from bench.rounds import Sample
from bench.transfers import Transfer

TITLES = {"small": "small", "1m": "1 MB", "full": "full"}


def sample(cpu_us: float) -> Sample:
    return Sample(10, 0, cpu_us, 100, 1, 0.5, 0, None)


@pytest.fixture
def results() -> Results:
    facts = FrontFacts(
        command=["ours"],
        environment={},
        ours=True,
        connection=Connection("TLSv1.3", "", resumes=True),
        first_answer=0.2,
        start=Memory(40 * MIB, 30 * MIB, 40 * MIB),
        after=Memory(65 * MIB, 50 * MIB, 70 * MIB),
    )
    machine = Machine("", 2, "", 0.0, {})
    cores = Cores(1, (0,))
    return Results("", [], 1, 1, machine, cores, fronts={"ours": facts})


def test_a_floor_is_judged_by_the_median_ratio(results: Results) -> None:
    """Half of nginx's speed at exactly twice its CPU time is reached; three times the plain proxy's is not."""
    results.samples["small"] = {"nginx": [sample(10)], "plain aiohttp": [sample(50)], "ours": [sample(20)]}
    small = [verdict for verdict in judge(results, "ours", TITLES) if verdict.subject.startswith("small")]
    assert small == [
        Verdict("small, to plain aiohttp", ">= 3.00", "2.500", reached=False),
        Verdict("small, to nginx", ">= 0.50", "0.500", reached=True),
    ]


def test_memory_is_judged_by_what_is_resident(results: Results) -> None:
    """What is shared with others is not taken off."""
    assert judge(results, "ours", TITLES) == [Verdict("memory after the loads", "<= 64 MiB", "65.0 MiB", reached=False)]


def test_peaks_of_transfers_are_judged_by_direction(results: Results) -> None:
    """Each direction has a verdict of its own."""
    results.fronts["ours"].after = None
    results.transfers = [
        Transfer("ours", "up", 1, 1, 40 * MIB, 80 * MIB),
        Transfer("ours", "down", 1, 1, 40 * MIB, 79 * MIB),
        Transfer("nginx", "down", 1, 1, 40 * MIB, 99 * MIB),
    ]
    assert [(verdict.subject, verdict.reached) for verdict in judge(results, "ours", TITLES)] == [
        ("peak memory with 1 GiB down", True),
        ("peak memory with 1 GiB up", False),
    ]


def test_what_was_not_measured_is_not_judged(results: Results) -> None:
    """A run of some loads only has verdicts on those."""
    results.fronts["ours"].after = None
    assert judge(results, "ours", TITLES) == []
