"""Which certificates lie in a directory, by name, for TLSPROXY_CERT_NAME=*; nothing is read but what tells a pair.

A directory's entries stand for names as the layouts say. A lone NAME.crt is none (`ca.crt` lies beside
certificates), and a NAME.pem is one where a certificate and a private key are in it.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from tlsproxy.tls.files import AbsentError, MaterialError, locate, read, standing

# Who has no name of its own goes first, and is the default.
FIRST = "tls"
_OWN_FILES = ("tls.crt", "tls.key", "fullchain.pem", "privkey.pem")
_BOTH = (b"CERTIFICATE-----", b"PRIVATE KEY-----")


def discover(directory: Path, known: Collection[str] = ()) -> tuple[str, ...]:
    """The names of the certificates that are there, the default first, then in the order of the alphabet.

    Args:
        directory: TLSPROXY_CERT_DIR.
        known: names that were there before: each stays as long as any file of its is left.

    Raises:
        MaterialError: the directory cannot be looked into.
    """
    try:
        entries = {path.name: path for path in directory.iterdir() if not path.name.startswith(".")}
        found = set(_named(entries))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise MaterialError(f"{directory} cannot be looked into: {error.strerror}") from None
    found.update(name for name in known if name not in found and _is_left(directory, name))
    return tuple(sorted(found, key=lambda name: (name != FIRST, name)))


def places(directory: Path) -> Iterator[Path]:
    """Where certificates may come to lie: the directory, and those in it that may stand for a name."""
    yield from standing(directory)
    with suppress(OSError):
        yield from (path for path in directory.iterdir() if not path.name.startswith(".") and path.is_dir())


def _named(entries: dict[str, Path]) -> Iterator[str]:
    for name, path in entries.items():
        stem, dot, ending = name.rpartition(".")
        pair = dot and ((ending == "crt" and f"{stem}.key" in entries) or (ending == "pem" and _holds_both(path)))
        if pair:
            yield stem
        elif path.is_dir() and any(os.path.lexists(path / file) for file in _OWN_FILES):
            yield name


def _holds_both(path: Path) -> bool:
    try:
        content = read(path)
    except MaterialError:
        return False
    return all(mark in content for mark in _BOTH)


def _is_left(directory: Path, name: str) -> bool:
    """Whether any file of that name is there, or what is there cannot be told."""
    try:
        locate(directory, name)
    except AbsentError:
        return False
    except MaterialError:
        return True
    return True
