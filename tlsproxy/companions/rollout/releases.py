"""The versions in a volume that is shared with the app: staged, sealed, published, collected; blocking, in threads.

    <volume>/..versions/<name>      a release, complete and on the disk; never changed
    <volume>/..versions/..staging-* what is being made, or being removed; swept away at a start
    <volume>/..data                 a link to the release that is current
    <volume>/<entry>                as the layout has it
    <volume>/..releases.json        the order of the releases, and which plain files are ours

Whatever moment the process is killed at: `..data` leads to a complete release or is not there, and `open` makes the
rest agree with it. Nothing depends on the clock. Where a version comes from, and what the app makes of it, is not
known here.
"""

import errno
import fcntl
import json
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from secrets import token_hex
from typing import Literal

from tlsproxy.companions.rollout.durable import GOING, read_json, remove_tree, remove_whole, sweep, sync, write_whole
from tlsproxy.companions.rollout.layouts import DATA, Layout, Links, ObstacleError, PlainFiles, is_real_directory, tree

_NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,80}")
_VERSIONS = "..versions"
_RECORD = "..releases.json"
_LOCK = "..lock"
_TRAVERSABLE = 0o755  # whoever may read a release must be able to reach it


class ReleaseError(Exception):
    """The volume can't be worked on as told; the message is for people. What was published still is."""


class UnfitError(ReleaseError):
    """What is to be a release can't be one, on whatever disk: a path or a kind of file that none may have."""


