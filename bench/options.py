"""The command line, and the plan that it makes."""

import argparse
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench import fronts, results, rounds, transfers
from bench.fronts import PEERS, Front
from bench.loads import LOADS, Load, Mode

FRONTS = (*PEERS, "ours")

EPILOG = """\
--ours may be given more than once, each with a label, to see what a change gives in one run:
  python -m bench --quick --ours 'before=/old/.venv/bin/python -m tlsproxy run' \\
                          --ours 'after=/new/.venv/bin/python -m tlsproxy run'
The command reads the TLSPROXY_* variables. A variable of its own is set with env:
  --ours 'no-log=env TLSPROXY_ACCESS_LOG=off python -m tlsproxy run'
"""


@dataclass(frozen=True)
class Plan:
    """What was asked for, after the names are checked."""

    rounds: int
    seconds: int
    fronts: list[Front]
    loads: list[Load]
    directions: list[transfers.Direction]

    @property
    def estimate(self) -> int:
        """About how many seconds it takes."""
        samples = sum(len(self.fronts_under(load.mode)) for load in self.loads)
        transferring = len(self.fronts_under("http")) * len(self.directions)
        return samples * (self.rounds * self.seconds + rounds.WARM_UP) + 4 * transferring

    def fronts_under(self, mode: Mode) -> list[Front]:
        """Those that do the one thing or the other."""
        return [front for front in self.fronts if front.mode == mode]


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    names = [*(load.name for load in LOADS), *(f"1g-{direction}" for direction in transfers.DIRECTIONS)]
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="tlsproxy side by side with nginx and a plain aiohttp proxy, in tcp mode with hitch and haproxy.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="two minutes at most: 3 rounds of 1 s, not 5 of 4 s, and fewer loads"
    )
    parser.add_argument("--rounds", type=int, help="how often each front comes under each load")
    parser.add_argument("--seconds", type=int, help="how long each time")
    parser.add_argument(
        "--fronts", help=f"some of them, comma-separated: {', '.join(FRONTS)}", default=",".join(FRONTS)
    )
    parser.add_argument("--loads", help=f"some of them, comma-separated: {', '.join(names)}")
    parser.add_argument(
        "--ours",
        action="append",
        metavar="[LABEL=]COMMAND",
        help="what starts ours; default: this Python with -m tlsproxy run",
    )
    parser.add_argument("--output", type=Path, default=results.DIRECTORY, help="directory of the JSON file")
    return parser


def make_plan(options: argparse.Namespace) -> Plan:
    """The plan that the options ask for.

    Raises:
        ValueError: a name or number that is not allowed; the message names it.
    """
    known = {load.name for load in LOADS} | {f"1g-{direction}" for direction in transfers.DIRECTIONS}
    left_out = {load.name for load in LOADS if options.quick and not load.quick}
    wanted_loads = options.loads.split(",") if options.loads else known - left_out
    _refuse_unknown("--loads", wanted_loads, known)
    plan = Plan(
        rounds=_given(options.rounds, 3 if options.quick else 5),
        seconds=_given(options.seconds, 1 if options.quick else 4),
        fronts=choose_fronts(options.fronts.split(","), options.ours or []),
        loads=[load for load in LOADS if load.name in wanted_loads],
        directions=[way for way in transfers.DIRECTIONS if f"1g-{way}" in wanted_loads],
    )
    if plan.rounds < 1 or plan.seconds < 1:
        raise ValueError("--rounds and --seconds must be at least 1")
    return plan


def choose_fronts(wanted: list[str], commands: list[str]) -> list[Front]:
    """The fronts in the order of the rounds, those that are there.

    Args:
        wanted: of FRONTS; `ours` are two, one for each mode.
        commands: the values of --ours; none: ours as it is installed.

    Raises:
        ValueError: an unknown name, or two fronts with one label.
    """
    _refuse_unknown("--fronts", wanted, FRONTS)
    chosen = fronts.peers(wanted)
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
