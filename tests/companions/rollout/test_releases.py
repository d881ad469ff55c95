"""Releases in a volume: what may be one, how it is given away, kept, and put in order at a start."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.companions.rollout.volume import LAYOUTS, Layout, leftovers, opened, publish, seal, seen
from tlsproxy.companions.rollout.durable import GOING
from tlsproxy.companions.rollout.releases import ReleaseError, Releases, release_path, write_files

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="files are given away by root alone")


# ---------------------------------------------------------------------------- what may be one


@pytest.mark.parametrize(
    "path", ["", ".", "/etc/passwd", "../up", "a/../b", "a/..", "..data", "a/..hidden", "a//b", "a/", "./a", "a\0b"]
)
def test_paths_that_no_file_of_a_release_has(path: str, tmp_path: Path) -> None:
    """Nothing that a source says leads out of the release, or to a name that is ours."""
    with pytest.raises(ReleaseError, match="can't be a file's path"):
        write_files(tmp_path, {path: b""})
    assert list(tmp_path.iterdir()) == []


def test_paths_that_a_file_may_have() -> None:
    """Relative and in the shortest form; a dot at the beginning of a name is fine."""
    paths = ["a", "a/b.c", ".env", "a/.b/c d", "é"]
    assert [str(release_path(path)) for path in paths] == paths


def test_paths_that_exclude_each_other(tmp_path: Path) -> None:
    """A path can't be a file and a directory."""
    with pytest.raises(ReleaseError, match=r"'a/b' is to be a file, and another path needs a directory there"):
        write_files(tmp_path, {"a": b"", "a/b": b""})
    with pytest.raises(ReleaseError, match="'c' is to be a file"):
        write_files(tmp_path, {"c/d": b"", "c": b""})


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", ".hidden", "x" * 81, "a b", "a\n"])
def test_names_that_no_version_has(name: str, tmp_path: Path) -> None:
    """A name is one of a directory, and harmless in a log."""
    releases = opened(tmp_path)
    with pytest.raises(ReleaseError, match="can't be a version's name"):
        releases.publish(name)


def test_what_is_no_file_is_not_sealed(tmp_path: Path) -> None:
    """A pipe would have the app wait for ever."""
    releases = opened(tmp_path)
    staged = releases.stage()
    os.mkfifo(staged / "pipe")
    with pytest.raises(ReleaseError, match="'pipe' is no file, directory or symlink"):
        releases.seal(staged, "1")
    assert releases.names() == ()


def test_reserved_names_are_not_sealed(tmp_path: Path) -> None:
    """Whoever fills the directory with a program of its own is held to the same paths."""
    releases = opened(tmp_path)
    staged = releases.stage()
    (staged / "..data").touch()
    with pytest.raises(ReleaseError, match=r"'\.\.data' can't be a file's path"):
        releases.seal(staged, "1")


# ---------------------------------------------------------------------------- seen by nobody


