"""The command line, and the plan that it makes."""

import argparse
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import endurance, fronts, peers, results, rounds, transfers
from bench.fronts import Front
from bench.idle import SETTLE
from bench.loads import LOADS, Load, Mode
from bench.peers import PEERS
from bench.variants import VARIANTS, Variant

FRONTS = (*dict.fromkeys(peer.option for peer in PEERS), "ours")
QUICK_FRONTS = (*(peer.option for peer in PEERS if peer.quick), "ours")
LATENCY, IDLE, STARTS, ALONE, LIMITS, ENDURANCE = "latency", "idle", "start", "alone", "limits", "endurance"
FEW_IDLE, MANY_IDLE = 1_000, 10_000
# Seconds: to start a front and end it again, and to open a connection and have an answer over it.
STARTING = 0.7
OPENING = 0.0015
# Seconds for all of it.
ALONE_TAKES = 30
LIMITS_TAKE = 12

EPILOG = """\
--ours may be given more than once, each with a label, to see what a change gives in one run:
  python -m bench --quick --ours 'before=/old/.venv/bin/python -m tlsproxy run' \\
                          --ours 'after=/new/.venv/bin/python -m tlsproxy run'
The command reads the TLSPROXY_* variables. A variable of its own is set with env:
  --ours 'no-log=env TLSPROXY_ACCESS_LOG=off python -m tlsproxy run'
"""


@dataclass(frozen=True)
class Plan:
    """What was asked for, after the names are checked.

    Attributes:
        quick: whether it shall be over in two minutes.
        rounds: how often each front comes under each load.
        seconds: how long each time.
        fronts: those that are there.
        loads: of the table.
        directions: of 1 GiB.
        variants: of ours.
        latency: whether latency at constant rates is taken.
        idle: with how many idle connections memory is taken.
        starts: whether starts are timed.
        alone: whether ours is looked at by itself.
        limits: whether ours is put under limits of CPU time.
        endurance: whether ours answers a million requests.
    """

    quick: bool
    rounds: int
    seconds: int
    fronts: list[Front]
    loads: list[Load]
    directions: list[transfers.Direction]
    variants: list[Variant]
    latency: bool
    idle: tuple[int, ...]
    starts: bool
    alone: bool
    limits: bool
    endurance: bool

    @property
    def estimate(self) -> int:
        """About how many seconds it takes."""
        whole = self.rounds * self.seconds + rounds.WARM_UP
        http, ours = len(self.fronts_under("http")), len(self.ours)
        at_rate = 4 * ours if self.quick else 3 * http
        parts = [
            sum(len(self.fronts_of(load)) * (whole + self._opening(load)) for load in self.loads),
            2 * len(self.fronts) * STARTING if self.loads else 0,
            len(self.variants) * ours * 2 * (whole + STARTING),
            self.latency * http * (STARTING + self.latency_seconds),
            self.latency * at_rate * self.latency_rounds * (self.latency_seconds + STARTING / 2),
            http * (STARTING + SETTLE + OPENING * max(self.idle)) if self.idle else 0,
            self.starts * self.rounds * len(self.fronts) * STARTING,
            4 * http * len(self.directions),
            self.alone * ours * ALONE_TAKES,
            self.limits * ours * LIMITS_TAKE,
            self.endurance * ours * (STARTING + endurance.REQUESTS / endurance.RATE),
        ]
        return round(sum(parts))

    @property
    def latency_rounds(self) -> int:
        """As many as are needed to see a spread."""
        return min(self.rounds, 3)

    @property
    def latency_seconds(self) -> int:
        """Long enough for p99.9 to be of some requests."""
        return self.seconds if self.quick else max(2, self.seconds)

    def _opening(self, load: Load) -> float:
        """Seconds for the connections of a load."""
        return load.connections * OPENING if load.says_ready else 0.0

    @property
    def ours(self) -> list[Front]:
        """Those of ours that speak HTTP."""
        return [front for front in self.fronts_under("http") if front.ours]

    def fronts_of(self, load: Load) -> list[Front]:
        """Those that come under a load."""
        fronts = self.fronts_under(load.mode)
        first = [front for front in fronts if not front.ours][:1]
        return [front for front in fronts if front.ours or front in first] if load.few else fronts

    def fronts_under(self, mode: Mode) -> list[Front]:
        """Those that do the one thing or the other."""
        return [front for front in self.fronts if front.mode == mode]


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="tlsproxy side by side with nginx, haproxy, caddy and a plain aiohttp proxy; "
        "in tcp mode with hitch, stunnel and haproxy.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="two minutes at most, not a quarter of an hour: 3 rounds, not 5, and fewer fronts and loads",
    )
    parser.add_argument("--rounds", type=int, help="how often each front comes under each load")
    parser.add_argument("--seconds", type=int, help="how long each time")
    parser.add_argument("--fronts", help=f"some of them, comma-separated: {', '.join(FRONTS)}")
    parser.add_argument("--loads", help=f"some of them, comma-separated: {', '.join(known_loads())}")
    parser.add_argument(
        "--ours",
        action="append",
        metavar="[LABEL=]COMMAND",
        help="what starts ours; default: this Python with -m tlsproxy run",
    )
    parser.add_argument("--output", type=Path, default=results.DIRECTORY, help="directory of the JSON file")
    parser.add_argument(
        "--write-docs", action="store_true", help="write the tables and pictures of docs/benchmarks.md from this run"
    )
    parser.add_argument(
        "--from", type=Path, dest="earlier", metavar="JSON", help="measure nothing: tell of an earlier run again"
    )
    return parser


