"""Volumes for tests: releases with few words, and what another container would see."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from tlsproxy.companions.rollout.durable import GOING
from tlsproxy.companions.rollout.layouts import DATA
from tlsproxy.companions.rollout.releases import Releases, write_files

Layout = Literal["link", "files"]
LAYOUTS: tuple[Layout, ...] = ("link", "files")


def opened(volume: Path, layout: Layout = "link", keep: int = 10) -> Releases:
    releases = Releases(volume, layout, keep=keep)
    releases.open()
    return releases


def seal(releases: Releases, name: str, files: Mapping[str, str]) -> None:
    staged = releases.stage()
    write_files(staged, {path: content.encode() for path, content in files.items()})
    releases.seal(staged, name)


def publish(releases: Releases, name: str, files: Mapping[str, str]) -> None:
    seal(releases, name, files)
    releases.publish(name)


def seen(volume: Path) -> dict[str, str]:
    """The files that an app finds in the volume, by their paths, whatever way they are published."""
    entries = [path for path in volume.iterdir() if not path.name.startswith("..")]
    files = [path for entry in entries for path in (entry, *entry.rglob("*")) if path.is_file()]
    return {path.relative_to(volume).as_posix(): path.read_text() for path in sorted(files)}


def leftovers(volume: Path) -> list[str]:
    """What is neither a release nor published, in the whole volume."""
    return [str(path) for path in volume.rglob("*") if path.name.startswith(GOING) or path.name.endswith(".new")]


def data(volume: Path) -> str:
    """Where the link to what is current leads."""
    return str((volume / DATA).readlink())
