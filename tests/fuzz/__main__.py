"""Fuzz by name, led by coverage: `python -m tests.fuzz [TARGET ...] --cases 100000`; `make fuzz`.

Each target runs in a process of its own, from its seeds and what earlier runs have found worth keeping (`.fuzz/`). What
breaks a rule is kept under tests/fuzz/findings, where the everyday tests try it again and again.
"""

import argparse
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.targets import BY_NAME, TARGETS, Target

FINDINGS = Path(__file__).parent / "findings"
KEPT = Path(".fuzz")
DONE = re.compile(r"Done (\d+) runs")
STEP = re.compile(r"^#(\d+)\s", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """What became of a target."""

    name: str
    cases: int
    findings: int
    seconds: float

    def __str__(self) -> str:
        return f"| {self.name} | {self.cases:,} | {self.findings} | {self.cases / max(self.seconds, 1):,.0f} |"


def run(target: Target, cases: int, seconds: int) -> Run:
    """So many cases of a target, or as many as there is time for."""
    kept, findings = KEPT / target.name, FINDINGS / target.name
    kept.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (kept / f"seed-{number}").write_bytes(seed)
    options = [f"-runs={cases}", f"-max_len={target.longest}", f"-max_total_time={seconds}", "-timeout=20"]
    if target.words:
        words = KEPT / f"{target.name}.dict"
        words.write_text("".join(map(_entry, target.words)))
        options.append(f"-dict={words}")
    command = [sys.executable, "-m", "tests.fuzz.guided", target.name, *options, f"-artifact_prefix={KEPT}/found-"]
    began = time.monotonic()
    told = subprocess.run(
        [*command, str(kept)], stderr=subprocess.PIPE, text=True, errors="replace", check=False
    ).stderr
    found = _kept_findings(findings)
    if found:
        print(told[-3000:], file=sys.stderr)
    return Run(target.name, _count(told), found, time.monotonic() - began)


def _entry(word: bytes) -> str:
    """A line of libFuzzer's dictionaries."""
    return '"%s"\n' % "".join(f"\\x{code:02x}" for code in word)


def _count(told: str) -> int:
    """How many cases libFuzzer says that it ran."""
    done = DONE.search(told)
    return int(done[1]) if done else max(map(int, STEP.findall(told)), default=0)


def _kept_findings(directory: Path) -> int:
    """Move what was found to where it is tried again."""
    found = sorted(KEPT.glob("found-*"))
    for path in found:
        directory.mkdir(parents=True, exist_ok=True)
        path.rename(directory / path.name.removeprefix("found-"))
    return len(found)


def main() -> int:
    """Fuzz the targets that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[[], *BY_NAME], metavar="TARGET", help=", ".join(BY_NAME))
    parser.add_argument("--cases", type=int, default=100_000, help="for each target")
    parser.add_argument("--seconds", type=int, default=600, help="at most, for each target")
    given = parser.parse_args()
    if find_spec("atheris") is None:
        print("atheris is not installed: pip install atheris, in an environment that has what the tests need")
        return 77
    runs = []
    for target in [BY_NAME[name] for name in given.targets] or TARGETS:
        runs.append(run(target, given.cases, given.seconds))
        print(runs[-1], flush=True)
    return 1 if any(one.findings for one in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
