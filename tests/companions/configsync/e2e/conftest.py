"""Fixtures: configsync as a process, a configuration API before it, and a legacy app behind its volume."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.companions.companion_process import Companion, executing
from tests.companions.configsync.e2e.config_api import ConfigApi
from tests.companions.configsync.e2e.legacy_app import LegacyApp
from tests.companions.configsync.e2e.volume import Volume
from tests.e2e.forked_sidecars import Forks
from tests.e2e.ports import free_port
from tests.e2e.sidecar_process import Process, Start

Launch = Callable[..., Companion]
"""Starts configsync with these settings, without their prefix; it is stopped with the test."""

QUICK = {"UPDATE_PERIOD": "50ms", "RETRY_MAX": "100ms", "CONTROL_PORT": "0"}


@pytest.fixture(scope="session")
def fork() -> Iterator[Start]:
    """Makes a process by a fork, or from nothing where coverage is wanted."""
    forks = Forks("configsync")

    def start(environment: Mapping[str, str], output: int, errors: int) -> Process:
        way = executing("configsync") if "COVERAGE_PROCESS_START" in os.environ else forks.start
        return way(environment, output, errors)

    yield start
    forks.close()


@pytest.fixture
def api() -> Iterator[ConfigApi]:
    with ConfigApi() as api:
        yield api


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    """What configsync and the app share."""
    return Volume(tmp_path / "volume")


@pytest.fixture
def launch(fork: Start, api: ConfigApi, volume: Volume, tmp_path: Path) -> Iterator[Launch]:
    """configsync for that volume, with the API's /app.json as app.json unless told otherwise."""
    with ExitStack() as processes:

        def start(**settings: object) -> Companion:
            given = {"SOURCES": f"app.json={api.url}/app.json", "DIR": volume.path, **QUICK, **settings}
            return processes.enter_context(Companion("configsync", tmp_path, given, fork))

        yield start


@pytest.fixture
def app(volume: Volume, tmp_path: Path) -> Iterator[LegacyApp]:
    """Goes by the volume's app.json; until there is one it does not last, and is started again and again."""
    volume.path.mkdir()
    with LegacyApp(tmp_path, volume.path / "app.json", free_port()) as app:
        yield app
