"""How a release comes to be seen in the volume: by links, all files of it at once, or as plain files, each one whole.

A layout is handed a release that is on the disk and a `swap`, which makes it the current one. It refuses, before it
has changed anything, where the volume holds something of others in the place of an entry; the one exception are plain
files, which take the place of a regular file of the same name, so that a file of an image's can be taken over.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tlsproxy.companions.rollout.durable import are_same, sync

DATA = "..data"
"""The link to what is current, named as the kubelet's so that what watches for that sees it."""


class ObstacleError(Exception):
    """Something of others stands where an entry of the release would be."""


@dataclass(frozen=True, slots=True)
class Tree:
    """The paths below a directory, relative to it, parents before what is in them."""

    files: tuple[str, ...] = ()
    """Regular files and symlinks."""
    directories: tuple[str, ...] = ()


class Owned(Protocol):
    """What is remembered of the plain files that are ours; `own` has it on the disk when it returns."""

    files: frozenset[str]
    directories: frozenset[str]

    def own(self, files: Iterable[str], directories: Iterable[str]) -> None:
        """Remember these in place of what was."""


class Layout(Protocol):
    """One way to be seen."""

    def publish(self, release: Path, scratch: Path, swap: Callable[[], None]) -> None:
        """Make the release the one that is seen; the same again mends what is not as it should be.

        Args:
            release: its directory, complete and on the disk.
            scratch: an empty directory on the same file system, removed by the caller.
            swap: makes it the current one.

        Raises:
            ObstacleError: nothing was changed.
            OSError: from the file system.
        """


def tree(directory: Path) -> Tree:
    """What is below a directory; symlinks are not followed."""
    files, directories = [], []
    for place, inner, names in os.walk(directory):
        links = [name for name in inner if Path(place, name).is_symlink()]
        inner[:] = sorted(set(inner) - set(links))
        directories += [_relative(place, name, directory) for name in inner]
        files += [_relative(place, name, directory) for name in (*names, *links)]
    return Tree(tuple(sorted(files)), tuple(directories))


def _relative(place: str, name: str, directory: Path) -> str:
    return Path(place, name).relative_to(directory).as_posix()


class Links:
    """Each entry is a link through `..data`: all files of a release are swapped by one rename.

    The links are relative, because other containers mount the volume elsewhere.
    """

    def __init__(self, volume: Path, owned: Owned) -> None:
        self._volume = volume
        self._owned = owned

    def publish(self, release: Path, scratch: Path, swap: Callable[[], None]) -> None:
        """Add links, swap, remove links of entries that are no more; between, a new entry's link leads nowhere."""
        entries = sorted(path.name for path in release.iterdir())
        for entry in entries:
            self._see_that_free(entry)
        remove_files(self._volume, self._owned.files, self._owned.directories)
        if self._owned.files or self._owned.directories:
            self._owned.own((), ())
        missing = [entry for entry in entries if not is_own_link(self._volume / entry)]
        for entry in missing:
            (self._volume / entry).symlink_to(f"{DATA}/{entry}")
        if missing:
            sync(self._volume)
        swap()
        remove_links(self._volume, keeping=entries)

    def _see_that_free(self, entry: str) -> None:
        place = self._volume / entry
        if not os.path.lexists(place) or is_own_link(place) or entry in self._owned.files:
            return
        _see_that_all_is_ours(place, entry, self._owned)