class Releases:
    """The releases of one volume. One process at a time, and in it one call at a time.

    Args:
        directory: the volume, or a directory in it; made where it is missing.
        layout: `link`: entries are links through `..data`; `files`: entries are regular files.
        keep: so many of the newest are kept by `collect`; at least 1.
        mode: of files; None: as they were written.
        dir_mode: of directories; None: as they were made, the release's own 0755.
        owner: user and group id of what is published; None: who writes it. Another user can be set by root alone,
            a group by its members.
    """

    def __init__(
        self,
        directory: Path,
        layout: Literal["link", "files"] = "link",
        *,
        keep: int = 10,
        mode: int | None = 0o644,
        dir_mode: int | None = 0o755,
        owner: tuple[int | None, int | None] = (None, None),
    ) -> None:
        self._volume = directory
        self._versions = directory / _VERSIONS
        self._keep = max(keep, 1)
        self._mode = mode
        self._dir_mode = dir_mode
        self._owner = owner
        self._record = _Record(directory / _RECORD)
        self._layout: Layout = (Links if layout == "link" else PlainFiles)(directory, self._record)
        self._lock: int | None = None

    def __repr__(self) -> str:
        return f"<Releases in {self._volume} current={self.current} kept={len(self.names())}>"

    # ------------------------------------------------------------------ a start

    def open(self) -> None:
        """Take the volume, sweep away what a killed process left, and make what is seen agree with what is current.

        A file of ours that was changed by hand is put back, and modes and owners are set as they are now asked for.

        Raises:
            ReleaseError: it can't be written, another process has it, or it is not one of ours.
        """
        with self._plainly("open"):
            self._see_that_versions_are_ours()
            self._versions.mkdir(parents=True, exist_ok=True)
            self._take()
            _give_mode(self._versions, _TRAVERSABLE)
            self._see_that_data_is_ours()
            self._sweep()
            self._record.read()
            if self.current is not None:
                self._give(self.path(self.current))
                self._show(self.current)

    def close(self) -> None:
        """Let another process have the volume."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take(self) -> None:
        """Hold the lock until the process ends, however it does."""
        if self._lock is None:
            self._lock = os.open(self._versions / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise ReleaseError(f"another process publishes to {self._volume}: give it a directory of its own") from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):  # a network file system without locks does without
                raise

    def _see_that_versions_are_ours(self) -> None:
        """That nobody has them lead to a directory of others, whose content would be given away or removed."""
        if self._versions.is_symlink():
            raise ObstacleError(f"{self._versions} is a link, which is not from here: remove it")

    def _see_that_data_is_ours(self) -> None:
        data = self._volume / DATA
        if os.path.lexists(data) and not (data.is_symlink() and data.readlink().parts[0] == _VERSIONS):
            raise ObstacleError(
                f"{data} was not made here: {self._volume} seems to be a volume of Kubernetes' own; "
                "publish to an emptyDir or a directory of its own"
            )

    def _sweep(self) -> None:
        for path in self._versions.glob(f"{GOING}*"):
            remove_tree(path)

    # ------------------------------------------------------------------ what there is

    def path(self, name: str) -> Path:
        """The directory of a release, whether it exists or not.

        Raises:
            ReleaseError: it is no name: 1 to 80 letters, digits, `.`, `_` and `-`, no dot at first.
        """
        if not _NAME.fullmatch(name):
            raise ReleaseError(f"{name!r} can't be a version's name: letters, digits, '.', '_', '-', at most 80")
        return self._versions / name

    def names(self) -> tuple[str, ...]:
        """The releases that are kept, the oldest first."""
        with self._plainly("list the versions"):
            return self._record.kept(self._versions)

    @property
    def current(self) -> str | None:
        """The release that is published; None when there is none, or it has been removed by others."""
        with self._plainly("read what is current"):
            data = self._volume / DATA
            name = data.readlink().name if data.is_symlink() else ""
            # What others have put there leads to somewhere else, or to nothing that was sealed.
            is_ours = bool(name) and str(data.readlink()) == f"{_VERSIONS}/{name}"
            return name if is_ours and is_real_directory(self._versions / name) else None

    # ------------------------------------------------------------------ a new one

    def stage(self) -> Path:
        """A new empty directory, seen by nobody, to write a release into; then `seal` or `discard` it.

        Raises:
            ReleaseError: it can't be made.
        """
        with self._plainly("stage a version"):
            self._see_that_versions_are_ours()
            return self._scratch()

    def seal(self, staged: Path, name: str) -> None:
        """Make what is staged a release: modes and owners set, everything on the disk, renamed. Not published yet.

        One of the same name that is not current gives way.

        Raises:
            UnfitError: a path or a kind of file that no release may have.
            ReleaseError: an owner that can't be set, or it can't be written.
        """
        path = self.path(name)
        if name == self.current:
            raise ReleaseError(f"{name} is published and can't be replaced")
        with self._plainly(f"write version {name}"):
            _see_that_publishable(staged)
            self._give(staged)
            _sync_all(staged)
            if os.path.lexists(path):
                remove_whole(path, self._versions)
            staged.rename(path)
            sync(self._versions)
            self._record.append(name)

    def discard(self, staged: Path) -> None:
        """Remove what is staged; what can't be is swept away at the next start."""
        with self._plainly("remove what was staged"):
            remove_tree(staged)

    def _scratch(self) -> Path:
        # Beside the releases, because a directory that may not be written can't be renamed to another parent.
        path = self._versions / f"{GOING}{token_hex(8)}"
        path.mkdir(0o700)
        return path

    def _give(self, release: Path) -> None:
        """Set owner and mode of all that is in a release, the directories after what is in them."""
        inner = tree(release)
        for path in inner.files:
            self._own(release / path)
            if self._mode is not None and not (release / path).is_symlink():
                _give_mode(release / path, self._mode)
        for path in reversed(inner.directories):
            self._own(release / path)
            if self._dir_mode is not None:
                _give_mode(release / path, self._dir_mode)
        self._own(release)
        _give_mode(release, _TRAVERSABLE if self._dir_mode is None else self._dir_mode)

    def _own(self, path: Path) -> None:
        found = path.lstat()
        user, group = (
            -1 if asked is None or asked == now else asked
            for asked, now in zip(self._owner, (found.st_uid, found.st_gid), strict=True)
        )
        if (user, group) == (-1, -1):
            return
        try:
            os.chown(path, user, group, follow_symlinks=False)
        except PermissionError:
            raise ReleaseError(self._not_ours_to_give()) from None

    def _not_ours_to_give(self) -> str:
        user, group = ("" if asked is None else str(asked) for asked in self._owner)
        return (
            f"files can't be given to {user}:{group} by user {os.geteuid()}: only root sets another user, and only "
            "members a group; run as that user, or leave the owner unset"
        )

    # ------------------------------------------------------------------ to be seen

    def publish(self, name: str) -> None:
        """Make a release the one that is seen; for the current one, mend what is not as it should be.

        Raises:
            ReleaseError: there is none of this name, something of others is in the way, or the volume can't be
                written. Plain files may be of both releases then, each of them whole; `publish` may be called again.
        """
        path = self.path(name)
        if not is_real_directory(path):
            raise ReleaseError(f"there is no version {name}; kept are: {', '.join(self.names()) or 'none'}")
        with self._plainly(f"publish version {name}"):
            self._see_that_versions_are_ours()
            self._see_that_data_is_ours()
            self._show(name)

    def _show(self, name: str) -> None:
        scratch = self._scratch()
        try:
            self._layout.publish(self.path(name), scratch, partial(self._swap, name, scratch))
        finally:
            remove_tree(scratch)

    def _swap(self, name: str, scratch: Path) -> None:
        if self.current == name:
            return
        link = scratch / DATA
        link.symlink_to(f"{_VERSIONS}/{name}")
        link.replace(self._volume / DATA)
        sync(self._volume)

    def collect(self, needed: Collection[str] = ()) -> None:
        """Remove releases but for the newest, the current one and those that are needed.

        Raises:
            ReleaseError: from the file system.
        """
        with self._plainly("remove old versions"):
            self._see_that_versions_are_ours()
        names = self.names()
        kept = {*names[-self._keep :], *needed, self.current}
        with self._plainly("remove old versions"):
            for name in names:
                if name not in kept:
                    remove_whole(self._versions / name, self._versions)

    @contextmanager
    def _plainly(self, doing: str) -> Iterator[None]:
        """Errors in plain words: what, where, why."""
        try:
            yield
        except ObstacleError as error:
            raise ReleaseError(str(error)) from None
        except OSError as error:
            where = error.filename if isinstance(error.filename, str) else self._volume
            reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
            raise ReleaseError(f"can't {doing}: {where}: {reason}{_way_out(error.errno)}") from error


