"""A run as tables: values laid out as texts, for the terminal and for the documents. Formats; judges nothing."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from bench import floors, variants
from bench.latency import APP, Found
from bench.loads import LOADS, Mode
from bench.peers import NGINX
from bench.proc import Memory
from bench.results import Results
from bench.rounds import Sample, Spread, ratio, spread

MIB = 1024**2
NOISY = 0.05
FULL_MARK = " *"
PERCENTILES = ("50", "99", "99.9", "100")
BY_NAME = {load.name: load for load in LOADS}


@dataclass(frozen=True)
class Table:
    """A title, the heads of the columns, and rows as long as the heads."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def as_text(self) -> str:
        """Columns as wide as they must be; the first flush left, the others flush right, notes as they are."""
        header = [self.title, *self.header[1:]]
        widths = [max(len(row[column]) for row in (header, *self.rows)) for column in range(len(header))]
        return "\n".join(
            "  "
            + "  ".join(
                cell if head == "notes" else f"{cell:<{width}}" if number == 0 else f"{cell:>{width}}"
                for number, (cell, width, head) in enumerate(zip(row, widths, header, strict=True))
            ).rstrip()
            for row in (header, *self.rows)
        )

    def as_markdown(self) -> str:
        """The same for a document."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# ------------------------------------------------------------------ loads


def detail(results: Results, name: str) -> Table:
    """One load, front by front: everything that a reader needs to trust or doubt a figure."""
    by_front = results.samples[name]
    reference, ours = _reference(results, by_front), _ours(results, by_front)
    header = ["", "CPU us", f"to {reference}", *(f"{label} to it" for label in ours), "each/s", "front", "load+app"]
    rows = []
    for label, samples in by_front.items():
        answered = [sample for sample in samples if sample.answered]
        figures = ["no answers", *[""] * (len(header) - 2)]
        if answered:
            figures = [
                _figure(spread([sample.cpu_us for sample in answered]), 1),
                _ratio(samples, by_front[reference]),
                *(_ratio(by_front[one], samples) for one in ours),
                f"{spread([sample.rate for sample in answered]).median:.0f}",
                _percent(sample.front_busy for sample in answered),
                _percent(sample.load_busy for sample in answered),
            ]
        rows.append([label, *figures, "; ".join(_remarks(samples))])
    return Table(BY_NAME[name].title, [*header, "notes"], rows)


def costs(results: Results, mode: Mode) -> Table:
    """CPU time for each request: loads down, fronts across, and the ratios of ours."""
    labels = _labels(results, mode)
    reference, ours = _reference(results, labels), _ours(results, labels)
    peers = [label for label in labels if label not in ours] or labels[:1]
    header = ["load", *(f"{label}, us" for label in labels), *(f"{one} to {peer}" for one in ours for peer in peers)]
    rows = []
    for name, by_front in _samples(results, mode):
        cells = [_median(by_front.get(label, []), lambda sample: sample.cpu_us, 1) for label in labels]
        for one in ours:
            for peer in peers:
                measured = ratio(by_front.get(one, []), by_front.get(peer, []))
                with_spread = peer == reference
                cells.append(
                    "-" if measured is None else _figure(measured, 2) if with_spread else f"{measured.median:.2f}"
                )
        rows.append([BY_NAME[name].title, *cells])
    return Table("CPU time for each request", header, rows)


def rates(results: Results, mode: Mode) -> Table:
    """Requests a second, with a mark where load and app were full and the front was not."""
    labels = _labels(results, mode)
    rows = []
    for name, by_front in _samples(results, mode):
        cells = []
        for label in labels:
            samples = by_front.get(label, [])
            full = sum(sample.load_full for sample in samples) * 2 > len(samples)
            cells.append(_median(samples, lambda sample: sample.rate, 0) + (FULL_MARK if full else ""))
        rows.append([BY_NAME[name].title, *cells])
    return Table("each second", ["load", *labels], rows)


def handshakes(results: Results) -> list[str]:
    """What nginx's log said of the loads with new connections."""
    return [
        f"{BY_NAME[name].title}: nginx counted {counted.full} full and {counted.resumed} resumed in a second of it"
        for name, counted in results.handshakes.items()
    ]


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
        remarks.append(f"{failed} failed")
    resumed = sum(sample.resumed or 0 for sample in samples)
    if resumed:
        remarks.append(f"{resumed} handshakes were not full")
    arrivals = [sample.latency["99"] for sample in samples if sample.latency]
    if arrivals:
        remarks.append(f"p99 from app to client {spread(arrivals).median / 1000:.1f} ms")
    return remarks


