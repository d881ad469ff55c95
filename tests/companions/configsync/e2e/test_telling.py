"""A change at the configuration API reaches an app that reads its file at start, by each way of telling it."""

from collections.abc import Mapping

import pytest

from tests.companions.configsync.e2e.config_api import ConfigApi
from tests.companions.configsync.e2e.conftest import Launch
from tests.companions.configsync.e2e.legacy_app import LegacyApp
from tests.e2e.polling import wait_until

WAYS: Mapping[str, Mapping[str, str]] = {
    "signal": {"TELL_PROCESS": "pidfile:{app.pid_file}", "TELL_SIGNAL": "HUP"},
    "end": {"TELL_PROCESS": "pidfile:{app.pid_file}", "TELL_GRACE": "5s"},
    "http": {"TELL_URL": "http://127.0.0.1:{app.port}/reload"},
    "command": {"TELL_COMMAND": "sh -c 'kill -HUP $(cat {app.pid_file}) && test $CONFIGSYNC_VERSION'"},
    "touch": {"TELL_FILE": "{app.touched}"},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_change_reaches_the_app(api: ConfigApi, app: LegacyApp, launch: Launch, way: str) -> None:
    """It goes by the new file; only where it is asked to end is it started anew."""
    api.put("/app.json", {"greeting": "old"})
    told = {name: value.format(app=app) for name, value in WAYS[way].items()}
    configsync = launch(TELL=way, HEALTH=f"http://127.0.0.1:{app.port}/healthz", HEALTH_FOR="0", **told)
    wait_until(lambda: app.config() == {"greeting": "old"}, "the app has the first version")
    configsync.wait_until_ready()
    wait_until(lambda: configsync.status()["unfinished"] is None, f"the first is settled: {configsync.stderr()}")
    starts = app.starts
    api.put("/app.json", {"greeting": "new"})
    wait_until(lambda: app.config() == {"greeting": "new"}, f"the app has the second: {configsync.stderr()}")
    assert app.starts - starts == (1 if way == "end" else 0)
