"""Once, for an init container: the app starts when there is a version."""

from tests.companions.configsync.e2e.config_api import ConfigApi
from tests.companions.configsync.e2e.conftest import Launch
from tests.companions.configsync.e2e.volume import Volume
from tests.e2e.polling import wait_until


def test_it_ends_with_the_version_there(api: ConfigApi, volume: Volume, launch: Launch) -> None:
    """Status 0; the app, which has not started, is neither told nor watched."""
    api.put("/app.json", {"number": 1})
    configsync = launch(ONE_TIME="on", TELL="signal", TELL_PROCESS="name:no-such", HEALTH="tcp://127.0.0.1:1")
    assert configsync.wait() == 0
    assert volume.json() == {"number": 1}
    # The next start, as the sidecar beside the app, finds nothing to do.
    beside = launch(TELL="touch", TELL_FILE=volume.path / "..told").wait_until_ready()
    fetches = "configsync_source_fetches_total"
    wait_until(lambda: beside.metrics().value(fetches) > 1, "it was fetched")
    assert not (volume.path / "..told").exists()


def test_a_bad_version(api: ConfigApi, volume: Volume, launch: Launch) -> None:
    """Status 1 and why; but 0 where there is one from before, which the app can start with."""
    api.put("/app.json", b"{")
    configsync = launch(ONE_TIME="on")
    assert configsync.wait() == 1
    (line,) = configsync.told("rejected")
    assert "app.json: line 1" in str(line["message"])
    assert volume.json() is None
    api.put("/app.json", {"number": 1})
    assert launch(ONE_TIME="on").wait() == 0
    api.put("/app.json", b"{")
    again = launch(ONE_TIME="on")
    assert again.wait() == 0
    again.wait_for_log("from before, stays")
    assert volume.json() == {"number": 1}


def test_the_api_is_down(api: ConfigApi, volume: Volume, launch: Launch) -> None:
    """It is asked until it answers, or until the process is told to stop; a version from before is good enough."""
    api.is_down = True
    api.put("/app.json", {"number": 1})
    configsync = launch(ONE_TIME="on")
    wait_until(lambda: configsync.metrics().value("configsync_source_fetch_failures_total") > 4, "it goes on")
    stopped = launch(ONE_TIME="on", DIR=volume.path.parent / "another")
    assert stopped.stop() == 0
    api.is_down = False
    assert configsync.wait() == 0
    assert volume.json() == {"number": 1}
    api.is_down = True
    again = launch(ONE_TIME="on")
    assert again.wait() == 0
    again.wait_for_log("from before, stays")
