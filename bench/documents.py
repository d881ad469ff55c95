"""docs/benchmarks.md and its pictures, docs/sizing.md and README's few figures, all written from one run.

The pages' text is written by hand. Their figures stand between `<!-- bench NAME -->` and `<!-- /bench -->`.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from bench import sizing, tables
from bench.latency import APP, Found
from bench.peers import NGINX
from bench.pictures import Bar, Curve, Group, bars, curves, lines
from bench.report import heading
from bench.results import Results
from bench.rounds import ratio
from bench.tables import BY_NAME, MIB, Table

DOCS = Path(__file__).parent.parent / "docs"
PAGE = "benchmarks.md"
README = "README.md"
SIZING = "sizing.md"
PICTURES = "pictures"
# What the picture of the README shows.
SUMMARY = ("small", "10k", "1m", "full")
_SECTION = re.compile(r"(<!-- bench ([a-z-]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)


def write(results: Results, docs: Path = DOCS) -> list[Path]:
    """Writes the figures of all pages and the pictures anew; returns what was written. README is beside `docs`.

    Raises:
        ValueError: a page has a section that nobody knows, or lacks one.
    """
    pages = {
        docs / PAGE: sections(results),
        docs / SIZING: sizing_sections(results),
        docs.parent / README: in_short(results),
    }
    texts = {page: with_sections(page.read_text(), known) for page, known in pages.items()}
    for page, text in texts.items():
        page.write_text(text)
    directory = docs / PICTURES
    directory.mkdir(exist_ok=True)
    drawn = pictures(results)
    for name, picture in drawn.items():
        (directory / name).write_text(picture)
    return [*texts, *(directory / name for name in drawn)]


def with_sections(page: str, known: Mapping[str, str]) -> str:
    """The page with each of its sections written anew; ValueError when it does not have just the known ones."""
    found = [name for _, name, _ in _SECTION.findall(page)]
    if sorted(found) != sorted(known):
        raise ValueError(f"the page has the sections {sorted(found)}, and there are {sorted(known)}")
    return _SECTION.sub(lambda match: f"{match[1]}\n{known[match[2]]}\n\n{match[3]}", page)


def sizing_sections(results: Results) -> dict[str, str]:
    """The text of each section of the page on sizing."""
    found = {name: _shown(table) for name, table in sizing.all_tables(results).items()}
    own = [note for note in results.notes if note.startswith(sizing.OWN_RUN)]
    return {**found, "run": "\n".join([_run(results), *(f"- {note}" for note in own)])}


def in_short(results: Results) -> dict[str, str]:
    """README's only section."""
    return {"summary": _shown(tables.summary(results))}


def sections(results: Results) -> dict[str, str]:
    """The text of each section of the page; what was not measured says so."""
    both = [tables.rates(results, "http"), tables.rates(results, "tcp")]
    all_tables = {
        "http": tables.costs(results, "http"),
        "tcp": tables.costs(results, "tcp"),
        "latency": tables.latency(results),
        "memory": tables.memory(results),
        "endurance": tables.endurance(results),
        "starts": tables.starts(results),
        "transfers": tables.transfers(results),
        "variants": tables.compared(results),
    }
    floors = [tables.verdicts(results, label) for label in tables.our_labels(results)]
    found = {name: _shown(table) for name, table in all_tables.items()}
    return {
        **found,
        "run": _run(results),
        "rates": "\n\n".join(table.as_markdown() for table in both if table.rows) or "Not in this run.",
        "floors": "\n\n".join(f"{one.title}:\n\n{one.as_markdown()}" for one in floors if one.rows)
        or "Not in this run.",
        "notes": "\n".join(f"- {note}" for note in [*tables.handshakes(results), *results.notes]) or "None.",
    }


def _shown(table: Table) -> str:
    return table.as_markdown() if table.rows else "Not in this run."


def _run(results: Results) -> str:
    command = shlex.join(results.command)
    return "\n".join([f"`{command}`", "", *(f"- {line}" for line in heading(results))])


# ------------------------------------------------------------------ pictures


