"""deploy/grafana/tlsproxy.json: a dashboard that Grafana can load, of metrics that there are."""

import json
from itertools import combinations
from pathlib import Path

from tests.deploy.dashboard import DASHBOARD, dashboard, objects, panels, queries
from tests.deploy.metrics import known, named
from tests.deploy.test_prometheus import promtool

NOT_SHOWN = {
    "tlsproxy_build_info",  # the variables are made of it
    "tlsproxy_certificate_drift_began_timestamp_seconds",
    "tlsproxy_certificate_expiry_warning_timestamp_seconds",
    "tlsproxy_client_crl_expiry_timestamp_seconds",
    "process_virtual_memory_bytes",
}
"""Metrics without a panel: /status and the alerts tell of them."""


def test_the_dashboard_is_of_metrics_that_there_are() -> None:
    """Each metric that it names is one of the contract's, and each of these is shown."""
    assert named(DASHBOARD.read_text()) <= known()
    assert known() - {name for query in queries() for name in named(query)} == NOT_SHOWN


def test_queries_are_sound(tmp_path: Path) -> None:
    """Prometheus parses each query, with what Grafana puts in the place of its variables."""
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries())]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"SUCCESS: {len(rules)} rules found" in promtool("check", "rules", path)
    assert not [query for query in queries() if "$" in query]


def test_everything_is_of_the_data_source_that_is_chosen() -> None:
    """No panel is bound to somebody's own Prometheus."""
    sources = [found["datasource"] for found in objects(dashboard()) if "datasource" in found]
    assert sources
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)


def test_every_panel_can_be_narrowed_down() -> None:
    """Job, instance and pod may be chosen, and each query keeps to them."""
    names = [found["name"] for found in objects(dashboard()["templating"]) if "name" in found]
    assert names == ["datasource", "job", "instance", "pod"]
    for found in objects(dashboard()["panels"]):
        if "expr" in found:
            query = str(found["expr"])
            assert query.count("tlsproxy_") + query.count("process_") == query.count(
                'job=~"$job",instance=~"$instance",pod=~"$pod"}'
            )


def test_panels_stand_beside_each_other() -> None:
    """None covers another, each has a title and says what it shows, and ids are unique."""
    places = []
    for panel in panels():
        place = panel["gridPos"]
        assert isinstance(place, dict)
        assert place["x"] + place["w"] <= 24
        places.append(
            {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
        )
    assert not [pair for pair in combinations(places, 2) if pair[0] & pair[1]]
    assert all(panel["title"] and panel["description"] for panel in panels())
    assert len({str(panel["id"]) for panel in panels()}) == len(panels())
