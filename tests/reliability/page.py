"""docs/reliability.md and its picture, each section written from one run.

The page's text is written by hand. Its figures stand between `<!-- run NAME -->` and `<!-- /run -->`.
"""

import os
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.machine import cores, describe
from bench.pictures import Panel, over_time
from tests.reliability import faults, overload, soak

DOCS = Path(os.environ.get("RELIABILITY_DOCS", Path(__file__).parents[2] / "docs"))
"""Elsewhere for a run whose sources are to stay as they are meanwhile."""
PAGE = "reliability.md"
PICTURE = "pictures/soak.svg"
MIB = 1 << 20
CURVES: Sequence[tuple[str, Callable[[soak.Sample], float]]] = (
    ("resident memory, MiB", lambda sample: sample.resident / MIB),
    ("descriptors", lambda sample: sample.descriptors),
    ("client connections", lambda sample: sample.clients),
    ("connections to the app", lambda sample: sample.app_connections),
    ("tasks", lambda sample: sample.tasks),
)


def write(name: str, text: str) -> None:
    """Write one section anew; ValueError when the page has no such section."""
    page = DOCS / PAGE
    section = re.compile(rf"(<!-- run {name} -->\n).*?(<!-- /run -->)", re.DOTALL)
    written, count = section.subn(lambda match: f"{match[1]}\n{text}\n\n{match[2]}", page.read_text())
    if count != 1:
        raise ValueError(f"{PAGE} has {count} sections {name}")
    page.write_text(written)


def draw(figures: soak.Figures) -> None:
    """Draw the picture of a soak anew."""
    panels = [Panel(label, [(one.seconds, of(one)) for one in figures.samples]) for label, of in CURVES]
    subtitle = f"{figures.seconds / 60:.0f} minutes of mixed load; {_when()}"
    (DOCS / PICTURE).write_text(
        over_time("What the sidecar holds while everything around it changes", subtitle, panels)
    )


def of_faults(figures: faults.Figures) -> str:
    """A section: what was done, and what came of the requests."""
    counts, done = figures.outcome.counts, figures.faults
    cuts = ", ".join(f"{done[kind]:,} {kind.value}" for kind in done)
    rows = [
        ("requests", figures.outcome.asked),
        ("right and complete", counts["right"]),
        ("502, 503 or 504 of the sidecar's own", sum(counts[status] for status in ("502", "503", "504"))),
        ("cut, as the client saw", counts["cut"]),
        ("left by the client itself", counts["left"]),
        ("wrong, incomplete without a sign, another's, or not answered", len(figures.outcome.wrong)),
        ("requests with effects or a body that reached the app", figures.with_effects),
        ("of them more than once", len(figures.twice)),
        ("bodies that came to the app damaged", figures.damaged),
        ("descriptors left over", figures.descriptors_left),
    ]
    began = f"Seed {figures.seed}, {figures.seconds:.0f} s, {_when()}; faults on {figures.connections:,} connections:"
    began = f"{began} {cuts}."
    return f"{began}\n\n{_table(('', 'count'), [(label, f'{value:,}') for label, value in rows])}"


def of_overload(figures: Sequence[tuple[float, overload.Figures]]) -> str:
    """A section: a row for each attack, with the calm value before it."""
    rows = [
        (
            one.name,
            f"{one.scale:,}",
            _ms(calm),
            _ms(one.attacked),
            f"{one.attacked / calm:.1f}" if calm else "-",
            _ms(one.new) if one.new else "-",
            str(len(one.failures)),
            f"{max(0, one.grown) / MIB:.1f}",
            str(one.descriptors_left),
            f"{one.recovered:.1f} s" if one.recovered is not None else f"not within {overload.RECOVERED:g} s",
        )
        for calm, one in figures
    ]
    head = (
        "attack",
        "at once",
        "calm p99",
        "p99",
        "ratio",
        "new p99",
        "failed",
        "MiB more",
        "descriptors",
        "recovered",
    )
    machine = describe()
    apart = "the sidecar on one processor, all else on the other" if cores().apart else "all on the same processors"
    began = f"{_when()}; {machine.processor}, {apart}; load average at the end {machine.load_average:.1f}."
    return f"{began}\n\n{_table(head, rows)}"


def of_soak(figures: soak.Figures) -> str:
    """A section: what was done, and the halves of each curve."""
    counts, others = figures.outcome.counts, figures.others
    errors = sum(counts[status] for status in ("502", "503", "504"))
    began = (
        f"{figures.seconds / 60:.0f} minutes, {_when()}: {figures.rotations:,} rotations, the app killed "
        f"{figures.restarts:,} times. {figures.outcome.asked:,} checked requests: {counts['right']:,} right, "
        f"{errors:,} answered 502 to 504, {counts['cut']:,} cut, {counts['left']:,} left by the client, "
        f"{len(figures.outcome.wrong):,} wrong, {len(figures.twice):,} sent twice that may not be. Besides "
        f"{others['large']:,} exchanges of 1 MB each way, {others['messages']:,} tunnel messages, {others['events']:,} "
        f"events; {others['cut']:,} of these were cut with the app."
    )
    rows = []
    for label, of in CURVES:
        first, second = figures.halves(of)
        rows.append((label, f"{first:.1f}", f"{second:.1f}", f"{second - first:+.1f}"))
    return f"{began}\n\n{_table(('median', 'first half', 'second half', 'difference'), rows)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _when() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")
