"""The plan as far as the machine allows it."""

from pathlib import Path

from bench.certificate import Certificate
from bench.course import within_open_files
from bench.machine import Cores, Machine
from bench.options import make_parser, make_plan
from bench.results import Results
from bench.stand import Stand

NOWHERE = Path("/nowhere")


def test_connections_are_as_many_as_open_files_allow() -> None:
    """A proxy has two files for each, and some besides; what is cut is told, and what fits is left as it is."""
    cores = Cores((1,), (0,))
    found = Results("", [], 1, 1, Machine("", 2, "", 0.0, {}), cores)
    stand = Stand(NOWHERE, Certificate(NOWHERE, NOWHERE, NOWHERE), cores, {}, found)
    plan = make_plan(make_parser().parse_args(["--loads", "small,open-10000,idle"]))
    assert within_open_files(plan, 32_768, stand) == plan
    assert found.notes == []
    cut = within_open_files(plan, 20_000, stand)
    assert [load.connections for load in cut.loads] == [16, 9_800]
    assert cut.idle == (1_000, 9_800)
    assert found.notes == ["no more than 9,800 connections at once: 20,000 open files are allowed (ulimit -n)"]
