"""Where a named certificate lies on disk, and its bytes, read once.

Nothing here knows what the bytes mean: whatever works on them later works on what was read here and never
goes back to the disk.
"""

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from tlsproxy.tls.steps import Steps

# A long chain with its text prelude is some 20 KiB; a whole trust store of 150 roots is 220.
MAX_FILE = 1024 * 1024
# Most files come whole with the first read.
PIECE = 16 * 1024
# The kernel's own bound (path_resolution(7)).
MAX_LINKS = 40


class MaterialError(Exception):
    """A certificate cannot be served; the message is for the operator and names the file and the reason."""


class AbsentError(MaterialError):
    """Nothing is there yet, as opposed to something that is wrong."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The two files that a certificate is made of."""

    certificate: Path
    key: Path
    """The same path where one file holds both."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Each file once."""
        return (self.certificate,) if self.key == self.certificate else (self.certificate, self.key)


@dataclass(frozen=True, slots=True)
class Material:
    """The bytes of one certificate and key at one moment; equal material needs no reload."""

    name: str
    certificate_file: str
    """For messages: the path, or a word for where else the bytes come from."""
    key_file: str
    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    authorities: bytes = field(default=b"", repr=False, compare=False)
    """The `ca.crt` beside them, if any: a hint at who issued the certificate, which nothing is served from."""


@lru_cache(maxsize=4096)
def layouts(directory: Path, name: str) -> tuple[Layout, ...]:
    """Every place that is looked at for a certificate, in the order of the contract."""
    own = directory / name
    in_order = (
        Layout(own / "tls.crt", own / "tls.key"),
        *((Layout(directory / "tls.crt", directory / "tls.key"),) if name == "tls" else ()),
        Layout(own / "fullchain.pem", own / "privkey.pem"),
        Layout(directory / f"{name}.crt", directory / f"{name}.key"),
        Layout(directory / f"{name}.pem", directory / f"{name}.pem"),
    )
    return tuple(dict.fromkeys(in_order))


def find(directory: Path, name: str) -> Material:
    """Read the certificate of that name from the first layout that is complete.

    Raises:
        AbsentError: no layout has any file.
        MaterialError: a layout is half there and none is whole, or a file cannot be read.
    """
    layout = locate(directory, name)
    certificate = read(layout.certificate)
    key = certificate if layout.key == layout.certificate else read(layout.key)
    return Material(name, str(layout.certificate), str(layout.key), certificate, key, _authorities(layout))


def _authorities(layout: Layout) -> bytes:
    try:
        return read(layout.certificate.with_name("ca.crt"))
    except MaterialError:
        return b""


def locate(directory: Path, name: str) -> Layout:
    """The first layout of which every file exists.

    Raises:
        AbsentError: no layout has any file.
        MaterialError: one has only one of its two files, or the directory is none or cannot be looked into.
    """
    candidates = layouts(directory, name)
    half: MaterialError | None = None
    for layout in candidates:
        missing = [path for path in layout.files if not exists(path)]
        if not missing:
            return layout
        if len(missing) < len(layout.files) and half is None:
            present = layout.certificate if missing[0] == layout.key else layout.key
            half = MaterialError(f"{present} is there, but {missing[0]} is missing: both are needed")
    raise half or _absent(directory, name, candidates)