def test_what_is_staged_is_not_seen(tmp_path: Path) -> None:
    """Until it is published, the app sees nothing of it; what is discarded is gone."""
    releases = opened(tmp_path)
    publish(releases, "1", {"a": "1"})
    staged = releases.stage()
    assert stat.S_IMODE(staged.stat().st_mode) == 0o700
    (staged / "a").write_text("2")
    assert seen(tmp_path) == {"a": "1"}
    releases.discard(staged)
    assert leftovers(tmp_path) == []
    seal(releases, "2", {"a": "2"})
    assert (seen(tmp_path), releases.current, releases.names()) == ({"a": "1"}, "1", ("1", "2"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_published_is_on_the_disk_before(
    tmp_path: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file and directory is synced before a name leads to it: the machine may lose its power at any moment."""
    releases = opened(tmp_path, layout)
    synced: list[str] = []
    sync = os.fsync

    def spy(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    publish(releases, "1", {"a": "1", "conf.d/b": "1"})
    staged = synced[3].removesuffix("/.")
    assert synced[:5] == [f"{staged}/a", f"{staged}/conf.d/b", f"{staged}/conf.d", staged, str(tmp_path / "..versions")]
    assert str(tmp_path) in synced[5:]
    if layout == "files":
        copies = [path for path in synced[5:] if GOING in path]
        assert len(copies) == 2
        assert str(tmp_path / "conf.d") in synced[5:]


def test_a_version_may_be_written_again_unless_it_is_current(tmp_path: Path) -> None:
    """The same name comes again after it was refused; what the app reads is never replaced under it."""
    releases = opened(tmp_path)
    seal(releases, "1", {"a": "1"})
    seal(releases, "1", {"a": "1 again"})
    releases.publish("1")
    assert seen(tmp_path) == {"a": "1 again"}
    with pytest.raises(ReleaseError, match="1 is published and can't be replaced"):
        seal(releases, "1", {"a": "2"})
    assert seen(tmp_path) == {"a": "1 again"}


def test_a_version_that_is_not_there(tmp_path: Path) -> None:
    """Who asks for it is told which there are."""
    releases = opened(tmp_path)
    seal(releases, "1", {})
    with pytest.raises(ReleaseError, match="there is no version 2; kept are: 1"):
        releases.publish("2")


# ---------------------------------------------------------------------------- modes and owners


@pytest.mark.parametrize("layout", LAYOUTS)
def test_modes_are_as_set_whatever_the_umask(tmp_path: Path, layout: Layout) -> None:
    """Files and directories have theirs, and what leads to them can be traversed."""
    before = os.umask(0o077)
    try:
        releases = Releases(tmp_path / "volume", layout, mode=0o640, dir_mode=0o750)
        releases.open()
        publish(releases, "1", {"conf.d/a": "1"})
    finally:
        os.umask(before)
    volume = tmp_path / "volume"
    found = [stat.S_IMODE((volume / path).stat().st_mode) for path in ("conf.d/a", "conf.d", "..data", "..versions")]
    assert found == [0o640, 0o750, 0o750, 0o755]


def test_modes_may_stay_as_they_are(tmp_path: Path) -> None:
    """A repository has its own, an executable file among them."""
    releases = Releases(tmp_path, mode=None, dir_mode=None)
    releases.open()
    staged = releases.stage()
    (staged / "run").touch(0o755)
    (staged / "run").chmod(0o755)
    (staged / "private").mkdir(0o700)
    releases.seal(staged, "1")
    found = [stat.S_IMODE((releases.path("1") / path).stat().st_mode) for path in (".", "run", "private")]
    assert found == [0o755, 0o755, 0o700]


def test_a_volumes_group_is_handed_down(tmp_path: Path) -> None:
    """The set-group-ID bit of a volume stays on what is made in it."""
    tmp_path.chmod(0o2775)
    publish(opened(tmp_path), "1", {"conf.d/a": "1"})
    assert (tmp_path / "conf.d").stat().st_mode & stat.S_ISGID


@pytest.mark.parametrize("layout", LAYOUTS)
def test_modes_are_set_anew_at_a_start(tmp_path: Path, layout: Layout) -> None:
    """Who changes the setting need not wait for another version."""
    former = opened(tmp_path, layout)
    publish(former, "1", {"conf.d/a": "1"})
    former.close()
    Releases(tmp_path, layout, mode=0o600, dir_mode=0o700).open()
    found = [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("conf.d/a", "conf.d")]
    assert found == [0o600, 0o700]


@AS_ROOT
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_owner_is_as_set(tmp_path: Path, layout: Layout) -> None:
    """Root gives all that is published to the app's user."""
    releases = Releases(tmp_path, layout, owner=(1234, 2345))
    releases.open()
    publish(releases, "1", {"conf.d/a": "1"})
    found = [((tmp_path / path).stat().st_uid, (tmp_path / path).stat().st_gid) for path in ("conf.d/a", "conf.d")]
    assert found == [(1234, 2345), (1234, 2345)]


AS_ANOTHER = """
import os, sys
from pathlib import Path
from tlsproxy.companions.rollout.releases import ReleaseError, Releases, write_files
os.setgroups([])
os.setgid(4321)
os.setuid(4321)
owner = (0, None) if sys.argv[2] == "root" else (None, None)
releases = Releases(Path(sys.argv[1]), mode=0o444, dir_mode=0o555, keep=1, owner=owner)
try:
    releases.open()
except ReleaseError as error:
    sys.exit(str(error))
for name in ("1", "2"):
    staged = releases.stage()
    write_files(staged, {"conf.d/a": name.encode()})
    try:
        releases.seal(staged, name)
    except ReleaseError as error:
        sys.exit(str(error))
    releases.publish(name)
    releases.collect()
print(releases.names())
"""


def as_another_user(owner: str, mode: int = 0o777) -> subprocess.CompletedProcess[str]:
    # Not below tmp_path: pytest closes its directory to others each time that it starts.
    with TemporaryDirectory() as volume:
        Path(volume).chmod(mode)
        command = [sys.executable, "-c", AS_ANOTHER, volume, owner]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=50, check=False, cwd=Path(__file__).parents[3]
        )


@AS_ROOT
def test_an_owner_that_can_not_be_set() -> None:
    """Who is not root is told so, and what the way out is."""
    told = as_another_user("root").stderr
    assert told.startswith("files can't be given to 0: by user 4321: only root sets another user")


@AS_ROOT
def test_a_volume_that_is_somebody_elses() -> None:
    """The way out is named: a container's user is not root, and an emptyDir is root's unless fsGroup says otherwise."""
    told = as_another_user("", 0o755).stderr
    assert "permission denied for user 4321, group 4321: " in told
    assert "fsGroup" in told


@AS_ROOT
def test_what_may_not_be_written_is_published_and_removed() -> None:
    """Modes without w are for the app; who is not root publishes and collects such releases all the same."""
    assert as_another_user("").stdout == "('2',)\n"


# ---------------------------------------------------------------------------- a start


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_start_mends_what_is_seen(tmp_path: Path, layout: Layout) -> None:
    """What was removed or changed by hand is put back, and what a killed process left is swept away."""
    former = opened(tmp_path, layout)
    publish(former, "1", {"a": "1", "b": "1"})
    staged = former.stage()
    (staged / "half").touch()
    former.close()
    (tmp_path / "a").unlink()
    releases = opened(tmp_path, layout)
    assert (seen(tmp_path), leftovers(tmp_path), releases.current) == ({"a": "1", "b": "1"}, [], "1")


def test_the_order_of_versions_does_not_come_from_the_clock(tmp_path: Path) -> None:
    """A clock that goes backwards, or a copied volume, makes none of them newer."""
    former = opened(tmp_path)
    for age, name in enumerate(("b", "c", "a")):
        seal(former, name, {})
        os.utime(former.path(name), (-age, -age))
    former.close()
    assert opened(tmp_path).names() == ("b", "c", "a")


@pytest.mark.parametrize("torn", [b"", b"{", b"[]", b'{"order": 1}', b'{"order": [1], "files": [], "directories": []}'])
def test_a_record_that_can_not_be_read(tmp_path: Path, torn: bytes) -> None:
    """What is current does not depend on it."""
    former = opened(tmp_path, "files")
    publish(former, "1", {"a": "1"})
    former.close()
    (tmp_path / "..releases.json").write_bytes(torn)
    releases = opened(tmp_path, "files")
    publish(releases, "2", {"b": "2"})
    assert (releases.names(), seen(tmp_path)) == (("1", "2"), {"b": "2"})


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second one would sweep away what the first is writing."""
    first = opened(tmp_path)
    with pytest.raises(ReleaseError, match="another process publishes to"):
        opened(tmp_path)
    first.close()
    opened(tmp_path)


def test_a_volume_of_the_kubelets_is_refused(tmp_path: Path) -> None:
    """A ConfigMap's own mount has the same link, and is not ours to write."""
    (tmp_path / "..2026_01_01").mkdir()
    (tmp_path / "..data").symlink_to("..2026_01_01")
    with pytest.raises(ReleaseError, match="seems to be a volume of Kubernetes' own"):
        opened(tmp_path)
    assert (tmp_path / "..data").readlink() == Path("..2026_01_01")


def test_a_current_version_that_was_removed_by_others(tmp_path: Path) -> None:
    """There is none, and the next one is published."""
    former = opened(tmp_path)
    publish(former, "1", {"a": "1"})
    former.path("1").rename(tmp_path / "gone")
    former.close()
    releases = opened(tmp_path)
    assert releases.current is None
    publish(releases, "1", {"a": "1"})
    assert seen(tmp_path)["a"] == "1"


# ---------------------------------------------------------------------------- what is kept


def test_what_is_kept(tmp_path: Path) -> None:
    """The newest, the current one, and those that are needed for another reason."""
    releases = opened(tmp_path, keep=2)
    for name in "abcdef":
        seal(releases, name, {"a": name})
    releases.publish("b")
    releases.collect(needed=("c", "unknown"))
    assert releases.names() == ("b", "c", "e", "f")
    assert leftovers(tmp_path) == []


# ---------------------------------------------------------------------------- a disk that is full or can't be written


def test_a_directory_that_can_not_be_had(tmp_path: Path) -> None:
    """What can't be done is told with the path and the reason."""
    (tmp_path / "file").touch()
    with pytest.raises(ReleaseError, match=r"can't open: .*/file.*: not a directory"):
        opened(tmp_path / "file" / "volume")


def small_volume(at: Path, size: str, *options: str) -> None:
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join((f"size={size}", *options)), "tmpfs", at], check=True)


