"""A run as tables for the terminal. Formats; measures and judges nothing."""

from collections.abc import Collection, Sequence

from bench import floors
from bench.loads import LOADS
from bench.results import Results
from bench.rounds import Sample, Spread, ratio, spread

MIB = 1024**2
NOISY = 0.05
LEGEND = (
    "CPU: user and system time of the front's processes for each request answered, median (lowest-highest).",
    "A ratio is the peer's CPU over this front's in the same round: above 1, this front is the cheaper.",
    "front: the share of its core that it used. load+app: how busy theirs was; where that side is full, it",
    "sets the requests/s. tlsproxy and plain aiohttp have the malloc thresholds of tlsproxy's image.",
)
TITLES = {load.name: load.title for load in LOADS}


def render(results: Results) -> str:
    """The whole report."""
    parts = [_heading(results)]
    parts += [_load(name, by_front, _peers(results, by_front)) for name, by_front in results.samples.items()]
    parts += [_handshakes(results), _memory(results), _transfers(results), _floors(results), _notes(results)]
    return "\n\n".join(part for part in parts if part)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they must be; the first flush left, the others flush right, the last as it is."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = []
    for row in (header, *rows):
        cells = [f"{cell:<{width}}" for cell, width in zip(row[:1], widths, strict=False)]
        cells += [f"{cell:>{width}}" for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
        lines.append("  " + "  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines)


def _heading(results: Results) -> str:
    machine, cores = results.machine, results.cores
    versions = ", ".join(f"{name} {version}" for name, version in sorted(machine.versions.items()))
    load = ", ".join(str(core) for core in cores.load)
    return "\n".join(
        [
            f"Bench of {results.date}: {results.rounds} interleaved rounds of {results.seconds} s",
            f"{machine.processor}, {machine.cores} cores: front on {cores.front}, load and app on {load}",
            f"Linux {machine.kernel}, load average {machine.load_average:.2f} at the start",
            versions,
            "",
            *LEGEND,
        ]
    )


def _peers(results: Results, labels: Collection[str]) -> list[str]:
    """Whom these are compared with: the peers among them, and the first of ours when there are several."""
    ours = [label for label in labels if results.fronts[label].ours]
    peers = [label for label in labels if not results.fronts[label].ours]
    return peers + ours[:1] if len(ours) > 1 else peers


def _load(name: str, by_front: dict[str, list[Sample]], peers: Sequence[str]) -> str:
    ratios = [f"to {peer}" for peer in peers]
    header = ["", "CPU us/request", *ratios, "requests/s", "front", "load+app", "  notes"]
    rows = []
    for label, samples in by_front.items():
        answered = [sample for sample in samples if sample.answered]
        if not answered:
            rows.append([label, "no answers", *[""] * (len(header) - 2)])
            continue
        rows.append(
            [
                label,
                _figure(spread([sample.cpu_us for sample in answered]), 1),
                *(_ratio(samples, by_front.get(peer, []), itself=label == peer) for peer in peers),
                f"{spread([sample.rate for sample in answered]).median:.0f}",
                _percent([sample.front_busy for sample in answered]),
                _percent([sample.load_busy for sample in answered]),
                "  " + "; ".join(_remarks(samples)),
            ]
        )
    return f"{TITLES[name]}\n{table(header, rows)}"


def _remarks(samples: list[Sample]) -> list[str]:
    """What a reader must know before they compare the rates, or trust the figures."""
    remarks = []
    full = sum(sample.load_full for sample in samples)
    if full:
        remarks.append(f"load side full in {full} of {len(samples)}")
    strangers = max(sample.strangers for sample in samples)
    if strangers > NOISY:
        remarks.append(f"others took up to {strangers:.0%} of the core")
    failed = sum(sample.failed for sample in samples)
    if failed:
        remarks.append(f"{failed} requests failed")
    resumed = sum(sample.resumed or 0 for sample in samples)
    if resumed:
        remarks.append(f"{resumed} handshakes were not full")
    return remarks


def _handshakes(results: Results) -> str:
    return "\n".join(
        f"{TITLES[name]}: nginx counted {counted.full} full and {counted.resumed} resumed in a second of it"
        for name, counted in results.handshakes.items()
    )


def _memory(results: Results) -> str:
    header = [
        "memory, MiB",
        "at start",
        "after the loads",
        "of it proportional",
        "peak",
        "first answer, s",
        "",
    ]
    rows = []
    for label, facts in results.fronts.items():
        after = facts.after or facts.start
        figures = [facts.start.resident, after.resident, after.proportional, after.peak]
        rows.append([label, *(f"{figure / MIB:.1f}" for figure in figures), f"{facts.first_answer:.2f}", ""])
    return table(header, rows) if rows else ""


def _transfers(results: Results) -> str:
    header = ["1 GiB in one body", "", "MiB/s", "CPU s", "memory before, MiB", "peak, MiB", ""]
    rows = [
        [
            transfer.front,
            transfer.direction,
            f"{1024 / transfer.seconds:.0f}",
            f"{transfer.cpu_seconds:.2f}",
            f"{transfer.before / MIB:.1f}",
            f"{transfer.peak / MIB:.1f}",
            "",
        ]
        for transfer in results.transfers
    ]
    return table(header, rows) if rows else ""


def _floors(results: Results) -> str:
    tables = []
    for label, facts in results.fronts.items():
        verdicts = floors.judge(results, label, TITLES) if facts.ours else []
        if verdicts:
            header = [f"floors for {label}", "floor", "measured", ""]
            rows = [
                [
                    verdict.subject,
                    verdict.floor,
                    verdict.measured,
                    "reached" if verdict.reached else "NOT reached",
                ]
                for verdict in verdicts
            ]
            tables.append(table(header, rows))
    return "\n\n".join(tables)


def _notes(results: Results) -> str:
    return "\n".join(f"note: {note}" for note in results.notes)


def _figure(figures: Spread, digits: int) -> str:
    return f"{figures.median:.{digits}f} ({figures.low:.{digits}f}-{figures.high:.{digits}f})"


def _ratio(samples: list[Sample], peer: list[Sample], *, itself: bool) -> str:
    measured = ratio(samples, peer)
    if itself or measured is None:
        return "1" if itself else "-"
    return _figure(measured, 2)


def _percent(shares: list[float]) -> str:
    return f"{spread(shares).median:.0%}"
