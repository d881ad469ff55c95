"""Of what all sources have given, one version: its name, its files, where they are from. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tlsproxy.companions.configsync.sources.content import Content, file_and_directory

_NAME = 20
"""Hexadecimal digits of the digest: enough that no two versions have the same, and few enough for a command line."""


class ClashError(Exception):
    """Two sources give what can't lie side by side; the message names it."""


@dataclass(frozen=True, slots=True)
class Version:
    """All files of all sources at one moment."""

    files: Mapping[str, bytes]
    origin: str
    """Each source and what it calls its content, for people."""

    @property
    def name(self) -> str:
        """The same for the same files, whatever their source calls them."""
        digest = hashlib.sha256()
        for name in sorted(self.files):
            for part in (name.encode(), self.files[name]):
                digest.update(len(part).to_bytes(8) + part)
        return digest.hexdigest()[:_NAME]


def version_of(contents: Iterable[tuple[str, Content]]) -> Version:
    """What sources give together.

    Args:
        contents: each with its source's name, which is for people: two URLs that differ in their query have the same.

    Raises:
        ClashError: two of them give the same file, or one a file where the other has a directory.
    """
    files: dict[str, bytes] = {}
    origins: list[str] = []
    for source, content in contents:
        if twice := files.keys() & content.files.keys():
            raise ClashError(f"{min(twice)!r} is given by {source} and by another source")
        files |= content.files
        origins.append(f"{source} ({content.version})")
    if clash := file_and_directory(files):
        raise ClashError(f"{clash!r} is a file of one source and a directory of another")
    return Version(files, ", ".join(origins))
