"""Variables as documents: a table, a schema, and as they are set."""

import json

from tests.chassis.test_environment import Topz
from tlsproxy.chassis.documents import effective, schema, table
from tlsproxy.chassis.environment import read, variables
from tlsproxy.settings import Settings


def test_an_old_name_stands_with_the_new_one() -> None:
    """Who looks for the old name finds the variable."""
    (row,) = (row for row in table(Topz).splitlines() if row.startswith("| `TOPZ_TOKEN`"))
    assert row.endswith("; old name: `TOPZ_PASSWORD` |")


def test_schema() -> None:
    """The schema lists every variable as text, with default, example, type, unit and form."""
    properties = schema(Settings)["properties"]
    assert isinstance(properties, dict)
    assert list(properties) == [variable.name for variable in variables(Settings)]
    assert properties["TLSPROXY_MAX_HEAD"] == {
        "type": "string",
        "description": "request line and headers together: 414 or 431 above it",
        "default": "32k",
        "examples": ["64k"],
        "x-type": "size",
        "x-unit": "bytes",
        "pattern": "^(([0-9]{1,12})(k|m|g)?)?$",
    }
    assert properties["TLSPROXY_LOG_FORMAT"]["enum"] == ["", "json", "text"]
    json.dumps(schema(Settings))


def test_schema_of_secrets_and_old_names() -> None:
    """A secret is marked and its default not shown; an old name is there and deprecated."""
    properties = schema(Topz)["properties"]
    assert isinstance(properties, dict)
    assert properties["TOPZ_TOKEN"]["writeOnly"] is True
    assert properties["TOPZ_PASSWORD"] == {
        "type": "string",
        "description": "old name of TOPZ_TOKEN",
        "deprecated": True,
    }


def test_effective_settings() -> None:
    """Each variable in order, as one would write it for a shell, with where it came from."""
    reading = read(Settings, {"TLSPROXY_DRAIN_DELAY": "2000ms", "TLSPROXY_APP_CHECK": "/a?b=c&d"})
    lines = effective(reading).splitlines()
    assert len(lines) == len(reading.sources)
    assert lines[0].split() == ["TLSPROXY_CERT_NAME=tls", "#", "default"]
    assert "TLSPROXY_DRAIN_DELAY=2s                   # environment" in lines
    assert "TLSPROXY_APP_CHECK='/a?b=c&d'             # environment" in lines
    assert "TLSPROXY_REDIRECT_PORT=                   # default" in lines


def test_effective_settings_hide_secrets() -> None:
    """A secret that is set is masked, one that is not is empty."""
    assert "TOPZ_TOKEN='***' " in effective(read(Topz, {"TOPZ_TOKEN": "hush"}))
    assert "TOPZ_TOKEN= " in effective(read(Topz, {}))
