"""The variable of the pattern's own example, whose meaning changed with its name: it still does what it did."""

from tests.companions.configsync.e2e.config_api import ConfigApi
from tests.companions.configsync.e2e.conftest import Launch
from tests.companions.configsync.e2e.volume import Volume


def test_the_old_name_works_and_warns(api: ConfigApi, volume: Volume, launch: Launch) -> None:
    """1200 updates each minute are a period of 50 ms; the log says what to write in its place."""
    api.put("/app.json", {"number": 1})
    configsync = launch(UPDATE_PERIOD="", UPDATE_FREQUENCY="1200")
    volume.wait_for({"number": 1})
    api.put("/app.json", {"number": 2})
    volume.wait_for({"number": 2})
    (line,) = configsync.told("CONFIGSYNC_UPDATE_FREQUENCY")
    assert line["level"] == "warning"
    assert "CONFIGSYNC_UPDATE_PERIOD=50ms" in str(line["message"])
    settings = configsync.status()["settings"]
    assert isinstance(settings, dict)
    assert settings["CONFIGSYNC_UPDATE_PERIOD"] == "50ms"
