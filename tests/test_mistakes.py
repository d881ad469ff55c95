"""The table of mistakes: each is made, and what is printed is what docs/errors.md says."""

import pytest

from tests.mistakes import GROUPS, PAGE, Group, part, table

LONG = {"answers": pytest.mark.soak, "manifests": pytest.mark.soak}
"""What starts more processes than an everyday test may."""


@pytest.mark.parametrize(
    "group", [pytest.param(group, marks=LONG.get(group.name, ()), id=group.name) for group in GROUPS]
)
def test_what_is_printed_is_what_the_page_says(group: Group) -> None:
    """Row by row; `python -m tests.mistakes` writes the page anew."""
    told = table(group)
    assert told.splitlines() == part(PAGE.read_text(), group.name)[1].splitlines()
    assert "Traceback" not in told
    assert "| `` |" not in told, "a mistake of which nothing is said"
