"""A real Prometheus scrapes a sidecar: the target is up, every metric is read, rules and dashboard are evaluated."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
import trustme

from tests.deploy.dashboard import queries
from tests.deploy.metrics import known, named
from tests.deploy.test_prometheus import RULES, TROUBLE
from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port
from tests.e2e.programs import program, running
from tests.e2e.raw_client import get
from tests.e2e.scripted_app import ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

pytestmark = pytest.mark.soak  # Prometheus looks for its targets five seconds after it has started

CONFIGURATION = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}
rule_files: [{rules}]
scrape_configs:
  - job_name: tlsproxy
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Prometheus:
    """A running one, asked by its HTTP API."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1/"

    def ask(self, path: str, **parameters: str) -> object:
        """The data of an answer; None while it has none to give."""
        try:
            with urllib.request.urlopen(f"{self._url}{path}?{urlencode(parameters)}", timeout=5) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            return None

    def query(self, expression: str) -> dict[str, float]:
        """Values of a query by their `code` or whatever their labels are."""
        found = self.ask("query", query=expression)
        assert isinstance(found, dict)
        return {one["metric"].get("code", ""): float(one["value"][1]) for one in found["result"]}


@pytest.fixture(scope="module")
def scraped(
    launch: Launch, session_app: ScriptedApp, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sidecar]:
    """A sidecar that tells all that there is to tell."""
    bundle = tmp_path_factory.mktemp("trust") / "ca.crt"
    bundle.write_bytes(authority.cert_pem.bytes())
    with launch(APP_PORT=session_app.port, CLIENT_AUTH="observe", CLIENT_CA=bundle) as process:
        yield process


@pytest.fixture(scope="module")
def prometheus(scraped: Sidecar, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Debian's, with the rules of deploy/, on a port of loopback; it has found the sidecar up."""
    path, port, directory = program("prometheus", "prometheus"), free_port(), tmp_path_factory.mktemp("prometheus")
    configuration = directory / "prometheus.yml"
    configuration.write_text(CONFIGURATION.format(rules=RULES, port=scraped.admin_port))
    arguments = [
        path,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(arguments, port, directory):
        asked = Prometheus(port)
        wait_until(lambda: asked.ask("targets"), "Prometheus is ready", 15)
        wait_until(lambda: asked.query("up") == {"": 1.0}, "the target is up", 15)
        yield asked


def test_requests_are_counted(scraped: Sidecar, app: ScriptedApp, prometheus: Prometheus) -> None:
    """What was sent is what Prometheus reads, by code."""
    app.answer(lambda request: response(status="404 Gone Fishing" if request.target == b"/absent" else "200 OK"))
    with scraped.connect() as client:
        for request in (get(), get(), get("/absent")):
            client.ask(request)
    wait_until(lambda: prometheus.query("tlsproxy_requests_total") == {"200": 2.0, "404": 1.0}, "the counts", 10)


def test_rules_and_dashboard_are_of_what_is_scraped(prometheus: Prometheus) -> None:
    """Every metric that an alert or a panel names is one that Prometheus has read, and there is no other."""
    metadata = prometheus.ask("targets/metadata")
    assert isinstance(metadata, list)
    read = {one["metric"] for one in metadata}
    assert named(RULES.read_text() + " ".join(queries())) <= read
    assert read == known()
    assert all(one["help"].endswith(".") for one in metadata)


def test_the_alerts_are_loaded(prometheus: Prometheus) -> None:
    """Each is evaluated without an error, and none of them is about a sidecar that is well."""
    loaded = prometheus.ask("rules")
    assert isinstance(loaded, dict)
    rules = [rule for group in loaded["groups"] for rule in group["rules"]]
    assert [rule["name"] for rule in rules] == list(TROUBLE)
    wait_until(lambda: prometheus.query("prometheus_rule_evaluations_total") is not None, "the rules are evaluated")
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    assert prometheus.query("ALERTS") == {}


def test_every_panel_has_an_answer(prometheus: Prometheus) -> None:
    """Prometheus evaluates each query of the dashboard."""
    for query in queries():
        assert isinstance(prometheus.ask("query", query=query), dict)
