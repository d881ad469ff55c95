"""What docs/sizing.md says of one process and of a thousand, laid out as tables from one run. Judges nothing."""

from collections.abc import Iterable

from bench import limits, tables
from bench.alone import MANY, Alone
from bench.results import Results
from bench.rounds import spread
from bench.tables import BY_NAME, MIB, Table

# How a note begins that says what was measured in a run of its own.
OWN_RUN = "in a run of its own"
PODS = 1_000
DAY = 86_400
# Seconds, in the manifests in deploy/.
READINESS_EVERY, LIVENESS_EVERY = 5, 10
SCRAPE_EVERY = 30
# Seconds in which the kubelets bring a new Secret to all pods.
SPREAD = 90
CROWD = 100
# Limits, in thousandths of a CPU.
MILLIS = (1000, 500, 200, 100, 50)


def all_tables(results: Results) -> dict[str, Table]:
    """Every table of the page by its section's name; empty ones were not measured."""
    ours = next(iter(results.alone), None) or next(iter(tables.our_labels(results)), "")
    one, many = (_of(results.alone.get(ours, ()), many=many) for many in (False, True))
    return {
        "work": work(results),
        "process": process(results, ours, one, many),
        "renewals": renewals([found for found in (one, many) if found]),
        "thousand": thousand(one),
        "limits": under_limits(results, ours),
        "bursts": bursts(results, ours, one),
    }


def measured(results: Results) -> list[Table]:
    """Those of them that no other table has the figures of."""
    return [table for name, table in all_tables(results).items() if name in {"renewals", "thousand", "limits"}]


def work(results: Results) -> Table:
    """What one core does of each load."""
    rows = []
    for name, by_front in results.samples.items():
        for label in tables.our_labels(results):
            answered = [sample.cpu_us for sample in by_front.get(label, ()) if sample.answered]
            if answered:
                cost = spread(answered).median
                rows.append([BY_NAME[name].title, f"{cost:.0f} us", f"{1e6 / cost:,.0f}"])
    return Table("one core", ["load", "CPU for each", "one core does, each second"], rows)


def process(results: Results, ours: str, one: Alone | None, many: Alone | None) -> Table:
    """Memory and CPU of one process."""
    rows: list[list[str]] = []
    if one:
        rows += [
            ["memory, just started", _mib(one.memory.resident)],
            ["of that its own, shared with no other process", _mib(one.own)],
        ]
    facts, idle = results.fronts.get(ours), next((found for found in results.idle if found.front == ours), None)
    if facts and facts.after:
        rows.append(["memory after all the loads", _mib(facts.after.resident)])
    peaks = [transfer.peak for transfer in results.transfers if transfer.front == ours]
    if peaks:
        rows.append(["the most, while 1 GiB passes in one body", _mib(max(peaks))])
    if idle:
        rows += [[f"each of {count:,} idle connections", f"{idle.each(count) / 1024:.1f} KiB"] for count in idle.opened]
        rows.append([f"memory after {max(idle.opened):,} connections have been closed", _mib(idle.closed.resident)])
    if many:
        rows.append([f"memory with {many.certificates:,} certificates, just started", _mib(many.memory.resident)])
        rows.append(["the same after all of them were renewed", _mib(many.memory_after.resident)])
    rows += [
        [f"memory with {count} workers, all processes, what they share counted once", _mib(memory.proportional)]
        for count, memory in results.workers.get(ours, {}).items()
    ]
    if one:
        rows += [
            ["CPU for a start", f"{one.start:.2f} s"],
            ["CPU at rest", f"{one.rest * 1000:.1f} ms each second, {one.rest * DAY:.0f} s a day"],
            ["CPU for a probe (`/readyz`)", f"{one.probe * 1000:.2f} ms"],
            ["CPU for a scrape (`/metrics`)", f"{one.scrape * 1000:.2f} ms"],
        ]
    if many:
        rows.append([f"CPU at rest with {many.certificates:,} certificates", f"{many.rest * 1000:.1f} ms each second"])
        rows.append([f"CPU for a scrape with {many.certificates:,}", f"{many.scrape * 1000:.1f} ms"])
    return Table("one process", ["of one process", ""], rows)


def renewals(found: Iterable[Alone]) -> Table:
    """What new certificates cost."""
    header = ["certificates", "a look that finds nothing", "one is new: CPU", "until it is served"]
    rows = [
        [
            f"{one.certificates:,}",
            _ms(one.look),
            _ms(one.renewal),
            f"{one.renewed:.2f} s",
            _ms(one.all_renewed[1]),
            f"{one.all_renewed[0]:.2f} s",
        ]
        for one in found
    ]
    return Table("renewals", [*header, "all are new: CPU", "until all are served"], rows)


def thousand(one: Alone | None) -> Table:
    """The same, a thousand times."""
    if one is None:
        return Table("a thousand pods", ["", ""], [])
    asked = one.probe / READINESS_EVERY + one.probe / LIVENESS_EVERY + one.scrape / SCRAPE_EVERY
    own, whole = (PODS * size / 1024**3 for size in (one.own, one.memory.resident))
    rows = [
        ["memory", f"{own:.0f} GiB, and {whole:.0f} GiB where no two share a node"],
        ["CPU at rest", f"{PODS * one.rest:.1f} cores"],
        [
            f"and with probes every {READINESS_EVERY} s and {LIVENESS_EVERY} s, and a scrape every {SCRAPE_EVERY} s",
            f"{PODS * (one.rest + asked):.1f} cores",
        ],
        ["CPU for a start of all", f"{PODS * one.start:.0f} s"],
        ["CPU for a new certificate in all", f"{PODS * one.renewal:.1f} s"],
        [f"the same spread over {SPREAD} s", f"{PODS * one.renewal / SPREAD:.2f} cores"],
    ]
    return Table("a thousand pods", [f"of {PODS:,} pods", ""], rows)


def under_limits(results: Results, ours: str) -> Table:
    """Latency under limits of CPU time."""
    header = ["limit", "CPU used", "p50", "p90", "p99", "longest", "stood still"]
    rows = [
        [
            f"{one.millis}m" if one.millis else "none",
            f"{one.sample.front_busy * 1000:.0f}m",
            *(f"{one.sample.latency[percentile] / 1000:.1f} ms" for percentile in ("50", "90", "99", "100")),
            f"{one.waited:.0%}",
        ]
        for one in results.limits.get(ours, ())
        if one.sample.latency
    ]
    return Table(f"{limits.RATE:.0f} requests a second", header, rows)


def bursts(results: Results, ours: str, one: Alone | None) -> Table:
    """How long it takes under a limit to use as much CPU time as a start needs, and a crowd of new clients."""
    answered = [sample.cpu_us for sample in results.samples.get("full", {}).get(ours, ()) if sample.answered]
    handshakes = CROWD * spread(answered).median / 1e6 if answered else None
    rows = [
        [
            f"{millis}m",
            f"{one.start * 1000 / millis:.1f} s" if one else "-",
            f"{handshakes * 1000 / millis:.2f} s" if handshakes else "-",
        ]
        for millis in MILLIS
    ]
    measured = one or handshakes
    return Table("bursts", ["limit", "a start", f"{CROWD} clients at once, full handshakes"], rows if measured else [])


def _of(found: Iterable[Alone], *, many: bool) -> Alone | None:
    return next((one for one in found if (one.certificates >= MANY) is many), None)


def _mib(size: float) -> str:
    return f"{size / MIB:.0f} MiB"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
