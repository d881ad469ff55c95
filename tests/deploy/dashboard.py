"""deploy/grafana/tlsproxy.json as tests read it."""

import json
from collections.abc import Iterator
from pathlib import Path

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "tlsproxy.json"
VARIABLES = {"$__rate_interval": "1m", "$job": ".*", "$instance": ".*", "$pod": ".*"}
"""What Grafana puts in their place where everything is selected."""


def objects(of: object) -> Iterator[dict[str, object]]:
    """Every object in it, at any depth."""
    if isinstance(of, dict):
        yield of
    for inner in of.values() if isinstance(of, dict) else of if isinstance(of, list) else ():
        yield from objects(inner)


def dashboard() -> dict[str, object]:
    """The whole of it."""
    loaded: dict[str, object] = json.loads(DASHBOARD.read_text())
    return loaded


def panels() -> list[dict[str, object]]:
    """Those that show something, not the rows between them."""
    return [found for found in objects(dashboard()) if "targets" in found]


def queries() -> list[str]:
    """What its panels and annotations ask of Prometheus, as Grafana sends it."""
    found = [str(one["expr"]) for one in objects(dashboard()) if "expr" in one]
    for variable, value in VARIABLES.items():
        found = [query.replace(variable, value) for query in found]
    return found
