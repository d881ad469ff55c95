"""The process that serves holds what serving needs: the settings were read by another, and their words are kept."""

import shlex
import sys
from pathlib import Path

import pytest
import trustme

from tests.e2e.certificates import issue, swap_secret
from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.sidecar_process import Sidecar

RUN = """\
import sys
from tlsproxy.cli import main
status = main(["run"])
print(*sys.modules)
sys.exit(status)
"""
SETTINGS = {"pydantic", "pydantic_core", "pydantic_settings", "tlsproxy.settings", "tlsproxy.contract"}
NOT_NEEDED = {*SETTINGS, "aiohttp.client", "aiohttp.connector", "cryptography"}
SCRAPES = {"prometheus_client", "tlsproxy.chassis.admin.metrics"}


@pytest.fixture(scope="session")
def launch(launch_from_nothing: Launch) -> Launch:
    """What is loaded, and when, is what this is about."""
    return launch_from_nothing


@pytest.mark.parametrize("scraped", [False, True])
def test_what_is_loaded(sidecar: Launch, monkeypatch: pytest.MonkeyPatch, scraped: bool) -> None:
    """Neither pydantic nor aiohttp's client is ever loaded, nor cryptography or prometheus_client before its use."""
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


@pytest.mark.parametrize("workers", [1, 2])
def test_checks_are_loaded_with_a_rotation(
    sidecar: Launch, authority: trustme.CA, tmp_path: Path, workers: int
) -> None:
    """No process loads cryptography for the first certificate; with another one that does which looks at it."""
    swap_secret(tmp_path, issue(authority))
    process = sidecar(CERT_DIR=tmp_path, WORKERS=workers)
    assert process.get().status == 200
    assert loading(process) == []
    for _ in range(2):
        pair = issue(authority)
        swap_secret(tmp_path, pair)
        wait_until(lambda: process.certificate()["serial"] == pair.serial, "the new certificate")  # noqa: B023 - at once
        assert process.get().status == 200
        assert loading(process) == [process.pid]


def loading(process: Sidecar) -> list[int]:
    """Those of all its processes that have cryptography in them."""
    found = [process.pid]
    for one in found:
        found += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
    return [one for one in found if "/cryptography/" in Path(f"/proc/{one}/maps").read_text()]


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
