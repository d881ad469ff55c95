"""What the probes answer, from conditions."""

import pytest

from tlsproxy.chassis.admin.health import Condition, report


@pytest.mark.parametrize(
    ("conditions", "status", "text"),
    [
        ([], 200, "ok\n"),
        ([Condition("certificate", ok=True)], 200, "[+]certificate\n"),
        (
            [Condition("certificate", ok=True), Condition("app", ok=False, detail="connection refused")],
            503,
            "[+]certificate\n[-]app: connection refused\n",
        ),
        ([Condition("app", ok=True, detail="slow")], 200, "[+]app: slow\n"),
        ([Condition("app", ok=False, detail="a\n[+]certificate")], 503, "[-]app: a [+]certificate\n"),
    ],
)
def test_report(conditions: list[Condition], status: int, text: str) -> None:
    """One failed condition makes 503; each condition is one line, whatever its detail holds."""
    assert report(iter(conditions)) == (status, text)
