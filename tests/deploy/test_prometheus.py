"""deploy/prometheus/alerts.yml: Prometheus takes the rules, and each alert fires when it should and not before."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tlsproxy import contract

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
LABELS = 'job="tlsproxy",instance="a"'
MINUTES = 180
CERTIFICATE = "tlsproxy_certificate"
Series = dict[str, str]

HEALTHY: Series = {
    f'{CERTIFICATE}_expiry_timestamp_seconds{{name="shop",{LABELS}}}': "1209600x180",
    f'{CERTIFICATE}_expiry_warning_timestamp_seconds{{name="shop",{LABELS}}}': "604800x180",
    f'{CERTIFICATE}_drift{{name="shop",{LABELS}}}': "0x180",
    f'tlsproxy_handshakes_total{{version="TLSv1.3",resumed="no",{LABELS}}}': "0+600x180",
    f'tlsproxy_handshake_failures_total{{reason="unknown_ca",{LABELS}}}': "0+12x180",
    f'tlsproxy_handshake_failures_total{{reason="not_tls",{LABELS}}}': "0+6000x180",
    f'tlsproxy_app_errors_total{{reason="app_reset",{LABELS}}}': "7x180",
}
"""A value at 0 and its growth by the minute; the clock begins at 0, too."""
TROUBLE: dict[str, tuple[Series, int]] = {
    "TlsproxyCertificateExpiresSoon": (
        {f'{CERTIFICATE}_expiry_warning_timestamp_seconds{{name="shop",{LABELS}}}': "600x180"},
        75,
    ),
    "TlsproxyCertificateExpired": (
        {f'{CERTIFICATE}_expiry_timestamp_seconds{{name="shop",{LABELS}}}': "3600x180"},
        62,
    ),
    "TlsproxyCertificateDrift": ({f'{CERTIFICATE}_drift{{name="shop",{LABELS}}}': "1x180"}, 6),
    "TlsproxyHandshakeFailures": (
        {f'tlsproxy_handshake_failures_total{{reason="unknown_ca",{LABELS}}}': "0+120x180"},
        15,
    ),
    "TlsproxyAppErrors": ({f'tlsproxy_app_errors_total{{reason="app_reset",{LABELS}}}': "0+1x180"}, 10),
}
"""What makes each alert fire, and at which minute it does."""


def promtool(*arguments: str | Path) -> str:
    """What it says, on either stream."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    done = subprocess.run([tool, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout


def firing(directory: Path, series: Series, alert: str, minute: int) -> bool:
    """Whether the alert fires at that minute."""
    # JSON is YAML. An alert that is expected never to fire is one that promtool reports when it does.
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [{"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": []}],
            }
        ],
    }
    (directory / "test.yml").write_text(json.dumps(test))
    said = promtool("test", "rules", directory / "test.yml")
    assert "SUCCESS" in said or f"alertname: {alert}" in said, said
    return "SUCCESS" not in said


def test_prometheus_takes_the_rules() -> None:
    """The file is valid, and every alert in it is in the table of this test."""
    assert f"SUCCESS: {len(TROUBLE)} rules found" in promtool("check", "rules", RULES)


@pytest.mark.parametrize("alert", TROUBLE)
def test_an_alert_fires_for_its_trouble(tmp_path: Path, alert: str) -> None:
    """It is silent while all is well and before its time, and fires after it."""
    series, minute = TROUBLE[alert]
    assert not firing(tmp_path, HEALTHY, alert, MINUTES)
    assert not firing(tmp_path, HEALTHY | series, alert, minute // 2 - 1)
    assert firing(tmp_path, HEALTHY | series, alert, minute)


def test_alerts_are_of_metrics_that_there_are() -> None:
    """Each metric of the rules is one of the contract's."""
    named = set(re.findall(r"\btlsproxy_[a-z_]+", RULES.read_text()))
    surface = contract.surface()["metrics"]
    assert isinstance(surface, dict)
    assert named
    assert named <= surface.keys()
