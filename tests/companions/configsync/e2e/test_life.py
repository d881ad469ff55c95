"""Start, signals and end of the process, and what the next one finds."""

import signal
from pathlib import Path

import pytest

from tests.companions.configsync.e2e.config_api import ConfigApi
from tests.companions.configsync.e2e.conftest import Launch
from tests.companions.configsync.e2e.legacy_app import LegacyApp
from tests.companions.configsync.e2e.volume import Volume
from tests.e2e.polling import wait_until
from tlsproxy import __version__


def test_what_is_being_watched_is_gone_on_with(api: ConfigApi, app: LegacyApp, launch: Launch) -> None:
    """SIGTERM in the middle of a watch ends the process at once; the next one tells the app again, and watches."""
    api.put("/app.json", {"number": 1})
    settings: dict[str, object] = {
        "TELL": "http",
        "TELL_URL": f"http://127.0.0.1:{app.port}/reload",
        "HEALTH": f"http://127.0.0.1:{app.port}/healthz",
    }
    first = launch(**settings, HEALTH_FOR="1h")
    first.wait_for_log("is healthy")
    assert first.stop() == 0
    assert first.told("published:") == []
    readings = app.readings()
    assert isinstance(readings, int)
    second = launch(**settings, HEALTH_FOR="0")
    second.wait_for_log("published: from")
    assert app.readings() == readings + 1
    assert second.status()["unfinished"] is None


def test_status_has_the_program_and_what_is_published(api: ConfigApi, launch: Launch) -> None:
    """Each under a name of its own."""
    api.put("/app.json", {"number": 1})
    configsync = launch()
    configsync.wait_until_ready()
    status = configsync.status()
    assert status["version"] == __version__
    assert [status["current"]] == status["kept"]


def test_sighup_fetches_at_once(api: ConfigApi, volume: Volume, launch: Launch) -> None:
    """However long the period is."""
    api.put("/app.json", {"number": 1})
    configsync = launch(UPDATE_PERIOD="1h")
    volume.wait_for({"number": 1})
    api.put("/app.json", {"number": 2})
    configsync.signal(signal.SIGHUP)
    volume.wait_for({"number": 2})


def test_a_source_that_is_not_due_is_not_late(api: ConfigApi, launch: Launch) -> None:
    """However short the time after which one is."""
    api.put("/app.json", {"number": 1})
    configsync = launch(UPDATE_PERIOD="1h", STALE_AFTER="1ms")
    configsync.wait_until_ready()
    assert "[+]source: " in configsync.readiness()


def test_sighup_tries_again_at_once(api: ConfigApi, volume: Volume, launch: Launch, tmp_path: Path) -> None:
    """What could not be done before, however long the pause is."""
    api.put("/app.json", {"number": 1})
    told = tmp_path / "directory" / "told"
    configsync = launch(UPDATE_PERIOD="1h", RETRY_MAX="1h", TELL="touch", TELL_FILE=told)
    untold = "configsync_changes_total"
    wait_until(lambda: configsync.metrics().value(untold, outcome="untold") >= 2, "the pause is 2 s and more")
    told.parent.mkdir()
    configsync.signal(signal.SIGHUP)
    wait_until(told.exists, "it is told", 1.0)


def test_the_api_is_down_at_a_start(api: ConfigApi, volume: Volume, launch: Launch) -> None:
    """The app keeps its file; /readyz says what is wrong, and says no where that has lasted too long."""
    api.put("/app.json", {"number": 1})
    first = launch()
    volume.wait_for({"number": 1})
    first.stop()
    api.is_down = True
    second = launch(STALE_AFTER="1s")
    wait_until(second.is_ready, "ready with what there is")
    wait_until(lambda: "has not answered yet: it closed" in second.readiness(), "it says what is wrong")
    assert volume.json() == {"number": 1}
    wait_until(lambda: not second.is_ready(), "too long")
    assert second.ask_admin("/livez").status == second.ask_admin("/startupz").status == 200
    api.is_down = False
    second.wait_until_ready()


def test_an_api_that_goes_down(api: ConfigApi, volume: Volume, launch: Launch) -> None:
    """It is asked again and again, said once, and what changed meanwhile comes when it is back."""
    api.put("/app.json", {"number": 1})
    configsync = launch()
    volume.wait_for({"number": 1})
    api.is_down = True
    wait_until(lambda: configsync.metrics().value("configsync_source_fetch_failures_total") > 5, "it is asked again")
    assert configsync.metrics().value("configsync_source_up") == 0
    assert len(configsync.told("can't be read")) == 1
    assert configsync.is_ready()
    api.put("/app.json", {"number": 2})
    api.is_down = False
    volume.wait_for({"number": 2})
    assert len(configsync.told("can be read again")) == 1


@pytest.mark.soak
def test_an_api_that_is_down_for_hours(api: ConfigApi, volume: Volume, launch: Launch) -> None:
    """Hundreds of attempts leave no memory, no descriptor and no line behind."""
    api.put("/app.json", {"number": 1})
    configsync = launch(RETRY_MAX="1ms")
    volume.wait_for({"number": 1})
    api.is_down = True
    failed = "configsync_source_fetch_failures_total"
    wait_until(lambda: configsync.metrics().value(failed) > 20, "it has settled", 20)
    files, resident, told = _open_files(configsync.pid), configsync.resident(), len(configsync.stderr())
    wait_until(lambda: configsync.metrics().value(failed) > 80, "sixty more attempts", 20)
    assert _open_files(configsync.pid) <= files + 1
    assert configsync.resident() <= resident + 300_000
    assert len(configsync.stderr()) == told


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_an_app_that_is_not_there(api: ConfigApi, volume: Volume, launch: Launch, tmp_path: Path) -> None:
    """It is told as soon as it is; until then that is said once, and /readyz says no when it has lasted."""
    api.put("/app.json", {"number": 1})
    told = tmp_path / "directory" / "told"
    configsync = launch(TELL="touch", TELL_FILE=told, STALE_AFTER="500ms")
    volume.wait_for({"number": 1})
    wait_until(lambda: "[-]change" in configsync.readiness(), "it has lasted")
    assert len(configsync.told("was not told")) == 1
    told.parent.mkdir()
    configsync.wait_until_ready()
    assert told.exists()