@AS_ROOT
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_full_disk_leaves_the_last_good_version(tmp_path: Path, layout: Layout) -> None:
    """Neither writing nor publishing changes anything then, it is said plainly, and with space it works again."""
    volume = tmp_path / "volume"
    try:
        small_volume(volume, "256k")
    except subprocess.CalledProcessError:
        pytest.skip("no file system may be mounted here")
    try:
        releases = opened(volume, layout)
        publish(releases, "1", {"a": "1", "b": "1"})
        staged = releases.stage()
        with pytest.raises(ReleaseError, match="can't write 'big': no space left on device"):
            write_files(staged, {"big": bytes(1 << 20)})
        releases.discard(staged)
        seal(releases, "2", {"a": "2", "b": "2" * 60_000})
        fill(volume / "theirs")
        if layout == "files":
            with pytest.raises(ReleaseError, match=r"can't publish version 2: .*: no space left on device"):
                releases.publish("2")
            assert (seen(volume)["a"], seen(volume)["b"], releases.current) == ("1", "1", "1")
        (volume / "theirs").unlink()
        releases.publish("2")
        assert seen(volume)["a"] == "2"
        assert leftovers(volume) == []
    finally:
        releases.close()
        subprocess.run(["umount", volume], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


@AS_ROOT
def test_a_volume_that_is_read_only(tmp_path: Path) -> None:
    """It is said at the start."""
    volume = tmp_path / "volume"
    try:
        small_volume(volume, "64k", "ro")
    except subprocess.CalledProcessError:
        pytest.skip("no file system may be mounted here")
    try:
        with pytest.raises(
            ReleaseError, match=r"can't open: .*: read-only file system: mount it here without readOnly"
        ):
            opened(volume)
    finally:
        subprocess.run(["umount", volume], check=True)


# ---------------------------------------------------------------------------- what others have put there


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A directory of somebody else's, beside the volume."""
    directory = tmp_path / "victim"
    directory.mkdir(0o700)
    (directory / "secret").write_text("theirs")
    (directory / "secret").chmod(0o600)
    return directory


def modes(victim: Path) -> list[int]:
    return [stat.S_IMODE(path.stat().st_mode) for path in (victim, victim / "secret")]


def test_versions_that_lead_elsewhere(tmp_path: Path, victim: Path) -> None:
    """Nothing is written, given away or removed where a link in their place leads to, at a start or later."""
    volume = tmp_path / "volume"
    releases = opened(volume)
    publish(releases, "1", {"a": ""})
    (volume / "..versions").rename(volume / "moved")
    (volume / "..versions").symlink_to(victim)
    for step in (releases.open, releases.stage, releases.collect, lambda: releases.publish("1")):
        with pytest.raises(ReleaseError, match=r"\.\.versions is a link|there is no version"):
            step()
    assert os.listdir(victim) == ["secret"]  # noqa: PTH208 - names alone
    assert modes(victim) == [0o700, 0o600]


@pytest.mark.parametrize("place", ["..versions/1", "..data"])
def test_a_version_that_leads_elsewhere(place: str, tmp_path: Path, victim: Path) -> None:
    """It is none: what it leads to keeps its modes, and the next version is published."""
    volume = tmp_path / "volume"
    releases = opened(volume)
    publish(releases, "1", {"a": "1"})
    releases.close()
    (volume / place).rename(tmp_path / "moved")
    (volume / place).symlink_to(victim if place == "..versions/1" else "..versions/../../1")
    again = opened(volume)
    assert again.current is None
    publish(again, "1", {"a": "2"})
    assert seen(volume) == {"a": "2"}
    assert modes(victim) == [0o700, 0o600]


@pytest.mark.parametrize("path", ["../victim/secret", "{victim}/secret", "..data"])
def test_a_record_of_what_is_not_in_the_volume(path: str, tmp_path: Path, victim: Path) -> None:
    """What was never ours is not removed as if it had been."""
    volume = tmp_path / "volume"
    releases = opened(volume, "files")
    publish(releases, "1", {"a": "1"})
    releases.close()
    record = {"order": ["1"], "files": ["a", path.format(victim=victim)], "directories": []}
    (volume / "..releases.json").write_text(json.dumps(record))
    again = opened(volume, "files")
    assert (victim / "secret").exists()
    assert again.current == "1"
