"""tlsproxy/tls/description.py."""

from tests.tls.material import DAY, NOW, Request, chain, material, pem
from tlsproxy.tls.certificate import Certificate
from tlsproxy.tls.checks import check
from tlsproxy.tls.description import arrival, days, moment, report

END = NOW + 9 * DAY


def issued(*names: str) -> Certificate:
    """A certificate for the names that ends at END."""
    return check(material(*Request(names=names, not_after=END).issue().pair), NOW)


def test_the_first_certificate_is_told_as_it_is() -> None:
    """Where nothing was served before, there is nothing to compare with."""
    first = issued("a.test", "b.test")
    assert arrival(None, first) == (
        f"serial {first.serial}, for a.test, b.test, ECDSA P-256, valid until {moment(END)}, from /certs/tls.crt"
    )


def test_a_rotation_tells_serials_dates_and_names() -> None:
    """Both serials and ends are told, and the names that came and went."""
    old, new = issued("a.test", "b.test"), issued("b.test", "c.test", "d.test")
    told = arrival(old, new)
    assert told.startswith(f"serial {old.serial} -> {new.serial}, for b.test, c.test, d.test, ")
    assert told.endswith(f"; before: valid until {moment(END)}; gained c.test, d.test; lost a.test")


def test_a_renewal_gains_and_loses_nothing() -> None:
    """Where the names are the same, no word is lost on them."""
    told = arrival(issued("a.test"), issued("a.test"))
    assert "gained" not in told
    assert "lost" not in told


def test_days_are_told_as_people_count_them() -> None:
    """What is left, or what has passed since."""
    assert days(issued("a.test"), NOW) == f"expires in 9.0 days, on {moment(END)}"
    assert days(issued("a.test"), NOW + 11 * DAY) == f"expired 2.0 days ago, on {moment(END)}"


def test_the_report_has_everything_but_the_key() -> None:
    """Files, names, serial, fingerprint, key, issuer, chain and dates are there; of the key its kind alone."""
    made = chain()
    certificate = check(material(pem(made.leaf.certificate, made.lower.certificate), made.leaf.pair[1]), NOW)
    lines = list(report(certificate, NOW))
    assert lines[:2] == ["files: /certs/tls.crt and /certs/tls.key", "names: localhost"]
    assert lines[2] == f"serial: {certificate.serial}, SHA-256 fingerprint {certificate.fingerprint}"
    assert lines[3:5] == ["key: ECDSA P-256", "issuer: CN=lower"]
    assert lines[5] == "chain: CN=localhost <- CN=lower <- CN=upper (not in the file: clients need it as a root)"
    assert lines[6].startswith(f"valid from {moment(certificate.not_before)}; expires in ")
    assert "PRIVATE" not in "".join(lines)


def test_a_root_is_told_as_its_own_issuer() -> None:
    """A chain that ends with its root lacks nobody."""
    lines = list(report(check(material(*Request().issue().pair), NOW), NOW))
    assert "chain: CN=localhost (its own issuer)" in lines
