"""The runs of docs/reliability.md at full size: python -m tests.reliability faults|overload|soak [--minutes N].

Each writes its section of the page, and says what it has written.
"""

import argparse
import os
import sys
from contextlib import suppress

from tests.reliability import faults, overload, page, soak

REQUESTS = 100_000
SEED = 14
SECONDS = 2.0
NICE = -10
"""Where the user may: what else the machine does is not to be measured."""


def run_faults(requests: int) -> None:
    """100,000 checked requests through the relay."""
    page.write("faults", page.of_faults(faults.run(requests, SEED)))


def run_overload() -> None:
    """Each attack on a sidecar of its own."""
    with suppress(PermissionError):
        os.nice(NICE)
    figures = []
    for name, (_, scale) in overload.SCALES.items():
        limit = {"MAX_CONNECTIONS": overload.PLACES} if name == overload.ABOVE_THE_LIMIT else {}
        with overload.fronted(**limit) as (sidecar, directory):
            calm = overload.calm(sidecar)
            figures.append((calm, overload.attack(sidecar, directory, name, scale, SECONDS, calm)))
            sys.stdout.write(f"{calm:.4f} {figures[-1][1]}\n")
            sys.stdout.flush()
    page.write("overload", page.of_overload(figures))


def run_soak(minutes: float) -> None:
    """Everything at once, for so long."""
    figures = soak.run(minutes * 60)
    page.write("soak", page.of_soak(figures))
    page.draw(figures)
    sys.stdout.write(f"{page.of_soak(figures)}\n{figures.outcome.wrong[:20]}\n")


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability")
    parser.add_argument("run", choices=["faults", "overload", "soak"])
    parser.add_argument("--minutes", type=float, default=60.0, help="of the soak")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="through the faults")
    given = parser.parse_args()
    if given.run == "faults":
        run_faults(given.requests)
    elif given.run == "overload":
        run_overload()
    else:
        run_soak(given.minutes)
    sys.stdout.write(f"written to {page.DOCS / page.PAGE}\n")


if __name__ == "__main__":
    main()
