"""The tables of docs/sizing.md, from figures that are easy to find again."""

from bench import sizing
from bench.alone import Alone
from bench.limits import Limited
from bench.machine import Cores, Machine
from bench.proc import Memory
from bench.results import Results
from bench.rounds import Sample
from bench.tables import Table

MIB = 1024**2
PERCENTILES = {"50": 1000.0, "90": 2000.0, "99": 3000.0, "100": 4000.0}


def memory(mib: int) -> Memory:
    return Memory(mib * MIB, mib * MIB, mib * MIB)


def alone(certificates: int, times: float) -> Alone:
    return Alone(
        certificates=certificates,
        start=0.5 * times,
        memory=memory(64),
        own=32 * MIB,
        rest=0.001 * times,
        probe=0.0003,
        scrape=0.0006,
        look=0.002,
        renewal=0.009 * times,
        renewed=0.2,
        all_renewed=(4.0, 3.5),
        memory_after=memory(100),
    )


def sample(cpu_us: float) -> Sample:
    return Sample(100, 0, cpu_us, 200, 0.06, 0.3, 0, None, latency=PERCENTILES)


def run() -> Results:
    results = Results("2026-11-21", [], 1, 1, Machine("", 2, "", 0.0, {}), Cores((1,), (0,)))
    results.alone["tlsproxy"] = [alone(1, 1), alone(1000, 10)]
    results.workers["tlsproxy"] = {2: memory(70)}
    results.limits["tlsproxy"] = [Limited(0, sample(50), 0.0), Limited(100, sample(50), 0.25)]
    results.samples["full"] = {"tlsproxy": [sample(800)]}
    return results


def told(table: Table) -> dict[str, str]:
    """The rows of a table of two columns."""
    return {row[0]: row[1] for row in table.rows}


def test_a_thousand_pods() -> None:
    """A thousand times what one takes, with the probes of the manifests, and a rotation spread as kubelets do it."""
    rows = told(sizing.thousand(alone(1, 1)))
    assert rows["memory"] == "31 GiB, and 62 GiB where no two share a node"
    assert rows["CPU at rest"] == "1.0 cores"
    assert rows["and with probes every 5 s and 10 s, and a scrape every 30 s"] == "1.1 cores"
    assert rows["CPU for a start of all"] == "500 s"
    assert rows["CPU for a new certificate in all"] == "9.0 s"
    assert rows["the same spread over 90 s"] == "0.10 cores"


def test_one_process() -> None:
    """Few certificates and many stand apart; so do workers."""
    rows = told(sizing.all_tables(run())["process"])
    assert rows["CPU at rest"] == "1.0 ms each second, 86 s a day"
    assert rows["CPU at rest with 1,000 certificates"] == "10.0 ms each second"
    assert rows["memory with 2 workers, all processes, what they share counted once"] == "70 MiB"


def test_renewals() -> None:
    """One row for each number of certificates."""
    assert sizing.all_tables(run())["renewals"].rows == [
        ["1", "2.0 ms", "9.0 ms", "0.20 s", "3500.0 ms", "4.00 s"],
        ["1,000", "2.0 ms", "90.0 ms", "0.20 s", "3500.0 ms", "4.00 s"],
    ]


def test_limits() -> None:
    """Latencies under each limit, and how long much CPU time at once takes under it."""
    tables = sizing.all_tables(run())
    assert tables["limits"].rows[1] == ["100m", "60m", "1.0 ms", "2.0 ms", "3.0 ms", "4.0 ms", "25%"]
    assert tables["bursts"].rows[3] == ["100m", "5.0 s", "0.80 s"]


def test_nothing_is_made_up() -> None:
    """What was not measured has no rows."""
    results = Results("2026-11-21", [], 1, 1, Machine("", 2, "", 0.0, {}), Cores((1,), (0,)))
    assert [name for name, table in sizing.all_tables(results).items() if table.rows] == []
