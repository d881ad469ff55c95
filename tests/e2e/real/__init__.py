"""Programs that people run, in front of the sidecar and behind it."""

import pytest

pytest.register_assert_rewrite("tests.e2e.real.comparison")