# ------------------------------------------------------------------ latency


def latency(results: Results) -> Table:
    """Percentiles at a constant rate, and what each adds to the app alone at the same rate."""
    alone = {found.course.of: found for found in results.latency if found.course.target == APP}
    header = [
        "",
        "rate of",
        "each/s",
        *(_percentile_name(one) for one in PERCENTILES),
        "added p50",
        "added p99",
        "notes",
    ]
    rows = []
    for found in results.latency:
        course = found.course
        label = course.target + (", a new certificate every second" if course.rotating else "")
        figures = [_microseconds(found.at(one)) for one in PERCENTILES]
        added = [_added(found, alone.get(course.of), one) for one in ("50", "99")]
        rows.append([label, f"half of {course.of}", f"{course.rate:.0f}", *figures, *added, "; ".join(_doubts(found))])
    return Table("latency, us, at a constant rate", header, rows)


def _percentile_name(percentile: str) -> str:
    return "longest" if percentile == "100" else f"p{percentile}"


def _added(found: Found, alone: Found | None, percentile: str) -> str:
    figure, base = found.at(percentile), alone.at(percentile) if alone else None
    if figure is None or base is None or found.course.target == APP:
        return ""
    return f"{figure.median - base.median:.0f}"


def _doubts(found: Found) -> list[str]:
    doubts = []
    failed = sum(sample.failed for sample in found.samples)
    if failed:
        doubts.append(f"{failed} failed")
    if found.generator_late:
        doubts.append("generator late")
    if sum(sample.load_full for sample in found.samples) * 2 > len(found.samples):
        doubts.append("load side full")
    if found.course.rotating:
        doubts.append(f"{found.renewed} new certificates")
    return doubts


# ------------------------------------------------------------------ memory, starts, transfers, variants, floors


def memory(results: Results) -> Table:
    """Resident memory in MiB: at the start, after the loads, with idle connections, and after they are closed."""
    counts = sorted({count for one in results.idle for count in one.opened})
    idle = {one.front: one for one in results.idle}
    each = [f"each of {count:,} idle, KiB" for count in counts]
    header = ["memory, MiB", "at start", "after the loads", "peak", *each, "after they are closed"]
    rows = []
    for label in dict.fromkeys([*results.fronts, *idle]):
        facts, grown = results.fronts.get(label), idle.get(label)
        start = facts.start if facts else grown.start if grown else None
        after = facts.after if facts else None
        figures = [_mib(start), _mib(after), _mib(after and Memory(after.peak, 0, 0))]
        figures += [f"{grown.each(count) / 1024:.1f}" if grown and count in grown.opened else "" for count in counts]
        rows.append([label, *figures, _mib(grown.closed if grown else None)])
    return Table("memory, MiB", header, rows)


def endurance(results: Results) -> Table:
    """Resident memory in MiB as requests are answered."""
    shares = (0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 1.0)
    header = ["memory, MiB", "at start", *(f"after {share:.0%} of them" for share in shares[1:]), "requests"]
    rows = [
        [one.front, *(f"{one.at(share) / MIB:.1f}" for share in shares), f"{one.answered:,}"]
        for one in results.endurance
    ]
    return Table("memory over many requests, MiB", header, rows)


def starts(results: Results) -> Table:
    """Seconds to the first answer."""
    rows = [[label, _figure(spread(seconds), 2)] for label, seconds in results.starts.items()]
    return Table("start to first answer", ["", "seconds"], rows)


def transfers(results: Results) -> Table:
    """1 GiB in one body."""
    header = ["1 GiB in one body", "", "MiB/s", "CPU s", "memory before, MiB", "peak, MiB"]
    rows = [
        [
            one.front,
            one.direction,
            f"{1024 / one.seconds:.0f}",
            f"{one.cpu_seconds:.2f}",
            f"{one.before / MIB:.1f}",
            f"{one.peak / MIB:.1f}",
        ]
        for one in results.transfers
    ]
    return Table("1 GiB in one body", header, rows)


def compared(results: Results) -> Table:
    """Ours beside ours with a setting changed."""
    header = ["", "front", "CPU us as it is", "changed", "ratio", "each/s as it is", "changed", "ratio"]
    titles = {variant.name: variant.title for variant in variants.VARIANTS}
    rows = []
    for name, by_front in results.variants.items():
        for label, both in by_front.items():
            sides = (both.as_is, both.changed)
            cpu = [_median(side, lambda sample: sample.cpu_us, 1) for side in sides]
            rate = [_median(side, lambda sample: sample.rate, 0) for side in sides]
            rows.append([titles[name], label, *cpu, _spread(both.cpu_ratio), *rate, _spread(both.rate_ratio)])
    return Table("one setting changed", header, rows)


