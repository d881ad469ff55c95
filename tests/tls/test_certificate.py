"""tlsproxy/tls/certificate.py."""

from dataclasses import replace
from datetime import timedelta

from tests.tls.material import DAY, NOW, Request, material
from tlsproxy.tls.certificate import Certificate, recall
from tlsproxy.tls.checks import check


def verdict(issued: Request) -> Certificate:
    return check(material(*issued.issue().pair), NOW)


def test_days_left() -> None:
    """They are counted in fractions, and below 0 once it has expired."""
    checked = verdict(Request(not_after=NOW + 2 * DAY))
    assert round(checked.days_left(NOW), 3) == 2
    assert round(checked.days_left(NOW + 3 * DAY), 3) == -1


def test_what_was_checked_is_recalled_once() -> None:
    """It is for the very material, and is forgotten with the first question for its name."""
    found = material(*Request().issue().pair)
    certificate = check(found, NOW)
    checked = {"tls": (found, certificate), "shop": (replace(found, name="shop"), certificate)}
    assert recall(checked, found) is certificate
    assert recall(checked, replace(found, name="shop", key=b"other")) is None
    assert checked == {}


def test_dates_are_judged_at_a_moment() -> None:
    """A certificate is valid from its first to its last second."""
    checked = verdict(Request())
    second = timedelta(seconds=1)
    assert checked.dates(checked.not_before) == checked.dates(checked.not_after) == "valid"
    assert checked.dates(checked.not_before - second) == "not yet valid"
    assert checked.dates(checked.not_after + second) == "expired"
