"""Limits of CPU time, in the words of both versions of control groups."""

from pathlib import Path

import pytest

from bench import limits
from bench.limits import Group


@pytest.mark.parametrize(("millis", "written"), [(100, "10000 100000"), (2000, "200000 100000"), (0, "max 100000")])
def test_a_limit_of_version_2(tmp_path: Path, millis: int, written: str) -> None:
    """Quota and period stand in one file."""
    (tmp_path / "cpu.max").touch()
    (tmp_path / "cpu.stat").write_text("nr_periods 3\nthrottled_usec 1500000\n")
    group = Group(tmp_path)
    group.limit(millis)
    assert (tmp_path / "cpu.max").read_text() == written
    assert group.waited() == 1.5


@pytest.mark.parametrize(("millis", "written"), [(100, "10000"), (0, "-1")])
def test_a_limit_of_version_1(tmp_path: Path, millis: int, written: str) -> None:
    """The quota has a file of its own, and nanoseconds are counted."""
    (tmp_path / "cpu.cfs_quota_us").touch()
    (tmp_path / "cpu.stat").write_text("nr_periods 3\nthrottled_time 1500000000\n")
    group = Group(tmp_path)
    group.limit(millis)
    assert (tmp_path / "cpu.cfs_quota_us").read_text() == written
    assert group.waited() == 1.5


def test_where_no_group_may_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none, which is no error."""
    monkeypatch.setattr(limits, "GROUPS", tmp_path / "absent")
    with limits.group() as group:
        assert group is None
