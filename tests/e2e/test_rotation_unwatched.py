"""Where events do not come, or no watch can be had: the comparison carries on, and one warning says so.

The kernel keeps such limits for each user namespace, so the process gets one of its own in which none is left, and a
mount namespace in which what is mounted changes under it.
"""

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.e2e.certificates import issue, place
from tests.e2e.conftest import Launch
from tests.e2e.scripted_app import ScriptedApp
from tests.e2e.sidecar_process import Sidecar
from tests.e2e.test_rotation import assert_noticed, padded, silently_changed
from tests.e2e.traffic import Traffic, echo

RESYNC = "500ms"
WITHIN = 3.0
"""Seconds in which a comparison each half second has found a change."""

Unshared = Callable[[str, Path], Sidecar]


@pytest.fixture
def unshared(sidecar: Launch, app: ScriptedApp, monkeypatch: pytest.MonkeyPatch) -> Unshared:
    """Starts a process in namespaces of its own, after some shell in them, on a CERT_DIR; the app echoes."""
    app.script(echo)
    if subprocess.run(["unshare", "-Urm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("namespaces cannot be made by this user")

    def start(before: str, directory: Path) -> Sidecar:
        serve = f"{before} && exec {shlex.quote(sys.executable)} -m tlsproxy run"
        monkeypatch.setenv("TLSPROXY_TEST_COMMAND", shlex.join(["unshare", "-Urm", "sh", "-c", serve]))
        return sidecar(CERT_DIR=directory, CERT_RESYNC_PERIOD=RESYNC)

    return start


@pytest.mark.parametrize(
    "limit", [pytest.param("max_inotify_instances", marks=pytest.mark.soak), "max_inotify_watches"]
)
def test_no_watch_is_left(unshared: Unshared, authority: trustme.CA, tmp_path: Path, limit: str) -> None:
    """Without inotify the resync alone finds each change, and that is warned about once."""
    place(tmp_path, issue(authority))
    process = unshared(f"echo 0 > /proc/sys/user/{limit}", tmp_path)
    with Traffic(process):
        for _ in range(3):
            pair = issue(authority)
            place(tmp_path, pair)
            assert_noticed(process, pair, WITHIN)
    (warning,) = process.told("compared every 0.5 s")
    assert "cannot be watched" in str(warning["message"])
    assert warning["level"] == "warning"


def test_events_stay_away(sidecar: Launch, app: ScriptedApp, authority: trustme.CA, tmp_path: Path) -> None:
    """A file system that tells of no change is found out by the first change that the resync finds; said once."""
    app.script(echo)
    place(tmp_path, padded(issue(authority)))
    process = sidecar(CERT_DIR=tmp_path, CERT_RESYNC_PERIOD=RESYNC)
    with Traffic(process):
        for _ in range(2):
            pair = issue(authority)
            with silently_changed(tmp_path, padded(pair)):
                assert_noticed(process, pair, WITHIN)
                process.wait_for_stderr("no event had told")
    (warning,) = process.told("compared every 0.5 s")
    assert "a change was found of which no event had told" in str(warning["message"])


def test_another_volume_is_mounted_in_its_place(unshared: Unshared, authority: trustme.CA, tmp_path: Path) -> None:
    """An unmount, a mount, and a mount over what is there are followed, though nothing tells of the latter two."""
    first, second, third = pairs = [issue(authority) for _ in range(3)]
    volumes = [tmp_path / name for name in ("first", "second", "third")]
    for volume, pair in zip(volumes, pairs, strict=True):
        volume.mkdir()
        place(volume, pair)
    directory = tmp_path / "certs"
    directory.mkdir()
    process = unshared(f"mount -t tmpfs none {directory} && cp {volumes[0]}/* {directory}", directory)
    with Traffic(process):
        assert_noticed(process, first)
        mount(process, "umount", str(directory))
        mount(process, "mount", "--bind", str(volumes[1]), str(directory))
        assert_noticed(process, second, WITHIN)
        mount(process, "mount", "--bind", str(volumes[2]), str(directory))
        assert_noticed(process, third, WITHIN)
        pair = issue(authority)
        place(volumes[2], pair)
        assert_noticed(process, pair, WITHIN)


def mount(process: Sidecar, command: str, *arguments: str) -> None:
    """Run mount(8) or umount(8) where the process has its mounts."""
    inside = ["nsenter", "-t", str(process.pid), "-U", "-m", "--preserve-credentials"]
    subprocess.run([*inside, command, *arguments], check=True)
