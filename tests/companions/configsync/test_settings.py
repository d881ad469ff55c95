"""configsync's variables: what they take, and what is refused together."""

import subprocess
import sys

import pytest

from tlsproxy.chassis.environment import BadSettings, read, variables
from tlsproxy.companions.configsync.settings import FORMATS, SCHEMAS, Settings, period_of


def settings(**given: str) -> Settings:
    """Read the variables, named without their prefix; a source is there."""
    return read(
        Settings, {f"CONFIGSYNC_{name}": value for name, value in {"SOURCES": "a=http://h/a", **given}.items()}
    ).settings


def complaint(**given: str) -> str:
    """The message for variables that can't be used; it has to be about one of them."""
    with pytest.raises(BadSettings) as caught:
        settings(**given)
    assert len(caught.value.problems) == 1
    return str(caught.value.problems[0])


def test_the_first_is_where_files_come_from() -> None:
    """And it is the only one that has to be set."""
    assert next(iter(variables(Settings))).name == "CONFIGSYNC_SOURCES"
    assert "CONFIGSYNC_SOURCES" in complaint(SOURCES="")


def test_imports_are_lean() -> None:
    """Whoever reads settings loads nothing of what follows sources."""
    code = "import sys, tlsproxy.companions.configsync.settings; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"aiohttp", "yarl", "uvloop", "yaml", "jsonschema", "prometheus_client"}.isdisjoint(loaded)


@pytest.mark.parametrize(
    ("frequency", "period"),
    [("1", "60s"), ("2", "30s"), ("0.5", "2m"), ("60", "1s"), ("600", "100ms"), ("7", "8571ms")],
)
def test_a_frequency_is_a_period(frequency: str, period: str) -> None:
    """So many updates each minute, as the variable meant when it had its old name."""
    assert settings(UPDATE_FREQUENCY=frequency).update_period == settings(UPDATE_PERIOD=period).update_period


@pytest.mark.parametrize("text", ["0", "0.0", "-1", "1e3", "1m", "many", "9" * 20])
def test_what_is_no_frequency(text: str) -> None:
    """The unit is said."""
    with pytest.raises(ValueError, match="updates there are each minute"):
        period_of(text)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"DIR": "config"}, "not an absolute path"),
        ({"USERNAME": "anna"}, "CONFIGSYNC_PASSWORD or"),
        ({"PASSWORD": "secret-word"}, "set CONFIGSYNC_USERNAME"),
        ({"PASSWORD_FILE": "/run/password"}, "set CONFIGSYNC_USERNAME"),
        ({"CLIENT_KEY": "/tls.key"}, "set CONFIGSYNC_CLIENT_CERT"),
        ({"CONTROL_PORT": "8453"}, "CONFIGSYNC_ADMIN_PORT is the same port"),
        ({"CONTROL_TOKEN": "short"}, "shorter than 8"),
        ({"FORMAT": "word"}, "CONFIGSYNC_FORMAT"),
        ({"JSON_SCHEMA": "schema.json"}, "CONFIGSYNC_JSON_SCHEMA"),
        ({"KUBERNETES_API": "10.0.0.1"}, "https://HOST:PORT"),
        ({"KUBERNETES_API": "https://h/path"}, "https://HOST:PORT"),
        ({"KUBERNETES_API": "https://h:99999"}, "https://HOST:PORT"),
        ({"UPDATE_FREQUENCY": "often"}, "each minute"),
        ({"UPDATE_PERIOD": "0"}, "CONFIGSYNC_UPDATE_PERIOD"),
    ],
)
def test_what_is_refused(given: dict[str, str], said: str) -> None:
    """In a message that names the way out, and no secret."""
    told = complaint(**given)
    assert said in told
    assert "secret-word" not in told


def test_what_belongs_together() -> None:
    """User and password, key and certificate; both ports off."""
    given = settings(
        USERNAME="anna", PASSWORD="secret", CLIENT_CERT="/c", CLIENT_KEY="/k", ADMIN_PORT="0", CONTROL_PORT="0"
    )
    assert (given.username, str(given.password)) == ("anna", "***")


@pytest.mark.parametrize("text", ["auto", "*.conf=ini,settings=yaml"])
def test_formats_are_written_back(text: str) -> None:
    """One for all is written as such."""
    assert FORMATS.spell(FORMATS.parse(text)) == text
    assert SCHEMAS.spell(SCHEMAS.parse("/a.json")) == "/a.json"
