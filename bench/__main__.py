"""`python -m bench`: the fronts side by side under every load, then a table and a JSON file.

Nothing is installed. What is missing is named, and the rest is measured. Floors are reported; they are
no exit status.
"""

import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from bench import machine, report, results
from bench.course import progress, run
from bench.options import make_parser, make_plan
from bench.results import Results

INTERRUPTED = 128 + signal.SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the bench; 0 whatever the figures, 1 when there are none, 2 for wrong options, 130 when interrupted."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        plan = make_plan(options)
    except ValueError as error:
        parser.error(str(error))
    signal.signal(signal.SIGTERM, _interrupt)
    found = Results(
        date=datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
        command=[
            Path(sys.executable).name,
            "-m",
            "bench",
            *(sys.argv[1:] if arguments is None else arguments),
        ],
        rounds=plan.rounds,
        seconds=plan.seconds,
        machine=machine.describe(),
        cores=machine.cores(),
    )
    print(f"this takes about {plan.estimate} s", file=sys.stderr)
    status = 0
    try:
        run(plan, found)
    except KeyboardInterrupt:
        found.notes.append("interrupted: the run is incomplete")
        status = INTERRUPTED
    progress("")
    if not found.fronts and not found.transfers:
        print("\n".join(found.notes), file=sys.stderr)
        return 1
    print(report.render(found))
    print(f"\nwritten to {results.write(found, options.output)}")
    return status


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends the run as Ctrl-C does, so that every child is ended."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
