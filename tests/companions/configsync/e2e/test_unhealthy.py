"""An app that does not come back healthy gets the former version, and is told again."""

from tests.companions.configsync.e2e.config_api import ConfigApi
from tests.companions.configsync.e2e.conftest import Launch
from tests.companions.configsync.e2e.legacy_app import LegacyApp
from tests.companions.configsync.e2e.volume import Volume
from tests.e2e.polling import wait_until


def test_the_former_version_is_restored(api: ConfigApi, volume: Volume, app: LegacyApp, launch: Launch) -> None:
    """The bad one is remembered, over a restart too, and not tried again until it changes."""
    api.put("/app.json", {"number": 1})
    settings: dict[str, object] = {
        "TELL": "http",
        "TELL_URL": f"http://127.0.0.1:{app.port}/reload",
        "HEALTH": f"http://127.0.0.1:{app.port}/healthz",
        "HEALTH_WITHIN": "200ms",
        "HEALTH_FOR": "0",
    }
    configsync = launch(**settings)
    wait_until(lambda: app.config() == {"number": 1}, "the app has the first version")
    configsync.wait_for_log("published: from")
    readings = app.readings()
    assert isinstance(readings, int)

    api.put("/app.json", {"number": 2, "ill": True})
    configsync.wait_for_log("restored")
    assert (volume.json(), app.config()) == ({"number": 1}, {"number": 1})
    assert app.readings() == readings + 2, "it was told of both"
    assert "answered 500" in str(configsync.status()["trouble"])
    counts = configsync.metrics().by("configsync_changes_total", "outcome")
    assert {("published",): 1, ("failed",): 1, ("restored",): 1}.items() <= counts.items()
    configsync.stop()

    another = launch(**settings)
    wait_until(lambda: another.metrics().value("configsync_source_fetches_total") >= 2, "it was fetched again")
    wait_until(lambda: "answered 500" in str(another.status()["trouble"]), "it is known")
    assert (volume.json(), app.readings()) == ({"number": 1}, readings + 2)
    api.put("/app.json", {"number": 3})
    wait_until(lambda: app.config() == {"number": 3}, "what has changed is tried")


def test_an_app_that_says_no(api: ConfigApi, volume: Volume, app: LegacyApp, launch: Launch) -> None:
    """A status that is no success is a verdict: it is not asked whether the app is well."""
    api.put("/app.json", {"number": 1})
    launch(TELL="http", TELL_URL=f"http://127.0.0.1:{app.port}/reload")
    wait_until(lambda: app.readings() == 2, "the app was told")
    api.put("/app.json", {"number": 2, "deaf": True})
    wait_until(lambda: app.readings() == 4, "the app was told of it and of the former")
    volume.wait_for({"number": 1})
