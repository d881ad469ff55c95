"""deploy/prometheus/alerts.yml: Prometheus takes the rules, and each alert fires when it should and not before."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.deploy.metrics import known, named

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"
LABELS = 'job="tlsproxy",instance="a"'
MINUTES = 180
CERTIFICATE = "tlsproxy_certificate"
Series = dict[str, str]

HEALTHY: Series = {
    f'{CERTIFICATE}_expiry_timestamp_seconds{{name="shop",{LABELS}}}': "1209600x180",
    f'{CERTIFICATE}_expiry_warning_timestamp_seconds{{name="shop",{LABELS}}}': "604800x180",
    f'{CERTIFICATE}_drift{{name="shop",{LABELS}}}': "0x180",
    f"tlsproxy_client_ca_drift{{{LABELS}}}": "0x180",
    f"tlsproxy_client_crl_expiry_timestamp_seconds{{{LABELS}}}": "604800x180",
    f'tlsproxy_handshakes_total{{version="TLSv1.3",resumed="no",{LABELS}}}': "0+600x180",
    f'tlsproxy_handshake_failures_total{{reason="unknown_ca",{LABELS}}}': "0+12x180",
    f'tlsproxy_handshake_failures_total{{reason="not_tls",{LABELS}}}': "0+6000x180",
    f'tlsproxy_app_errors_total{{reason="app_reset",{LABELS}}}': "7x180",
    f'tlsproxy_app_errors_total{{reason="app_refused",{LABELS}}}': "7x180",
    f"tlsproxy_app_connect_seconds_count{{{LABELS}}}": "0+6x180",
    f'tlsproxy_requests_total{{method="GET",code="200",{LABELS}}}': "0+960x180",
    f'tlsproxy_requests_total{{method="GET",code="404",{LABELS}}}': "0+600x180",
    f'tlsproxy_requests_total{{method="GET",code="502",{LABELS}}}': "0+30x180",
    f'tlsproxy_connections{{state="waiting",{LABELS}}}': "3x180",
    f"tlsproxy_accept_pauses_total{{{LABELS}}}": "5x180",
    f'tlsproxy_loop_lag_seconds_bucket{{le="0.05",{LABELS}}}': "0+119x180",
    f'tlsproxy_loop_lag_seconds_bucket{{le="1.0",{LABELS}}}': "0+120x180",
    f'tlsproxy_loop_lag_seconds_bucket{{le="+Inf",{LABELS}}}': "0+120x180",
    f"tlsproxy_worker_deaths_total{{{LABELS}}}": "0x30 1x150",
    f'tlsproxy_log_lines_lost_total{{stream="stdout",{LABELS}}}': "9x180",
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
    "TlsproxyClientCaDrift": ({f"tlsproxy_client_ca_drift{{{LABELS}}}": "1x180"}, 6),
    "TlsproxyClientCrlExpiresSoon": (
        {f"tlsproxy_client_crl_expiry_timestamp_seconds{{{LABELS}}}": f"{86400 + 3600}x180"},
        62,
    ),
    "TlsproxyHandshakeFailures": (
        {f'tlsproxy_handshake_failures_total{{reason="unknown_ca",{LABELS}}}': "0+120x180"},
        15,
    ),
    "TlsproxyAppErrors": ({f'tlsproxy_app_errors_total{{reason="app_reset",{LABELS}}}': "0+1x180"}, 10),
    "TlsproxyAppDown": (
        {
            f'tlsproxy_app_errors_total{{reason="app_refused",{LABELS}}}': "7+1x180",
            f"tlsproxy_app_connect_seconds_count{{{LABELS}}}": "0+6x20 120x160",
        },
        25,
    ),
    "TlsproxyErrorRatio": ({f'tlsproxy_requests_total{{method="GET",code="502",{LABELS}}}': "0+120x180"}, 15),
    "TlsproxyConnectionsAtLimit": ({f"tlsproxy_accept_pauses_total{{{LABELS}}}": "0+1x180"}, 10),
    "TlsproxyLoopLags": ({f'tlsproxy_loop_lag_seconds_bucket{{le="0.05",{LABELS}}}': "0+90x180"}, 15),
    "TlsproxyWorkersDie": ({f"tlsproxy_worker_deaths_total{{{LABELS}}}": "0x30 1 2 3 4 5 6x140"}, 35),
    "TlsproxyLogLinesLost": ({f'tlsproxy_log_lines_lost_total{{stream="stdout",{LABELS}}}': "9x30 10x150"}, 33),
}
"""What makes each alert fire, and at which minute it does."""


def promtool(*arguments: str | Path) -> str:
    """What it says, on either stream."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    done = subprocess.run([tool, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout


def fired(directory: Path, cases: Iterable[tuple[Iterable[str], Series, int]]) -> set[str]:
    """Those of some alerts that fire, with samples besides the healthy ones, at a minute."""
    # JSON is YAML. An alert that is expected never to fire is one that promtool reports when it does.
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in (HEALTHY | series).items()],
            "alert_rule_test": [{"eval_time": f"{minute}m", "alertname": one, "exp_alerts": []} for one in alerts],
        }
        for alerts, series, minute in cases
    ]
    path = directory / "test.yml"
    path.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    said = promtool("test", "rules", path)
    found = set(re.findall(r"alertname: (\w+), time", said))
    assert found or "SUCCESS" in said, said
    return found


def test_prometheus_takes_the_rules() -> None:
    """The file is valid, and every alert in it is in the table of this test."""
    assert f"SUCCESS: {len(TROUBLE)} rules found" in promtool("check", "rules", RULES)


def test_no_alert_fires_while_all_is_well(tmp_path: Path) -> None:
    """What happens every day wakes nobody."""
    assert fired(tmp_path, [(TROUBLE, {}, MINUTES)]) == set()


def test_no_alert_fires_before_its_time(tmp_path: Path) -> None:
    """Trouble that has only begun may be over by itself."""
    assert fired(tmp_path, (([alert], series, minute // 2 - 1) for alert, (series, minute) in TROUBLE.items())) == set()


def test_each_alert_fires_for_its_trouble(tmp_path: Path) -> None:
    """Once the trouble has lasted."""
    assert fired(tmp_path, (([alert], series, minute) for alert, (series, minute) in TROUBLE.items())) == set(TROUBLE)


def test_the_app_is_not_down_while_it_takes_connections(tmp_path: Path) -> None:
    """One that answers some requests, and refuses others, has errors and is up."""
    series = {f'tlsproxy_app_errors_total{{reason="app_refused",{LABELS}}}': "7+1x180"}
    assert fired(tmp_path, [(TROUBLE, series, 60)]) == {"TlsproxyAppErrors"}


def test_alerts_are_of_metrics_that_there_are() -> None:
    """Each metric of the rules is one of the contract's."""
    assert named(RULES.read_text())
    assert named(RULES.read_text()) <= known()


def test_each_alert_has_its_way_out() -> None:
    """The page that each alert names has a row for it."""
    _, found, section = TROUBLESHOOTING.read_text().partition("\n## An alert fires\n")
    assert found
    assert re.findall(r"^\| `(\w+)` \|", section.partition("\n## ")[0], re.MULTILINE) == list(TROUBLE)
    assert RULES.read_text().count("runbook: docs/troubleshooting.md#an-alert-fires\n") == len(TROUBLE)