def pictures(results: Results) -> dict[str, str]:
    """Each picture by its file's name; none of what the run did not measure."""
    ours = next(iter(tables.our_labels(results)), "")
    when = f"{results.machine.processor}, one core for each front; {results.date[:10]}"
    drawn = {
        "bench-summary.svg": _summary(results, when),
        "bench-ratios.svg": _ratios(results, ours, when),
        "bench-latency.svg": _latency(results, ours),
        "bench-memory.svg": _memory(results, when),
        "bench-endurance.svg": _endurance(results, when),
    }
    return {name: picture for name, picture in drawn.items() if picture}


def _summary(results: Results, when: str) -> str:
    groups = []
    for name in SUMMARY:
        by_front = results.samples.get(name, {})
        measured = {label: ratio(samples, by_front.get(NGINX, [])) for label, samples in by_front.items()}
        drawn = [
            Bar(label, found.median, f"{found.median:.2f}", ours=results.fronts[label].ours)
            for label, found in measured.items()
            if found
        ]
        if drawn:
            groups.append(Group(BY_NAME[name].title, drawn))
    title = "Work for the same CPU time, nginx = 1: longer is better"
    return bars(title, when, groups, mark=1.0) if groups else ""


def _ratios(results: Results, ours: str, when: str) -> str:
    drawn = []
    for name, by_front in results.samples.items():
        measured = ratio(by_front.get(ours, []), by_front.get(NGINX, []))
        if measured:
            text = f"{measured.median:.2f}"
            label = name.replace("open-", "connections: ")
            drawn.append(Bar(label, measured.median, text, ours=True, low=measured.low, high=measured.high))
    title = f"{ours} beside nginx under each load, by CPU time: nginx = 1, longer is better"
    return bars(title, f"medians, and the spread of the rounds; {when}", [Group("", drawn)], mark=1.0) if drawn else ""


def _latency(results: Results, ours: str) -> str:
    drawn = [_curve(found) for found in results.latency if found.course.of == ours]
    if not drawn:
        return ""
    rate = next(found.course.rate for found in results.latency if found.course.of == ours)
    subtitle = (
        f"100 B at {rate:.0f} requests/s, half of {ours}'s capacity, from when each was due; medians of the rounds"
    )
    return curves("Latency by percentile", subtitle, [curve for curve in drawn if curve.points])


def _curve(found: Found) -> Curve:
    label = found.course.target + (" while the certificate is replaced every second" if found.course.rotating else "")
    percentiles = [name for name in (found.samples[0].latency if found.samples else {}) if float(name) < 100]
    points = [(float(name), spread.median) for name in percentiles if (spread := found.at(name))]
    return Curve(label if found.course.target != APP else "the app alone, without TLS", points)


def _memory(results: Results, when: str) -> str:
    ours = tables.our_labels(results)
    most = max((count for one in results.idle for count in one.opened), default=0)
    moments = {
        "at start": {one.front: one.start.resident for one in results.idle},
        "after the loads": {
            label: facts.after.resident
            for label, facts in results.fronts.items()
            if facts.after and not _tcp(label, results)
        },
        f"with {most:,} idle connections": {
            one.front: one.opened[most].resident for one in results.idle if most in one.opened
        },
        "after all of them were closed": {one.front: one.closed.resident for one in results.idle},
    }
    groups = [
        Group(
            f"{moment}, MiB",
            [Bar(name, size / MIB, f"{size / MIB:.0f}", ours=name in ours) for name, size in sizes.items()],
        )
        for moment, sizes in moments.items()
        if sizes
    ]
    return bars("Resident memory: shorter is better", when, groups) if results.idle else ""


def _endurance(results: Results, when: str) -> str:
    drawn = [
        Curve(one.front, [(answered, memory / MIB) for answered, memory in one.points]) for one in results.endurance
    ]
    title = "Resident memory, MiB, over requests answered"
    return lines(title, f"100 B, browser's heads, 10 kB and new connections in turn; {when}", drawn) if drawn else ""


def _tcp(label: str, results: Results) -> bool:
    """Whether a front has figures in tcp mode only."""
    return not any(label in by_front for name, by_front in results.samples.items() if BY_NAME[name].mode == "http")
