"""`python -m bench`: the fronts side by side under every load, then a table and a JSON file.

Nothing is installed. What is missing is named, and the rest is measured. Floors are reported; they are
no exit status.
"""

import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from bench import documents, machine, report, results
from bench.course import run
from bench.options import make_parser, make_plan
from bench.results import Results
from bench.stand import progress

INTERRUPTED = 128 + signal.SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the bench; 0 whatever the figures, 1 when there are none, 2 for wrong options, 130 when interrupted."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        if options.earlier:
            return tell(results.read(options.earlier), write_docs=options.write_docs)
        plan = make_plan(options)
    except (OSError, ValueError) as error:
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
    began, interrupted = time.monotonic(), False
    try:
        run(plan, found)
    except KeyboardInterrupt:
        found.notes.append("interrupted: the run is incomplete")
        interrupted = True
    progress("")
    found.took = round(time.monotonic() - began, 1)
    if not found.any:
        print("\n".join(found.notes), file=sys.stderr)
        return 1
    print(f"written to {results.write(found, options.output)}\n")
    status = tell(found, write_docs=options.write_docs and not interrupted)
    return INTERRUPTED if interrupted else status


def tell(found: Results, *, write_docs: bool) -> int:
    """Prints the report, and writes the page and its pictures if that is wanted; 0."""
    print(report.render(found))
    if write_docs:
        print("\n" + "\n".join(f"written: {path}" for path in documents.write(found)))
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends the run as Ctrl-C does, so that every child is ended."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
