"""While others attack, a well-behaved client is served as fast as before, or nearly, and nothing is left of it after.

All attacks, at ten times the size, with figures for the docs: python -m tests.reliability overload.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.programs import program
from tests.e2e.sidecar_process import Sidecar
from tests.reliability import overload

pytestmark = [pytest.mark.soak, pytest.mark.timeout(90)]

SECONDS = 0.5
DISTURBED = 0.05
"""Seconds that are forgiven, since other tests run at the same time."""
MEMORY = 24 * 1024 * 1024
"""By how much all of them together may let the process grow."""
IN_SHORT = (
    "slowhttptest -X",
    "half-open handshakes",
    "hellos",
    "renegotiations",
    "bursts of small records",
    "large heads",
    "unread pipelines",
    "small chunks",
    "WebSocket pings",
    "cancelled requests",
)
"""One of each sort."""

Front = tuple[Sidecar, Path, float]


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    """A sidecar, a directory, and how fast it is when nobody attacks."""
    with overload.fronted() as (sidecar, directory):
        yield sidecar, directory, overload.calm(sidecar)


def held(figures: overload.Figures, calm: float) -> None:
    """Assert what is promised of every attack."""
    assert figures.failures == []
    assert figures.attacked < max(overload.TIMES_CALM * calm, DISTURBED)
    assert figures.recovered is not None
    assert figures.descriptors_left == 0
    assert figures.grown < MEMORY


@pytest.mark.parametrize("name", IN_SHORT)
def test_others_are_served(front: Front, name: str) -> None:
    """The 99th percentile stays within five times the calm one, memory is bounded, and every descriptor comes back."""
    if name.startswith("slowhttptest"):
        program("slowhttptest", "slowhttptest")
    sidecar, directory, calm = front
    held(overload.attack(sidecar, directory, name, overload.SCALES[name][0], SECONDS, calm), calm)


def test_more_than_there_is_room_for() -> None:
    """Who was there before is served as ever while twice as many as there are places knock and say nothing."""
    with overload.fronted(MAX_CONNECTIONS=overload.PLACES) as (sidecar, directory):
        calm = overload.calm(sidecar)
        scale = 2 * overload.PLACES
        held(overload.attack(sidecar, directory, overload.ABOVE_THE_LIMIT, scale, SECONDS, calm), calm)
        assert sidecar.metrics().value("tlsproxy_accept_pauses_total") > 0
