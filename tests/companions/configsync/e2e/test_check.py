"""`configsync check`: everything that the settings name is looked at, and nothing is changed."""

from pathlib import Path

from tests.companions.companion_process import run
from tests.companions.configsync.e2e.config_api import ConfigApi
from tests.e2e.ports import free_port


def check(api: ConfigApi, directory: Path, **settings: object) -> tuple[int, str]:
    ports = {"ADMIN_HOST": "127.0.0.1", "ADMIN_PORT": free_port(), "CONTROL_PORT": free_port()}
    given = {"SOURCES": f"app.json={api.url}/app.json", "DIR": directory, **ports, **settings}
    done = run("configsync", "check", **given)
    return done.returncode, done.stdout


def test_all_is_well(api: ConfigApi, tmp_path: Path) -> None:
    """Each thing has a line, an app that is not there is a note, and the volume is as it was."""
    api.put("/app.json", {"number": 1})
    status, told = check(api, tmp_path, TELL="signal", TELL_PROCESS="name:no-such-app", CHECK_COMMAND="cat app.json")
    assert status == 0
    for what in ("settings: valid", f"{api.url}/app.json: 1 file", ": app.json", "can be written", ": free"):
        assert what in told
    assert "no-such-app" in told
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong(api: ConfigApi, tmp_path: Path) -> None:
    """All of it is told at once: a bad file, a volume that is none."""
    api.put("/app.json", b"{")
    (tmp_path / "file").touch()
    status, told = check(api, tmp_path / "file")
    assert status == 1
    assert "version: app.json: line 1" in told
    assert "is no directory" in told


def test_a_directory_that_is_not_there(api: ConfigApi, tmp_path: Path) -> None:
    """It is made by `run`, in a volume; where that is missing as well, a note says what to look for."""
    api.put("/app.json", {"number": 1})
    status, told = check(api, tmp_path / "a" / "b")
    assert status == 0
    assert f"[+] CONFIGSYNC_DIR={tmp_path}/a/b: can be made\n" in told
    assert f"there is only {tmp_path}: is a volume mounted that the app mounts too?" in told
    assert list(tmp_path.iterdir()) == []
