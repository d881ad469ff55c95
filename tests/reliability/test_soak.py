"""What the sidecar holds does not grow, whatever changes around it: certificates, the app, its clients.

For longer, with a picture for the docs: python -m tests.reliability soak --minutes 60.
"""

import os

import pytest

from tests.reliability import soak

SECONDS = float(os.environ.get("TLSPROXY_TEST_SOAK_SECONDS", "25"))

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS + 60)]

GROWTH = {"resident": 2 * 1024 * 1024, "descriptors": 4, "clients": 4, "app_connections": 4, "tasks": 2}
"""By how much the median of the second half may be above that of the first: the heap's slack, and a client or two."""


def test_nothing_grows() -> None:
    """Memory, descriptors, connections and tasks of the second half are those of the first; no request goes wrong."""
    figures = soak.run(SECONDS)
    assert figures.outcome.wrong == []
    assert figures.twice == []
    assert figures.rotations > SECONDS / 2
    assert min(figures.others["large"], figures.others["messages"], figures.others["events"]) > SECONDS
    for name, allowed in GROWTH.items():
        first, second = figures.halves(lambda sample: float(getattr(sample, name)))  # noqa: B023  # called at once
        assert second - first < allowed, (name, first, second)