def known_loads() -> dict[str, bool]:
    """All names of loads, and whether a quick run has time for each."""
    return {
        **{load.name: load.quick for load in LOADS},
        **{variant.name: variant.quick for variant in VARIANTS},
        LATENCY: True,
        IDLE: True,
        STARTS: False,
        ALONE: False,
        LIMITS: False,
        ENDURANCE: False,
        **{f"1g-{direction}": False for direction in transfers.DIRECTIONS},
    }


def make_plan(options: argparse.Namespace) -> Plan:
    """The plan that the options ask for.

    Raises:
        ValueError: a name or number that is not allowed; the message names it.
    """
    known = known_loads()
    by_default = {name for name, quick in known.items() if quick or not options.quick}
    wanted = set(options.loads.split(",")) if options.loads else by_default
    _refuse_unknown("--loads", wanted, known)
    fronts_by_default = QUICK_FRONTS if options.quick else FRONTS
    plan = Plan(
        quick=options.quick,
        rounds=_given(options.rounds, 3 if options.quick else 5),
        seconds=_given(options.seconds, 1),
        fronts=choose_fronts(options.fronts.split(",") if options.fronts else fronts_by_default, options.ours or []),
        loads=[load for load in LOADS if load.name in wanted],
        directions=[way for way in transfers.DIRECTIONS if f"1g-{way}" in wanted],
        variants=[variant for variant in VARIANTS if variant.name in wanted],
        latency=LATENCY in wanted,
        idle=_idle(options) if IDLE in wanted else (),
        starts=STARTS in wanted,
        alone=ALONE in wanted,
        limits=LIMITS in wanted,
        endurance=ENDURANCE in wanted,
    )
    if plan.rounds < 1 or plan.seconds < 1:
        raise ValueError("--rounds and --seconds must be at least 1")
    return plan


def _idle(options: argparse.Namespace) -> tuple[int, ...]:
    return (FEW_IDLE,) if options.quick else (FEW_IDLE, MANY_IDLE)


def choose_fronts(wanted: Sequence[str], commands: list[str]) -> list[Front]:
    """The fronts in the order of the rounds, those that are there.

    Args:
        wanted: of FRONTS; `ours` are two, one for each mode.
        commands: the values of --ours; none: ours as it is installed.

    Raises:
        ValueError: an unknown name, or two fronts with one label.
    """
    _refuse_unknown("--fronts", wanted, FRONTS)
    chosen = peers.installed(wanted)
    if "ours" in wanted:
        default = f"{shlex.quote(sys.executable)} -m tlsproxy run"
        for label, command in map(split_label, commands or [default]):
            chosen += fronts.ours(label, command), fronts.ours(f"{label} tcp", command, "tcp")
    seen = [front.label for front in chosen]
    if len(set(seen)) < len(seen):
        raise ValueError("each --ours needs a label of its own: --ours before=COMMAND --ours after=COMMAND")
    return chosen


def split_label(option: str) -> tuple[str, str]:
    """Label and command of `LABEL=COMMAND`; without a label, the project's name."""
    label, equals, command = option.partition("=")
    if equals and label and not set(label) & set(" /'\""):
        return label, command
    return fronts.OURS, option


def _given(number: int | None, default: int) -> int:
    return default if number is None else number


def _refuse_unknown(option: str, given: Iterable[str], known: Iterable[str]) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"{option}: {', '.join(unknown)} is not one of {', '.join(sorted(known))}")
