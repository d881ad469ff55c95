"""History, rollback and pin, by command and by an authenticated call."""

import http.client
import json
import stat
import time
from pathlib import Path

from tests.companions.companion_process import Companion, run
from tests.companions.configsync.e2e.config_api import ConfigApi
from tests.companions.configsync.e2e.conftest import Launch
from tests.companions.configsync.e2e.legacy_app import LegacyApp
from tests.companions.configsync.e2e.volume import Volume
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port

TOKEN = "a-token-of-the-tests"


def ask(configsync: Companion, method: str, path: str, token: str = TOKEN, body: object = None) -> tuple[int, str]:
    """Status and body of what the control port answers."""
    connection = http.client.HTTPConnection("127.0.0.1", int(str(configsync.settings["CONTROL_PORT"])), timeout=10)
    try:
        fields = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request(method, path, None if body is None else json.dumps(body), fields)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def publish(configsync: Companion, api: ConfigApi, volume: Volume, *numbers: int) -> list[str]:
    """Versions one after the other, each to its good end; their names."""
    names = []
    for number in numbers:
        api.put("/app.json", {"number": number})
        volume.wait_for({"number": number})
        wait_until(lambda: configsync.status()["unfinished"] is None, "it is at its end")
        names.append(str(configsync.status()["current"]))
    return names


def test_by_call(api: ConfigApi, volume: Volume, launch: Launch) -> None:
    """Back to the last good version, which leaves the present one untried; to any one; pinned, and let go again."""
    configsync = launch(CONTROL_PORT=free_port(), CONTROL_TOKEN=TOKEN)
    one, two, three = publish(configsync, api, volume, 1, 2, 3)

    status, told = ask(configsync, "POST", "/rollback", body={"by": "anna"})
    assert (status, json.loads(told)) == (200, {"name": two, "result": "rolled back", "detail": ""})
    assert volume.json() == {"number": 2}
    fetches = configsync.metrics().value("configsync_source_fetches_total")
    wait_until(lambda: configsync.metrics().value("configsync_source_fetches_total") > fetches + 2, "it is fetched")
    assert volume.json() == {"number": 2}, "what was rolled back from is not tried again"

    assert ask(configsync, "POST", "/pin", body={"version": one})[0] == 200
    assert volume.json() == {"number": 1}
    assert ask(configsync, "POST", "/rollback") == (409, f"version {one} is pinned; unpin it first\n")
    api.put("/app.json", {"number": 4})
    changes = "configsync_source_changes_total"
    wait_until(lambda: configsync.metrics().value(changes) == 4, "it is fetched")
    assert volume.json() == {"number": 1}
    assert ask(configsync, "POST", "/unpin", body={})[0] == 200
    volume.wait_for({"number": 4})
    wait_until(lambda: configsync.status()["unfinished"] is None, "it is at its end")

    status, told = ask(configsync, "GET", "/versions")
    history = [(entry["name"], entry["outcome"], entry["origin"]) for entry in json.loads(told)["history"]]
    assert status == 200
    assert history[1:4] == [
        (one, "unpinned", "the control port"),
        (one, "pinned", "the control port"),
        (two, "rolled back", "anna"),
    ]
    assert [entry[:2] for entry in history[4:]] == [(name, "published") for name in (three, two, one)]
    assert history[-1][2].startswith(f"{api.url}/app.json (")
    assert json.loads(told)["bad"] == {three: "rolled back by anna"}


def test_who_is_let_in(api: ConfigApi, volume: Volume, launch: Launch, tmp_path: Path) -> None:
    """Nobody without the token, which is read again; nothing that can't be understood is done."""
    file = tmp_path / "token"
    file.write_text("a-first-token")
    configsync = launch(CONTROL_PORT=free_port(), CONTROL_TOKEN_FILE=file)
    publish(configsync, api, volume, 1, 2)
    for method, path in (("GET", "/versions"), ("POST", "/rollback"), ("POST", "/pin"), ("POST", "/unpin")):
        assert ask(configsync, method, path, token="")[0] == 401
        assert ask(configsync, method, path, token="another")[0] == 401
    assert volume.json() == {"number": 2}
    file.write_text("a-second-token")
    assert ask(configsync, "GET", "/versions", "a-first-token")[0] == 401
    assert ask(configsync, "GET", "/versions", "a-second-token")[0] == 200
    refused = [
        ("/rollback", "version", "the body is to be"),
        ("/rollback", {"version": 3}, "a value is no text"),
        ("/rollback", {"version": "no-such"}, "there is no version no-such; kept are: "),
        ("/pin", {}, "which version is not said"),
        ("/unpin", {}, "no version is pinned"),
    ]
    for path, body, why in refused:
        status, told = ask(configsync, "POST", path, "a-second-token", body)
        assert status in {400, 409}
        assert why in told
    assert ask(configsync, "GET", "/rollback", "a-second-token")[0] == 405


