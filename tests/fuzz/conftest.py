"""How far Hypothesis looks: a little and always the same every day, further by name (`--hypothesis-profile=fuzz`)."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "everyday", max_examples=40, derandomize=True, database=None, deadline=None, suppress_health_check=QUIET
)
settings.register_profile("fuzz", max_examples=5000, database=None, deadline=None, suppress_health_check=QUIET)
if settings.get_current_profile_name() == "default":
    settings.load_profile("everyday")


@pytest.fixture(scope="package", autouse=True)
def _quiet() -> Iterator[None]:
    """A log line for each refusal would be most of the time."""
    logger = logging.getLogger("tlsproxy")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)
