"""What is put together from findings."""

import pytest

from tlsproxy.import_nginx.findings import Carried, Directive, Lost, Needless, Remark, Setting
from tlsproxy.import_nginx.report import Report


def directive(name: str = "name", *args: str, line: int = 1) -> Directive:
    return Directive(name, args, f"line {line}")


@pytest.mark.parametrize(
    ("variable", "one", "other", "both"),
    [
        ("BODY_TIMEOUT", "30s", "2m", "2m"),
        ("BODY_TIMEOUT", "2m", "120s", "2m"),
        ("MAX_BODY", "20m", "0", "0"),
        ("MAX_BODY", "0", "20m", "0"),
        ("TRUSTED_PROXIES", "10.0.0.0/8", "10.0.0.0/8", "10.0.0.0/8"),
        ("TRUSTED_PROXIES", "10.0.0.0/8", "::1", "10.0.0.0/8,::1"),
        ("CERT_NAME", "a", "b", "a,b"),
        ("LISTEN_PORT", "8443", "8443", "8443"),
    ],
)
def test_two_values(variable: str, one: str, other: str, both: str) -> None:
    """Of two deadlines or limits the wider one counts, and lists are joined."""
    report = Report("x")
    report.add(directive(line=1), Setting(variable, one))
    report.add(directive(line=2), Setting(variable, other))
    assert report.value(variable) == both
    assert "Not carried" not in str(report)


def test_two_values_that_exclude_each_other() -> None:
    """The first one stays, and the other is told."""
    report = Report("x")
    report.add(directive("listen", "9443"), Setting("LISTEN_PORT", "9443"))
    report.add(directive("listen", "9444", line=2), Setting("LISTEN_PORT", "9444"))
    assert report.environment() == {"TLSPROXY_LISTEN_PORT": "9443"}
    assert "# - listen 9444 (line 2)\n#   TLSPROXY_LISTEN_PORT is 9443 already; it can't be both\n" in str(report)


def test_two_values_of_which_one_is_none() -> None:
    """What the sidecar could not read is told like any other that does not fit."""
    report = Report("x")
    for value in ("8443", "odd"):
        report.add(directive("listen", value), Setting("LISTEN_PORT", value))
    assert report.value("LISTEN_PORT") == "8443"
    assert "it can't be both" in str(report)


def test_defaults_are_comments() -> None:
    """What is so anyway is not set, but for the two that matter."""
    report = Report("x")
    for variable, value in [("APP_PORT", "8080"), ("CERT_NAME", "tls"), ("KEEPALIVE_TIMEOUT", "75s")]:
        report.add(directive(), Setting(variable, value))
    assert report.environment() == {"TLSPROXY_CERT_NAME": "tls", "TLSPROXY_APP_PORT": "8080"}
    assert "# TLSPROXY_KEEPALIVE_TIMEOUT=75s is the default\n" in str(report)


def test_rules() -> None:
    """What a rule can't read is told, what is lost or unknown too; what needs nothing is counted once."""
    report = Report("x")
    bad = Carried(("HSTS",), lambda args: iter([Setting("HSTS", args[3])]))
    report.apply(directive("short"), bad)
    report.apply(directive("lost"), Lost(Remark("why", "instead")))
    report.apply(directive("unknown"), None)
    for _ in range(2):
        report.apply(directive("fine"), Needless("note"))
    text = str(report)
    assert "# - short (line 1)\n#   something is missing in it; it is not carried over\n" in text
    assert "# - lost (line 1)\n#   why; instead\n" in text
    assert "# - unknown (line 1)\n#   it is not known here" in text
    assert text.endswith("# 1 more needs nothing here.\n")


def test_remarks_are_told_once() -> None:
    """With each place that they are for; of arguments the first alone, for among the others are secrets."""
    report = Report("x")
    for line in (1, 2, 2):
        report.add(directive("proxy_set_header", "Authorization", "hush", line=line), Remark("why"))
    assert str(report).count("why") == 1
    assert str(report).count("# - proxy_set_header Authorization (line ") == 2
    assert "hush" not in str(report)


def test_names_only() -> None:
    """Of an environment's variables no value is shown that is not carried over."""
    report = Report("x", names_only=True)
    report.add(directive("PASSWORD", "hush"), Remark("why"))
    report.add(directive("PORT", "3000"), Setting("APP_PORT", "3000"))
    assert "hush" not in str(report)
    assert "# PORT (line 1)\nTLSPROXY_APP_PORT=3000\n" in str(report)


def test_lines_stay_lines() -> None:
    """What comes from a file can't begin a line of its own."""
    report = Report("x")
    report.add(directive("listen", "a\nTLSPROXY_APP_PORT=1"), Setting("LISTEN_HOST", "a\nTLSPROXY_APP_PORT=1"))
    report.add(directive("x", "\nTLSPROXY_APP_PORT=1"), Remark("why\nTLSPROXY_APP_PORT=1"))
    assert not [line for line in str(report).splitlines() if line.startswith("TLSPROXY_APP_PORT")]
