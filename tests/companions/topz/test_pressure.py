"""What the kernel tells of pressure."""

from pathlib import Path

import pytest

from tlsproxy.companions.topz.pressure import cgroup_pressure, machine_pressure, parse_pressure
from tlsproxy.companions.topz.snapshot import Pressure

BOTH = """\
some avg10=12.50 avg60=1.00 avg300=0.10 total=1500000
full avg10=2.50 avg60=1.00 avg300=0.10 total=500000
"""


def test_both_kinds() -> None:
    """Per cent over ten seconds, and seconds in all, of some and of all tasks."""
    assert parse_pressure(BOTH) == Pressure(12.5, 2.5, 1.5, 0.5)


def test_some_alone() -> None:
    """Older kernels tell of CPU only for some."""
    assert parse_pressure(BOTH.splitlines()[0]) == Pressure(12.5, None, 1.5, None)


@pytest.mark.parametrize("content", ["", "some", "some avg10=x total=1", "full avg10=1.0 total=1", "odd"])
def test_no_pressure(content: str) -> None:
    """What is no such file says nothing."""
    assert parse_pressure(content) is None


def test_places(tmp_path: Path) -> None:
    """The machine's and a cgroup's have other names; those that are not there are left out."""
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure" / "cpu").write_text(BOTH)
    (tmp_path / "io.pressure").write_text(BOTH)
    assert machine_pressure(str(tmp_path)).keys() == {"cpu"}
    assert cgroup_pressure(str(tmp_path)).keys() == {"io"}