def verdicts(results: Results, label: str) -> Table:
    """Each requirement that there are figures for."""
    words = {"goal": "goal reached", "floor": "floor reached", "neither": "NOT reached"}
    rows = [
        [verdict.subject, verdict.measured, verdict.floor, verdict.goal, words[verdict.reached]]
        for verdict in floors.judge(results, label)
    ]
    return Table(f"floors for {label}", ["", "measured", "floor", "goal", "reached"], rows)


# ------------------------------------------------------------------ in short


def summary(results: Results) -> Table:
    """Ours beside nginx for who reads no more than this: the plainest load, the worst one, the tail and the memory.

    What was not measured of both has no row.
    """
    ours = next(iter(our_labels(results)), "")
    loads = dict(_samples(results, "http"))
    ratios = {name: ratio(by_front.get(ours, []), by_front.get(NGINX, [])) for name, by_front in loads.items()}
    measured = {name: found.median for name, found in ratios.items() if found}
    worst = min(measured, key=lambda name: measured[name], default="")
    tails = {found.course.target: found.at("99") for found in results.latency if _at_half_of(ours, found)}
    rows = []
    for title, name in (("CPU time for a request", "small"), ("the same under the worst of all loads", worst)):
        if name in measured:
            costs_of = [_median(loads[name][label], lambda sample: sample.cpu_us, 1) for label in (NGINX, ours)]
            rows.append([f"{title}: {BY_NAME[name].title}", *(f"{cost} us" for cost in costs_of)])
    both = [tails.get(label) for label in (NGINX, ours)]
    if all(both):
        cells = [f"{tail.median / 1000:.1f} ms" for tail in both if tail]
        rows.append([f"p99 of both at half of {ours}'s capacity", *cells])
    facts = [results.fronts.get(label) for label in (NGINX, ours)]
    if all(one and one.after for one in facts):
        rows.append(["memory after all loads", *(f"{_mib(one.after)} MiB" for one in facts if one)])
    return Table("in short", ["one core for each", NGINX, ours], rows)


def _at_half_of(front: str, found: Found) -> bool:
    return found.course.of == front and not found.course.rotating


# ------------------------------------------------------------------ what they share


def our_labels(results: Results) -> list[str]:
    """The fronts of ours, wherever they have figures."""
    known = [label for label, facts in results.fronts.items() if facts.ours]
    others = [found.course.of for found in results.latency if found.course.rotating]
    return list(dict.fromkeys([*known, *others]))


def _samples(results: Results, mode: Mode) -> list[tuple[str, dict[str, list[Sample]]]]:
    return [(name, by_front) for name, by_front in results.samples.items() if BY_NAME[name].mode == mode]


def _labels(results: Results, mode: Mode) -> list[str]:
    """All fronts of a mode, in the order of the rounds."""
    found = {label for _, by_front in _samples(results, mode) for label in by_front}
    return [label for label in results.fronts if label in found]


def _ours(results: Results, labels: Collection[str]) -> list[str]:
    return [label for label in labels if results.fronts[label].ours]


def _reference(results: Results, labels: Collection[str]) -> str:
    """Whom all are compared with: the first peer; among ours alone, the first."""
    return next((label for label in labels if not results.fronts[label].ours), next(iter(labels), ""))


def _figure(figures: Spread, digits: int) -> str:
    return f"{figures.median:.{digits}f} ({figures.low:.{digits}f}-{figures.high:.{digits}f})"


def _spread(figures: Spread | None) -> str:
    return _figure(figures, 2) if figures else "-"


def _ratio(samples: list[Sample], peer: list[Sample]) -> str:
    return "1" if samples is peer else _spread(ratio(samples, peer))


def _median(samples: list[Sample], figure: Callable[[Sample], float], digits: int) -> str:
    answered = [figure(sample) for sample in samples if sample.answered]
    return f"{spread(answered).median:.{digits}f}" if answered else "-"


def _percent(shares: Iterable[float]) -> str:
    return f"{spread(list(shares)).median:.0%}"


def _microseconds(figures: Spread | None) -> str:
    return f"{figures.median:.0f}" if figures else "-"


def _mib(memory: Memory | None) -> str:
    return f"{memory.resident / MIB:.1f}" if memory else ""