class PlainFiles:
    """Each file is a regular one, renamed into place whole; those of one release follow each other closely.

    All are copied and synced before the first is renamed. What is equal stays untouched. A file that becomes a
    directory, or the other way round, is missing for a moment.
    """

    def __init__(self, volume: Path, owned: Owned) -> None:
        self._volume = volume
        self._owned = owned

    def publish(self, release: Path, scratch: Path, swap: Callable[[], None]) -> None:
        """Copy, remember, rename, swap what is recorded as current, remove the files that are no more."""
        new = tree(release)
        self._see_that_free(new)
        copies = self._copy(release, new.files, scratch)
        self._remember_before(new)
        remove_links(self._volume, keeping=())
        self._clear_the_way(new)
        self._make_directories(new.directories, release)
        for path, copy in copies.items():
            copy.replace(self._volume / path)
        self._sync_parents(copies)
        swap()
        remove_files(self._volume, self._owned.files - {*new.files}, self._owned.directories - {*new.directories})
        self._remember_after(new)

    # ------------------------------------------------------------------ before anything is changed

    def _see_that_free(self, new: Tree) -> None:
        for path in new.directories:
            place = self._volume / path
            # A link of others to a directory is none: it would lead the files to somewhere else.
            if not self._may_be_taken(path) and not is_real_directory(place):
                raise ObstacleError(_in_the_way(place))
        for path in new.files:
            place = self._volume / path
            if not self._may_be_taken(path) and not stat.S_ISREG(place.lstat().st_mode):
                _see_that_all_is_ours(place, path, self._owned)

    def _may_be_taken(self, path: str) -> bool:
        """Whether there is nothing, or what has been published."""
        return path in self._owned.files or self._is_linked(path) or not os.path.lexists(self._volume / path)

    def _is_linked(self, path: str) -> bool:
        """Whether it is seen through a link that goes before the files come."""
        return is_own_link(self._volume / path.partition("/")[0])

    def _copy(self, release: Path, files: Iterable[str], scratch: Path) -> dict[str, Path]:
        """A copy of each file that is not in the volume already: a full disk is met here."""
        copies = {}
        for number, path in enumerate(files):
            if self._is_linked(path) or not are_same(release / path, self._volume / path):
                copies[path] = scratch / str(number)
                _copy_whole(release / path, copies[path])
        return copies

    # ------------------------------------------------------------------ what is ours

    def _remember_before(self, new: Tree) -> None:
        """What is made is ours before it is made, so that a process that starts after a crash knows what to remove.

        A file of others that is taken over is not, until it has been replaced.
        """
        files = {path for path in new.files if self._may_be_taken(path)}
        directories = {path for path in new.directories if self._may_be_taken(path)}
        if not (files <= self._owned.files and directories <= self._owned.directories):
            self._owned.own(self._owned.files | files, self._owned.directories | directories)

    def _remember_after(self, new: Tree) -> None:
        kept = frozenset(path for path in self._owned.directories if (self._volume / path).is_dir())
        if (self._owned.files, self._owned.directories) != (frozenset(new.files), kept):
            self._owned.own(new.files, kept)

    # ------------------------------------------------------------------ into place

    def _clear_the_way(self, new: Tree) -> None:
        """Remove what is ours and of another kind than what is to stand there."""
        remove_files(self._volume, self._owned.files & {*new.directories}, ())
        for path in self._owned.directories & {*new.files}:
            files, directories = (
                [name for name in names if name == path or name.startswith(f"{path}/")]
                for names in (self._owned.files, self._owned.directories)
            )
            remove_files(self._volume, files, directories)

    def _make_directories(self, directories: Iterable[str], release: Path) -> None:
        for path in directories:
            place = self._volume / path
            if not place.is_dir():
                place.mkdir()
                sync(place.parent)
            if path in self._owned.directories:
                _take_after(release / path, place)

    def _sync_parents(self, paths: Iterable[str]) -> None:
        for directory in {(self._volume / path).parent for path in paths}:
            sync(directory)


def is_own_link(place: Path) -> bool:
    """Whether it is a link as `Links` makes them."""
    return place.is_symlink() and str(place.readlink()) == f"{DATA}/{place.name}"


def remove_links(volume: Path, keeping: Iterable[str]) -> None:
    """Remove the links that lead through `..data`, but for the named ones."""
    stale = [path for path in volume.iterdir() if is_own_link(path) and path.name not in keeping]
    for path in stale:
        path.unlink(missing_ok=True)
    if stale:
        sync(volume)


def remove_files(volume: Path, files: Iterable[str], directories: Iterable[str]) -> None:
    """Remove plain files of ours, and those directories of ours that are empty then."""
    parents = set()
    for path in files:
        place = volume / path
        if _is_below_real_directories(volume, path) and os.path.lexists(place) and not is_real_directory(place):
            place.unlink()
            parents.add(place.parent)
    for path in sorted(directories, reverse=True):
        place = volume / path
        if _is_below_real_directories(volume, path) and is_real_directory(place) and not any(place.iterdir()):
            place.rmdir()
            parents.add(place.parent)
    for parent in parents:
        if parent.is_dir():
            sync(parent)


def is_real_directory(place: Path) -> bool:
    """Whether it is a directory itself, and not a link to one."""
    return place.is_dir() and not place.is_symlink()


def _is_below_real_directories(volume: Path, path: str) -> bool:
    """Whether no parent has become a link, through which something of others would be removed."""
    parents = [volume / parent for parent in Path(path).parents if parent.name]
    return all(is_real_directory(parent) for parent in parents)


def _see_that_all_is_ours(place: Path, path: str, owned: Owned) -> None:
    """That a directory can make way for something else."""
    if path not in owned.directories or not is_real_directory(place):
        raise ObstacleError(_in_the_way(place))
    inner = tree(place)
    for names, ours in ((inner.files, owned.files), (inner.directories, owned.directories)):
        for name in names:
            if f"{path}/{name}" not in ours:
                raise ObstacleError(_in_the_way(place / name))


def _in_the_way(place: Path) -> str:
    return f"{place} is in the way: it was not published from here; move it away, or publish to another directory"


def _copy_whole(source: Path, target: Path) -> None:
    shutil.copyfile(source, target, follow_symlinks=False)
    _take_after(source, target)
    if not target.is_symlink():
        sync(target)


def _take_after(source: Path, target: Path) -> None:
    """Give the owner and the mode of another file or directory."""
    like, found = source.lstat(), target.lstat()
    if (found.st_uid, found.st_gid) != (like.st_uid, like.st_gid):
        os.chown(target, like.st_uid, like.st_gid, follow_symlinks=False)
    if found.st_mode != like.st_mode and not stat.S_ISLNK(like.st_mode):
        target.chmod(stat.S_IMODE(like.st_mode))
