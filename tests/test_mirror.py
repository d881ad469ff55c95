"""Each module has its tests at the mirrored path, and each test file its module."""

from collections.abc import Mapping
from pathlib import Path

import tlsproxy

SOURCE = Path(tlsproxy.__file__).parent
TESTS = Path(__file__).parent

WITHOUT_TESTS: Mapping[str, str] = {
    "__main__.py": "two lines around cli",
    "chassis/exits.py": "numbers, held by tests/test_contract.py",
    "chassis/life.py": "a whole process: tests/e2e",
    "assembly.py": "settings to values, and what they do: tests/e2e",
    "serving.py": "the ports of a whole process: tests/e2e",
    "sidecar.py": "the whole process: tests/e2e",
    "workers/messages.py": "values that carry no behaviour",
    "workers/worker.py": "a whole process: tests/e2e/test_workers.py",
    "workers/supervisor.py": "several whole processes: tests/e2e/test_workers.py",
    "settings_kinds.py": "what variables may hold: tests/test_settings.py",
    "proxy/limits.py": "values that carry no behaviour",
    "companions/rollout/outcomes.py": "values that carry no behaviour",
    "companions/configsync/__main__.py": "two lines around cli",
    "companions/configsync/program.py": "the whole process: tests/companions/configsync/e2e",
    "companions/configsync/words.py": "texts, held by the contract",
    "chassis/everywhere.py": "declarations, held by each sidecar's contract",
    "inject/refusals.py": "the form of a message, seen wherever one is refused",
    "import_nginx/findings.py": "values, and their words in those that find them",
    "proxy/request.py": "values that carry no behaviour",
    "demo/story.py": "the transcript, told by the parts that have tests of their own",
    "demo/client.py": "the demo's own client: what it does is seen in the transcript",
    "demo/legacy_app.py": "the demo's own app: what it does is seen in the transcript",
    "demo/frame.py": "around every demo: tests/e2e/test_demo.py",
    "companions/configsync/demo/app.py": "the demo's own app: what it does is seen in the transcript",
    "companions/topz/__main__.py": "two lines around cli",
    "companions/topz/snapshot.py": "values that carry no behaviour",
    "companions/topz/columns.py": "what stands in them and their order: test_rows.py and test_text.py",
    "companions/topz/verbs.py": "words alone, held by tests/test_contract.py",
    "companions/topz/contract.py": "held by tests/test_contract.py",
    "companions/topz/demo/app.py": "the demo's own app: what it does is seen in the transcript",
}
"""Modules without a test file of their own, and why."""

WITHOUT_MODULE = frozenset({"test_docs.py", "test_layers.py", "test_mirror.py", "test_mistakes.py", "test_site.py"})
"""Tests of the house as a whole."""


def modules() -> set[str]:
    return {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if path.name != "__init__.py"}


def mirrored(module: str) -> str:
    path = Path(module)
    return str(path.with_name(f"test_{path.name}"))


def test_each_module_has_its_tests() -> None:
    """Whoever changes a module knows where its tests are."""
    missing = {module for module in modules() if not (TESTS / mirrored(module)).exists()}
    assert missing - WITHOUT_TESTS.keys() == set()


def test_no_exception_outlives_its_reason() -> None:
    """A module in the list exists, and has no tests of its own."""
    assert WITHOUT_TESTS.keys() - modules() == set()
    assert {module for module in WITHOUT_TESTS if (TESTS / mirrored(module)).exists()} == set()


def test_each_test_has_its_module() -> None:
    """In the folders that mirror the package there is nothing else."""
    places = (TESTS, *(TESTS / path.name for path in SOURCE.iterdir() if path.is_dir()))
    found = {str(path.relative_to(TESTS)) for place in places for path in place.glob("test_*.py")}
    assert found - set(map(mirrored, modules())) - WITHOUT_MODULE == set()


def test_each_test_states_its_rule() -> None:
    """Every test file opens with what it is about."""
    for path in TESTS.rglob("test_*.py"):
        assert path.read_text().startswith('"""'), path
