"""tlsproxy/tls/expiry.py."""

from datetime import timedelta

from tests.tls.material import DAY, NOW, Request, material
from tlsproxy.tls.certificate import Certificate
from tlsproxy.tls.checks import check
from tlsproxy.tls.expiry import ExpiryWarnings

HOUR = timedelta(hours=1)


def ending_in(left: timedelta) -> Certificate:
    return check(material(*Request(not_after=NOW + left).issue().pair), NOW)


def test_nothing_is_due_before_the_time() -> None:
    """A certificate is warned about from the moment that the period before its end begins, and not before."""
    warnings, certificate = ExpiryWarnings(14 * DAY), ending_in(15 * DAY)
    assert warnings.begins(certificate) == certificate.not_after - 14 * DAY
    assert warnings.due(certificate, NOW) == ""
    said = warnings.due(certificate, NOW + DAY + HOUR)
    assert f"serial {certificate.serial}, from /certs/tls.crt, expires in 14.0 days" in said


def test_it_is_said_once_a_day() -> None:
    """Within a day it is not said again, however often it is asked; after the end it is still said."""
    warnings, certificate = ExpiryWarnings(14 * DAY), ending_in(2 * DAY)
    hours = [hour for hour in range(4 * 24) if warnings.due(certificate, NOW + hour * HOUR)]
    assert hours == [0, 24, 48, 72]
    assert "expired 2.0 days ago" in warnings.due(certificate, NOW + 4 * DAY)


def test_a_renewal_within_the_day_is_not_said_again() -> None:
    """Where certificates live for less than the period, one line a day tells of all of them."""
    warnings = ExpiryWarnings(14 * DAY)
    assert warnings.due(ending_in(DAY), NOW)
    assert warnings.due(ending_in(2 * DAY), NOW + HOUR) == ""


def test_a_good_one_ends_it() -> None:
    """When a certificate with time enough comes, nothing is said any more."""
    warnings = ExpiryWarnings(14 * DAY)
    assert warnings.due(ending_in(DAY), NOW)
    assert warnings.due(ending_in(90 * DAY), NOW + 2 * DAY) == ""


def test_0_is_never() -> None:
    """A period of 0 says nothing even when the end has come."""
    assert ExpiryWarnings(timedelta()).due(ending_in(DAY), NOW + 2 * DAY) == ""