def test_by_command(api: ConfigApi, volume: Volume, launch: Launch) -> None:
    """In the container no token is asked for: one is made at each start, for this user alone."""
    configsync = launch(CONTROL_PORT=free_port())
    one, two = publish(configsync, api, volume, 1, 2)
    made = volume.path / "..control-token"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert ask(configsync, "GET", "/versions", made.read_text())[0] == 200

    settings = configsync.settings
    back = run("configsync", "rollback", **settings)
    assert (back.returncode, back.stdout) == (0, f"{one} rolled back\n")
    assert volume.json() == {"number": 1}
    pinned = run("configsync", "pin", two, **settings)
    assert (pinned.returncode, pinned.stdout) == (0, f"{two} pinned\n")
    assert volume.json() == {"number": 2}
    history = run("configsync", "history", **settings).stdout.splitlines()
    assert history[:2] == [f"current: {two}, pinned", f"kept: {one}, {two}"]
    told = [tuple(line.split()[1:3]) for line in history[2:]]
    assert told == [(two, "pinned,"), (one, "rolled"), (two, "published,"), (one, "published,")]
    assert "by command" in history[2]
    configsync.stop()
    gone = run("configsync", "history", **settings)
    assert (gone.returncode, gone.stdout) == (1, "")
    assert gone.stderr == (
        f"configsync history: no answer from 127.0.0.1:{settings['CONTROL_PORT']}: connection refused\n"
    )


def test_a_rollback_does_not_wait_for_a_watch(api: ConfigApi, volume: Volume, app: LegacyApp, launch: Launch) -> None:
    """Who rolls back sees that the version is bad, long before its health does."""
    settings = {"HEALTH": f"http://127.0.0.1:{app.port}/healthz", "CONTROL_PORT": free_port(), "CONTROL_TOKEN": TOKEN}
    api.put("/app.json", {"number": 1})
    first = launch(**settings, HEALTH_FOR="0")
    first.wait_for_log("published: from")
    first.stop()
    configsync = launch(**settings, HEALTH_FOR="1s")
    api.put("/app.json", {"number": 2})
    configsync.wait_for_log("is healthy after", times=2)
    assert configsync.status()["doing"] == f"watching over {configsync.status()['current']}"
    began = time.monotonic()
    status, told = ask(configsync, "POST", "/rollback")
    assert (status, json.loads(told)["result"]) == (200, "rolled back")
    assert time.monotonic() - began < 2.5
    assert volume.json() == {"number": 1}
    outcomes = [entry["outcome"] for entry in json.loads(ask(configsync, "GET", "/versions")[1])["history"]]
    assert outcomes == ["rolled back", "superseded", "published"]


def test_the_end_does_not_wait_for_who_asks(api: ConfigApi, volume: Volume, app: LegacyApp, launch: Launch) -> None:
    """SIGTERM in the middle of the watch that a rollback waits for; what is not at its end is noted."""
    settings = {"HEALTH": f"http://127.0.0.1:{app.port}/healthz", "CONTROL_PORT": free_port(), "CONTROL_TOKEN": TOKEN}
    first = launch(**settings, HEALTH_FOR="0")
    publish(first, api, volume, 1, 2)
    first.stop()
    configsync = launch(**settings, HEALTH_FOR="1h")
    configsync.wait_until_ready()
    connection = http.client.HTTPConnection("127.0.0.1", int(str(settings["CONTROL_PORT"])), timeout=10)
    connection.request("POST", "/rollback", None, {"Authorization": f"Bearer {TOKEN}"})
    wait_until(lambda: "watching" in str(configsync.status()["doing"]), "it is watched")
    assert configsync.stop() == 0
    connection.close()
    assert volume.json() == {"number": 1}
