"""Secrets are used, and seen nowhere."""

from pathlib import Path

from tests.companions.companion_process import run
from tests.companions.configsync.e2e.config_api import ConfigApi
from tests.companions.configsync.e2e.conftest import Launch
from tests.companions.configsync.e2e.volume import Volume
from tests.e2e.polling import wait_until

SECRETS = ("t0ken-of-the-source", "p4ssword-of-a-user", "c0ntrol-token", "r0tated-token", "qu3ry-of-a-url")


def test_they_are_shown_to_the_source_alone(api: ConfigApi, volume: Volume, launch: Launch, tmp_path: Path) -> None:
    """Not in the log, be it of failures, nor in /status, /metrics, the history, `config` or a child."""
    source, password, control, rotated, query = SECRETS
    api.put(f"/app.json?key={query}", {"number": 1})
    api.authorization = f"Bearer {source}"
    file = tmp_path / "token"
    file.write_text(source)
    settings = {
        "SOURCES": f"app.json={api.url}/app.json?key={query}",
        "TOKEN_FILE": file,
        "USERNAME": "anna",
        "PASSWORD": password,
        "CONTROL_TOKEN": control,
        "LOG_LEVEL": "debug",
        "CHECK_COMMAND": "env",
        "TELL": "command",
        "TELL_COMMAND": "env",
    }
    configsync = launch(**settings)
    volume.wait_for({"number": 1})
    api.authorization = f"Bearer {rotated}"
    configsync.wait_for_log("does not accept the credentials")
    file.write_text(rotated)
    configsync.wait_for_log("can be read again")
    wait_until(lambda: configsync.told("published: from"), "it is at its end")
    shown = {
        "status": configsync.ask_admin("/status").body.decode(),
        "ready": configsync.readiness(),
        "metrics": configsync.metrics().text,
        "log": configsync.stderr(),
        "history": (volume.path / "..history.json").read_text(),
        "config": run("configsync", "config", **{**configsync.settings, "SOURCES": "a=http://127.0.0.1:1/a"}).stdout,
    }
    found = {place: [secret for secret in SECRETS if secret in text] for place, text in shown.items()}
    # What stands in a variable that is no secret is shown as it is; docs tell to use TOKEN.
    assert found == {place: [query] if place == "status" else [] for place in shown}
