"""Files and directories that are there whole or not at all, whatever moment the process or the machine dies at.

What is renamed has been written and synced before; what is removed has been renamed out of sight before. Nothing of
releases is known here.
"""

import errno
import json
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

_NOT_SYNCABLE = (errno.EINVAL, errno.ENOTSUP)
"""What network and FUSE file systems answer that sync no directories."""
_PIECE = 256 * 1024
_LARGEST = 16 * 1024 * 1024
"""Bytes of a file of our own: a thousand times what any has."""


def sync(path: Path) -> None:
    """Have a file, or the entries of a directory, on the disk; a symlink is not followed.

    Raises:
        OSError: it can't be opened, or its content did not get there.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SYNCABLE or not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file of our own: who reads it sees the former or the new content, and a crash leaves one of them.

    One writer at a time: what it has begun stands beside it as `<name>.new`, and is removed by the next.
    """
    new = _new(path)
    # Whoever else may write there may have put a pipe in its place, or a link to a file of somebody else's.
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    new.replace(path)
    sync(path.parent)


def read_json(path: Path) -> object:
    """What a file of our own says, as JSON.

    Raises:
        FileNotFoundError: there is none.
        OSError: it can't be read.
        ValueError: it was not us who wrote that: it is no JSON, no regular file, or larger than any of ours.
    """
    if path.is_symlink():
        raise ValueError("is a link")
    # A pipe would not open before somebody writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            raise ValueError(f"is no regular file of at most {_LARGEST >> 20} MiB")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content: object = json.loads(file.read(_LARGEST))
            return content
    except RecursionError:
        raise ValueError("is nested too deep") from None
    finally:
        os.close(descriptor)


def sweep(path: Path) -> None:
    """Remove what a killed writer of a file has begun."""
    _new(path).unlink(missing_ok=True)


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def remove_whole(path: Path, aside: Path) -> None:
    """Remove a tree that must never be seen in part: it is renamed to a name of its own in `aside` first."""
    gone = aside / f"{GOING}{token_hex(8)}"
    path.rename(gone)
    sync(path.parent)
    remove_tree(gone)


GOING = "..staging-"
"""What the name of everything begins with that is not yet, or no longer, to be seen."""


def remove_tree(path: Path) -> None:
    """Remove a file, a symlink or a tree; nothing happens where there is nothing."""
    if not _is_directory(path):
        path.unlink(missing_ok=True)
        return
    for place, directories, _ in os.walk(path):
        for name in (".", *directories):
            # What was given a mode without w can't be emptied by its owner, and a symlink's mode is its target's.
            inner = Path(place, name)
            if _is_directory(inner):
                with suppress(PermissionError):
                    inner.chmod(0o700)
    shutil.rmtree(path)


def are_same(one: Path, other: Path) -> bool:
    """Whether two paths have the same kind, content, mode and owner; False where there is nothing."""
    try:
        first, second = one.lstat(), other.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if (first.st_mode, first.st_uid, first.st_gid) != (second.st_mode, second.st_uid, second.st_gid):
        return False
    if stat.S_ISLNK(first.st_mode):
        return one.readlink() == other.readlink()
    return stat.S_ISREG(first.st_mode) and first.st_size == second.st_size and _have_same_content(one, other)


def _have_same_content(one: Path, other: Path) -> bool:
    with one.open("rb") as first, other.open("rb") as second:
        while piece := first.read(_PIECE):
            if piece != second.read(_PIECE):
                return False
        return not second.read(1)


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
