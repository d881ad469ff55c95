"""What is worked out for containers from what their cgroups tell."""

from dataclasses import replace

import pytest

from tests.companions.topz.snapshots import CONTAINERS, SNAPSHOT
from tlsproxy.companions.topz.facts import CONTAINER_IS_TEXT, CONTAINER_TITLES, container_cells, share, throttled
from tlsproxy.companions.topz.snapshot import Usage


def test_shares() -> None:
    """What counts against the memory limit, and how many periods of the CPU limit were cut short."""
    assert share(CONTAINERS[0]) == pytest.approx(59.6, abs=0.05)
    assert throttled(CONTAINERS[0]) == 40.0


@pytest.mark.parametrize(
    "usage", [Usage(), Usage(memory_limit=5, periods=0, throttled_periods=0), Usage(working_set=5)]
)
def test_nothing_to_share(usage: Usage) -> None:
    """Without a limit, or before its first period, there is no share."""
    container = replace(CONTAINERS[0], usage=usage)
    assert (share(container), throttled(container)) == (None, None)


def test_the_table_is_whole() -> None:
    """Each title has its cell."""
    titles, lines, are_text = container_cells(SNAPSHOT)
    assert (titles, are_text) == (CONTAINER_TITLES, CONTAINER_IS_TEXT)
    assert {len(line) for line in lines} == {len(titles)} == {len(are_text)}
