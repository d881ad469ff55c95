"""A bad version is never seen: the last good one stays, what is wrong is said, and the next good one is taken."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.companions.configsync.e2e.config_api import ConfigApi
from tests.companions.configsync.e2e.conftest import Launch
from tests.companions.configsync.e2e.volume import Volume
from tests.e2e.polling import wait_until

SCHEMA = {"type": "object", "properties": {"port": {"type": "integer"}}}

BAD: Mapping[str, tuple[Mapping[str, object], bytes, str]] = {
    "no JSON": ({}, b'{"port": 80', "app.json: line 1"),
    "against its schema": ({"JSON_SCHEMA": "{directory}/schema.json"}, b'{"port": "eighty"}', "app.json: $.port"),
    "against a command": ({"CHECK_COMMAND": "grep -q 80 app.json"}, b'{"port": 1}', "grep"),
    "empty": ({}, b"", "app.json: is empty"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_version_is_never_published(
    api: ConfigApi, volume: Volume, launch: Launch, tmp_path: Path, case: str
) -> None:
    """By whatever check it fails; why is in the log, the status and the history, and the sidecar stays ready."""
    settings, content, why = BAD[case]
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    api.put("/app.json", {"port": 80})
    configsync = launch(**{name: str(value).format(directory=tmp_path) for name, value in settings.items()})
    volume.wait_for({"port": 80})
    api.put("/app.json", content)
    configsync.wait_for_log("rejected")
    assert volume.json() == {"port": 80}
    (line,) = configsync.told("rejected")
    assert why in str(line["message"])
    status = configsync.status()
    assert why in str(status["trouble"])
    assert isinstance(status["history"], list)
    assert status["history"][0]["outcome"] == "rejected"
    assert configsync.is_ready()
    assert configsync.metrics().value("configsync_changes_total", outcome="rejected") == 1
    api.put("/app.json", {"port": 8080})
    volume.wait_for({"port": 8080})
    wait_until(lambda: configsync.status()["trouble"] is None, "the trouble is over")


def test_what_can_not_be_told_is_tried_again(api: ConfigApi, volume: Volume, launch: Launch, tmp_path: Path) -> None:
    """A schema that is not there is no fault of the version's: it is taken once there is one, and said once."""
    api.put("/app.json", {"port": 80})
    configsync = launch(JSON_SCHEMA=tmp_path / "schema.json")
    configsync.wait_for_log("schema.json")
    fetches = configsync.metrics().value("configsync_source_fetches_total")
    wait_until(lambda: configsync.metrics().value("configsync_source_fetches_total") > fetches + 25, "it goes on")
    assert volume.json() is None
    assert len(configsync.told("schema.json")) == 1
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    volume.wait_for({"port": 80})


def test_files_of_two_sources_that_clash(api: ConfigApi, volume: Volume, launch: Launch) -> None:
    """Sources of the same name but for their query give a version together, unless they give the same file."""
    api.put("/part?of=a", {"part": "a"})
    api.put("/part?of=b", {"part": "b"})
    configsync = launch(SOURCES=f"a.json={api.url}/part?of=a,b.json={api.url}/part?of=b")
    volume.wait_for({"part": "b"}, "b.json")
    assert volume.names() == ["a.json", "b.json"]
    assert (volume.path / "a.json").resolve().parent == (volume.path / "b.json").resolve().parent
    configsync.wait_until_ready()
