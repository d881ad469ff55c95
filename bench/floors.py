"""What is asked of ours, as a table, and whether a run reached it. A report, never an exit status."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.fronts import HITCH, NGINX, PLAIN
from bench.results import Results
from bench.rounds import ratio
from bench.transfers import DIRECTIONS

MIB = 1024**2

# (load, peer, how many times our CPU time for a request the peer must take at least)
RATIOS = (
    ("small", PLAIN, 3.0),
    ("small", NGINX, 0.5),
    ("1m", NGINX, 1.0),
    ("full", NGINX, 0.5),
    ("tcp-small", HITCH, 0.9),
    ("tcp-1m", HITCH, 0.9),
)
MEMORY_AFTER_LOAD = 64 * MIB
PEAK_OF_TRANSFER = 80 * MIB


@dataclass(frozen=True)
class Verdict:
    """One floor beside what was measured: `measured` and `floor` as texts, and whether it was reached."""

    subject: str
    floor: str
    measured: str
    reached: bool


def judge(results: Results, label: str, titles: dict[str, str]) -> Sequence[Verdict]:
    """The floors that the run has figures for.

    Args:
        results: the run.
        label: the front of ours that is judged.
        titles: what each load is called in the report, by its name.
    """
    return [
        *_ratios(results, label, titles),
        *_memory(results, label),
        *_transfers(results, label),
    ]


def _ratios(results: Results, label: str, titles: dict[str, str]) -> list[Verdict]:
    verdicts = []
    for load, peer, floor in RATIOS:
        samples = results.samples.get(load, {})
        measured = ratio(samples.get(label, []), samples.get(peer, []))
        if measured is not None:
            subject = f"{titles[load]}, to {peer}"
            reached = measured.median >= floor
            verdicts.append(Verdict(subject, f">= {floor:.2f}", f"{measured.median:.3f}", reached))
    return verdicts


def _memory(results: Results, label: str) -> list[Verdict]:
    after = results.fronts[label].after
    if after is None:
        return []
    resident = after.resident
    limit = f"<= {MEMORY_AFTER_LOAD // MIB} MiB"
    return [Verdict("memory after the loads", limit, f"{resident / MIB:.1f} MiB", resident <= MEMORY_AFTER_LOAD)]


def _transfers(results: Results, label: str) -> list[Verdict]:
    return [
        Verdict(
            f"peak memory with 1 GiB {direction}",
            f"< {PEAK_OF_TRANSFER // MIB} MiB",
            f"{transfer.peak / MIB:.1f} MiB",
            transfer.peak < PEAK_OF_TRANSFER,
        )
        for direction in DIRECTIONS
        for transfer in results.transfers
        if transfer.front == label and transfer.direction == direction
    ]
