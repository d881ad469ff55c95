"""What is asked of ours, as a table, and whether a run reached it. A report, never an exit status."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from bench.latency import p99_ratio
from bench.options import FEW_IDLE
from bench.peers import CADDY, HITCH, NGINX, PLAIN
from bench.results import Results
from bench.rounds import Spread, ratio
from bench.transfers import Direction
from bench.variants import LOG, WORKERS

MB = 1_000_000

Figure = Callable[[Results, str], float | None]


@dataclass(frozen=True)
class Requirement:
    """A figure of a front of ours, and where it has to stand.

    Attributes:
        subject: what it is.
        floor: where it has to stand at least.
        goal: where it ought to stand; None: nothing beyond the floor.
        figure: takes it from a run, for a label; None when the run has none.
        more_is_better: whether it has to stand at its floor or above, and not below.
        unit: behind the number.
    """

    subject: str
    floor: float
    goal: float | None
    figure: Figure
    more_is_better: bool = True
    unit: str = ""

    def reached(self, figure: float, wanted: float) -> bool:
        """Whether the figure stands where it is wanted."""
        return figure >= wanted if self.more_is_better else figure <= wanted

    def text(self, figure: float | None) -> str:
        """A figure, a floor or a goal."""
        if figure is None:
            return ""
        return f"{figure:.0f} {self.unit}" if self.unit == "MB" else f"{figure:.2f} {self.unit}".strip()


@dataclass(frozen=True)
class Verdict:
    """A requirement beside what was measured, all as texts; `reached`: the goal, the floor alone, or neither."""

    subject: str
    measured: str
    floor: str
    goal: str
    reached: Literal["goal", "floor", "neither"]


def judge(results: Results, label: str) -> Sequence[Verdict]:
    """The requirements that the run has figures for, for the front of ours with that label."""
    verdicts = []
    for one in REQUIREMENTS:
        figure = one.figure(results, label)
        if figure is not None:
            sides: tuple[str, str, str] = (one.text(figure), one.text(one.floor), one.text(one.goal))
            verdicts.append(Verdict(one.subject, *sides, _reached(one, figure)))
    return verdicts


def _reached(one: Requirement, figure: float) -> Literal["goal", "floor", "neither"]:
    if one.reached(figure, one.floor):
        return "goal" if one.goal is None or one.reached(figure, one.goal) else "floor"
    return "neither"


def _cpu(load: str, peer: str) -> Figure:
    """How many times our CPU time for a request the peer takes."""

    def figure(results: Results, label: str) -> float | None:
        samples = results.samples.get(load, {})
        return _median(ratio(samples.get(label, []), samples.get(peer, [])))

    return figure


def _transfer(direction: Direction, peer: str) -> Figure:
    """The same for 1 GiB."""

    def figure(results: Results, label: str) -> float | None:
        used = {one.front: one.cpu_seconds for one in results.transfers if one.direction == direction}
        return used[peer] / used[label] if peer in used and used.get(label) else None

    return figure


def _p99(results: Results, label: str) -> float | None:
    return _median(p99_ratio(results.latency, label, NGINX))


def _log(results: Results, label: str) -> float | None:
    compared = results.variants.get(LOG.name, {}).get(label)
    return _median(compared.cpu_ratio) if compared else None


def _workers(results: Results, label: str) -> float | None:
    compared = results.variants.get(WORKERS.name, {}).get(label)
    return _median(compared.rate_ratio) if compared else None


def _memory(results: Results, label: str) -> float | None:
    facts = results.fronts.get(label)
    return facts.after.resident / MB if facts and facts.after and label in results.samples.get("small", {}) else None


def _idle(results: Results, label: str) -> float | None:
    each = {one.front: one.each(FEW_IDLE) for one in results.idle if FEW_IDLE in one.opened}
    return each[label] / each[NGINX] if label in each and each.get(NGINX, 0) > 0 else None


def _start(results: Results, label: str) -> float | None:
    seconds = results.starts.get(label)
    return median(seconds) if seconds else None


def _peak(direction: Direction) -> Figure:
    def figure(results: Results, label: str) -> float | None:
        peaks = [one.peak / MB for one in results.transfers if (one.front, one.direction) == (label, direction)]
        return max(peaks, default=None)

    return figure


def _median(figures: Spread | None) -> float | None:
    return figures.median if figures else None


REQUIREMENTS = (
    Requirement("small responses, to nginx", 0.62, 0.85, _cpu("small", NGINX)),
    Requirement("the same, to Caddy", 2.5, 4, _cpu("small", CADDY)),
    Requirement("the same, to the plain aiohttp proxy", 4, 5.5, _cpu("small", PLAIN)),
    Requirement("10 kB, to nginx", 0.68, 0.90, _cpu("10k", NGINX)),
    Requirement("browser-sized heads, to nginx", 0.55, 0.75, _cpu("browser", NGINX)),
    Requirement("1 MB, to nginx", 1.05, 1.25, _cpu("1m", NGINX)),
    Requirement("1 GiB down, to nginx", 1.05, 1.25, _transfer("down", NGINX)),
    Requirement("1 GiB up, to nginx", 1.05, 1.25, _transfer("up", NGINX)),
    Requirement("full handshakes, to nginx", 0.64, 0.80, _cpu("full", NGINX)),
    Requirement("resumed handshakes, to nginx", 0.55, 0.75, _cpu("resumed", NGINX)),
    Requirement("p99 at half of own capacity, to nginx at the same rate", 2.0, 1.3, _p99, more_is_better=False),
    Requirement("two workers to one, requests/s", 1.8, 1.95, _workers),
    Requirement("request lines and metrics on, to off", 0.90, 0.96, _log),
    Requirement("memory of one process after load", 50, 38, _memory, more_is_better=False, unit="MB"),
    Requirement("memory for an idle TLS connection, to nginx", 1.8, 1.3, _idle, more_is_better=False),
    Requirement("process start to first answer", 0.5, 0.3, _start, more_is_better=False, unit="s"),
    Requirement("tcp mode, 100 B each way, to hitch", 0.9, None, _cpu("tcp-small", HITCH)),
    Requirement("tcp mode, 1 MB down, to hitch", 0.9, None, _cpu("tcp-1m", HITCH)),
    Requirement("peak memory, 1 GiB down", 84, None, _peak("down"), more_is_better=False, unit="MB"),
    Requirement("peak memory, 1 GiB up", 84, None, _peak("up"), more_is_better=False, unit="MB"),
)
"""Ratios are of CPU time for a request, the peer's over ours, unless they say otherwise; MB are millions of bytes."""