def _way_out(number: int | None) -> str:
    if number in (errno.EACCES, errno.EPERM):
        return f" for user {os.geteuid()}, group {os.getegid()}: the volume has to be theirs (in Kubernetes by fsGroup)"
    return ": mount it here without readOnly" if number == errno.EROFS else ""


def release_path(text: str) -> PurePosixPath:
    """Where a file of a release is to be, relative to it.

    Raises:
        UnfitError: it is absolute or empty, has `..`, a name that begins with it, or is not in its shortest form.
    """
    path = PurePosixPath(text)
    if not path.parts or path.is_absolute() or str(path) != text or "\0" in text:
        raise UnfitError(f"{text!r} can't be a file's path: it must be relative and in its shortest form")
    if any(part.startswith("..") for part in path.parts):
        raise UnfitError(f"{text!r} can't be a file's path: names that begin with '..' are kept for the versions")
    return path


def write_files(staged: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a release, by their relative paths.

    Raises:
        UnfitError: a path that no release may have, or two that exclude each other.
        ReleaseError: it can't be written.
    """
    for text, content in files.items():
        path = staged / release_path(text)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise UnfitError(f"{text!r} is to be a file, and another path needs a directory there") from None
        except OSError as error:
            raise ReleaseError(f"can't write {text!r}: {os.strerror(error.errno or 0).lower()}") from error


def _see_that_publishable(staged: Path) -> None:
    inner = tree(staged)
    for path in (*inner.directories, *inner.files):
        release_path(path)
        kind = stat.S_IFMT((staged / path).lstat().st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            raise UnfitError(f"{path!r} is no file, directory or symlink, and can't be published")


def _give_mode(path: Path, mode: int) -> None:
    """Set the mode, and leave a directory's set-group-ID bit, by which a volume hands down its group."""
    found = stat.S_IMODE(path.lstat().st_mode)
    wanted = mode | (found & stat.S_ISGID if path.is_dir() else 0)
    if found != wanted:
        path.chmod(wanted)


def _sync_all(release: Path) -> None:
    """Have it all on the disk, before a name leads to it."""
    inner = tree(release)
    for path in (*inner.files, *reversed(inner.directories), "."):
        if not (release / path).is_symlink():
            sync(release / path)


class _Record:
    """What the volume itself does not tell, in a file: in which order releases came, which plain files are ours."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.order: tuple[str, ...] = ()
        self.files: frozenset[str] = frozenset()
        self.directories: frozenset[str] = frozenset()

    def read(self) -> None:
        """Take up what was written; nothing, where that was not us."""
        sweep(self._path)
        try:
            found = _lists(read_json(self._path))
            order, files, directories = (found[key] for key in ("order", "files", "directories"))
            for path in (*files, *directories):
                release_path(path)
        except (FileNotFoundError, ValueError, KeyError, TypeError, UnfitError):
            return
        self.order, self.files, self.directories = order, frozenset(files), frozenset(directories)

    def kept(self, versions: Path) -> tuple[str, ...]:
        """The releases that are there, the oldest first; one that came as the process was killed is the newest."""
        there = {path.name for path in versions.glob("[!.]*") if is_real_directory(path)}
        known = [name for name in self.order if name in there]
        return (*known, *sorted(there - {*known}))

    def append(self, name: str) -> None:
        """Remember that this is the newest; what is no more is forgotten."""
        order = [known for known in self.kept(self._path.parent / _VERSIONS) if known != name]
        self._put((*order, name), self.files, self.directories)

    def own(self, files: Iterable[str], directories: Iterable[str]) -> None:
        """Remember these as the plain files and directories that are ours, in place of what was."""
        self._put(self.order, frozenset(files), frozenset(directories))

    def _put(self, order: tuple[str, ...], files: frozenset[str], directories: frozenset[str]) -> None:
        """Write first: what is believed to be on the disk is not written again."""
        content = {"order": order, "files": sorted(files), "directories": sorted(directories)}
        write_whole(self._path, json.dumps(content).encode())
        self.order, self.files, self.directories = order, files, directories


def _lists(found: object) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(found, dict):
        raise TypeError
    return {name: _texts(texts) for name, texts in found.items()}


def _texts(found: object) -> tuple[str, ...]:
    if not (isinstance(found, list) and all(isinstance(text, str) for text in found)):
        raise TypeError
    return tuple(found)
