"""The process that serves holds what serving needs: the settings were read by another, and their words are kept."""

import shlex
import sys

import pytest

from tests.e2e.conftest import Launch

RUN = """\
import sys
from tlsproxy.cli import main
status = main(["run"])
print(*sys.modules)
sys.exit(status)
"""
SETTINGS = {"pydantic", "pydantic_core", "pydantic_settings", "tlsproxy.settings", "tlsproxy.contract"}
NOT_NEEDED = {*SETTINGS, "aiohttp.client", "aiohttp.connector"}
SCRAPES = {"prometheus_client", "tlsproxy.admin.metrics"}


@pytest.mark.parametrize("scraped", [False, True])
def test_what_is_loaded(sidecar: Launch, monkeypatch: pytest.MonkeyPatch, scraped: bool) -> None:
    """From start to stop neither pydantic nor aiohttp's client is loaded, nor prometheus_client before a scrape."""
    monkeypatch.setenv("TLSPROXY_TEST_COMMAND", shlex.join([sys.executable, "-c", RUN]))
    process = sidecar()
    assert process.get().status == 200
    assert process.status()["version"]
    if scraped:
        process.metrics()
    assert process.stop() == 0
    loaded = set(process.stdout().splitlines()[-1].split())
    assert "tlsproxy.sidecar" in loaded
    assert loaded & NOT_NEEDED == set()
    assert loaded & SCRAPES == (SCRAPES if scraped else set())


def test_settings_are_told(sidecar: Launch) -> None:
    """/status shows every variable as one would write it, and a warning about the environment is logged."""
    process = sidecar(APP_WAIT="2000ms", TRUSTED_PROXIES="10.1.2.3/8", APP_WAIR="1")
    settings = process.status()["settings"]
    assert isinstance(settings, dict)
    assert settings["TLSPROXY_APP_WAIT"] == "2s"
    assert settings["TLSPROXY_TRUSTED_PROXIES"] == "10.0.0.0/8"
    assert settings["TLSPROXY_CERT_NAME"] == "tls"
    (warning,) = process.told("TLSPROXY_APP_WAIR")
    assert (warning["level"], warning["logger"]) == ("warning", "tlsproxy.settings")