def exists(path: Path) -> bool:
    """Whether the name is taken; a link to nowhere counts, so that reading it can say where it points.

    Raises:
        MaterialError: nobody may ask.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(path, error) from None
    return True


def _absent(directory: Path, name: str, candidates: tuple[Layout, ...]) -> MaterialError:
    if directory.exists() and not directory.is_dir():
        return MaterialError(f"{directory} is not a directory: TLSPROXY_CERT_DIR must name one")
    if not directory.exists():
        return AbsentError(
            f"the directory {directory} does not exist: mount the certificate there, or set TLSPROXY_CERT_DIR"
        )
    tried = ", ".join(" + ".join(str(path) for path in layout.files) for layout in candidates)
    return AbsentError(
        f"no certificate named {name!r}; tried {tried}: mount one of these, or set TLSPROXY_CERT_NAME or "
        "TLSPROXY_CERT_DIR"
    )


def read(path: Path) -> bytes:
    """A regular file's content, at most `MAX_FILE` bytes; never waits, whatever lies at the path.

    Raises:
        MaterialError: it is no regular file, is too large, or cannot be read.
    """
    try:
        # Without O_NONBLOCK opening a FIFO waits for a writer, and with it the whole event loop.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise MaterialError(f"{path} is not a regular file")
            content = _content(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unreadable(path, error) from None
    if len(content) > MAX_FILE:
        raise MaterialError(f"{path} is larger than {MAX_FILE} bytes: a certificate chain and a key are a few KiB")
    return content


def _content(descriptor: int) -> bytes:
    """Up to one byte more than a file may have; a file object would take as long to make as a small file to read."""
    content = piece = os.read(descriptor, PIECE)
    while piece and len(content) <= MAX_FILE:
        piece = os.read(descriptor, MAX_FILE + 1 - len(content))
        content += piece
    return content


def _unreadable(path: Path, error: OSError) -> MaterialError:
    if isinstance(error, PermissionError):
        return MaterialError(
            f"{path} may not be read by uid {os.geteuid()}, gid {os.getegid()}{_ownership(path)}: "
            "grant it with chmod or chown, or in Kubernetes with fsGroup or defaultMode"
        )
    if isinstance(error, IsADirectoryError):
        return MaterialError(f"{path} is not a regular file")
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        return MaterialError(f"{path} links to {path.readlink()}, which is not there: mount what it points to")
    return MaterialError(f"{path} cannot be read: {error.strerror}")


def _ownership(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return ""
    return f" (mode {stat.S_IMODE(status.st_mode):04o}, owner {status.st_uid}:{status.st_gid})"


def directories(directory: Path, *names: str) -> Steps[frozenset[Path]]:
    """The directories whose entries decide what `find` reads for these names, as `ways` has them."""
    return ways(path for name in names for layout in layouts(directory, name) for path in layout.files)


def ways(paths: Iterable[Path]) -> Steps[frozenset[Path]]:
    """The directories whose entries decide what lies at these paths, with no link left in their own.

    A mounted Secret is changed by renaming the link `..data` beside the files, certbot's by a link in `live/`
    that points into `archive/`: so the directory of each link on the way to a file counts as well as its own.
    All of them exist: in place of one that does not, the nearest above it is where it will appear.
    """
    links = _Links()
    steps: set[str] = set()
    for path in paths:
        steps.update(_way(str(path.absolute()), links))
        yield None
    found: set[Path] = set()
    for step in steps:
        found.update(standing(Path(step)))
        yield None
    return frozenset(found)


def identities(directories: Iterable[Path]) -> Steps[dict[Path, tuple[int, int]]]:
    """What lies at each path, by device and inode; nothing for those that cannot be told.

    A directory that lies elsewhere from now on, since one above it was renamed or a volume was mounted over it, tells
    nobody: it has not changed itself.
    """
    found = {}
    for path in directories:
        with suppress(OSError):
            status = os.stat(path)  # noqa: PTH116  -- as for links: there may be thousands
            found[path] = status.st_dev, status.st_ino
        yield None
    return found


def standing(directory: Path) -> Iterator[Path]:
    """The nearest that exists; if it may not be read, so that nobody may watch it, one above it that tells of that."""
    for above in (directory, *directory.parents):
        if os.path.isdir(above):  # noqa: PTH112  -- where even that may not be asked, Path raises
            yield above
            if is_readable(above):
                return


def is_readable(path: Path) -> bool:
    """Whether it may be read, and if it is a directory be watched."""
    return os.access(path, os.R_OK, effective_ids=True)


class _Links(dict[str, str | None]):
    """Where each path leads that is a link, None for others and where nobody may ask.

    A thousand names have most of their ways in common.
    """

    def __missing__(self, path: str) -> str | None:
        try:
            target = os.readlink(path)  # noqa: PTH115  -- making a Path of each step would take twice as long
        except OSError:
            target = None
        self[path] = target
        return target


def _way(path: str, links: _Links) -> Iterator[str]:
    """The directory of each link on the way to an absolute path, then the directory of what lies at its end."""
    here = ""
    ahead = deque(path.split("/"))
    count = 0
    while ahead:
        part = ahead.popleft()
        if part in {"", "."}:
            continue
        step = here.rpartition("/")[0] if part == ".." else f"{here}/{part}"
        target = links[step] if step else None
        if target is None:
            here = step
            continue
        yield here or "/"
        count += 1
        if count > MAX_LINKS:
            return
        ahead.extendleft(reversed(target.split("/")))
        here = "" if target.startswith("/") else here
    yield here.rpartition("/")[0] or "/"
