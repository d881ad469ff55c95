"""deploy/image/audit.py: what a report of pip-audit comes to."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "image" / "audit.py"
SOUND = {"name": "idna", "version": "3.10", "vulns": []}
ABSENT = {"name": "yarl", "skip_reason": "Dependency not found on PyPI"}
BROKEN = {"name": "cffi", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("packages", "status", "said"),
    [
        ([SOUND, SOUND], 0, "no known vulnerability in 2 packages"),
        ([SOUND, BROKEN, ABSENT], 1, "cffi 1.0: CVE-1, fixed in 1.1"),
        ([SOUND, ABSENT], 77, "skipped: of 2 packages 1 are not known to the index"),
    ],
)
def test_what_a_report_comes_to(packages: list[dict[str, object]], status: int, said: str) -> None:
    """A vulnerability fails whatever else is there, and a package of which nothing is known is no good news."""
    found, lines = script().verdict(packages)
    assert (found, lines[0]) == (status, said)
