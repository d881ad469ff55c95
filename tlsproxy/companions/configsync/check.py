"""`configsync check`: asks each source once, holds what comes to its formats, and looks at volume and ports.

Nothing is published, and the app is told of nothing.
"""

import asyncio
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.port_check import check_ports
from tlsproxy.chassis.terminal import Terminal
from tlsproxy.companions.configsync import assembly
from tlsproxy.companions.configsync.checking import UncheckedError
from tlsproxy.companions.configsync.sources.content import Content, Source, SourceError
from tlsproxy.companions.configsync.version import ClashError, version_of
from tlsproxy.companions.rollout.commands import CommandError
from tlsproxy.companions.rollout.outcomes import RefusedError
from tlsproxy.companions.rollout.processes import ProcessError, find
from tlsproxy.companions.rollout.releases import write_files

if TYPE_CHECKING:
    from tlsproxy.companions.configsync.settings import Settings


def check(settings: "Settings") -> Exit:
    """Look at everything that the settings name, say what is found, and change nothing.

    Returns:
        `Exit.PORT` for a port that can't be had, `Exit.FAILED` for a source that can't be read or gives what is
        refused, and for a volume that can't be written. An app that is not there is none of these: it may come.
    """
    logging.disable(logging.CRITICAL)
    terminal = Terminal(sys.stdout, os.environ)
    terminal.tick("settings: valid (`configsync config` shows them)")
    sources = asyncio.run(_check_sources(terminal, settings))
    outcomes = [sources, _check_volume(terminal, settings), _check_ports(terminal, settings)]
    _check_app(terminal, settings)
    return next((outcome for outcome in outcomes if outcome is not Exit.STOPPED), Exit.STOPPED)


async def _check_sources(terminal: Terminal, settings: "Settings") -> Exit:
    sources = assembly.sources(settings)
    try:
        fetched = [await _fetched(terminal, source) for source in sources]
    finally:
        for source in sources:
            await source.aclose()
    names = [source.name for source in sources]
    contents = [(name, content) for name, content in zip(names, fetched, strict=True) if content is not None]
    if len(contents) < len(sources):
        return Exit.FAILED
    try:
        version = version_of(contents)
        with tempfile.TemporaryDirectory() as name:
            write_files(Path(name), version.files)
            await assembly.checks(settings)(Path(name))
    except (ClashError, RefusedError, UncheckedError, CommandError, OSError) as error:
        terminal.cross(f"version: {error}")
        return Exit.FAILED
    terminal.tick(f"version {version.name}: {', '.join(sorted(version.files))}")
    return Exit.STOPPED


async def _fetched(terminal: Terminal, source: Source) -> Content | None:
    try:
        content = await source.fetch()
    except SourceError as error:
        terminal.cross(f"{source.name}: {error}")
        return None
    assert content is not None, "the first fetch gives all"
    terminal.tick(f"{source.name}: {len(content.files)} file(s), version {content.version}")
    return content


def _check_volume(terminal: Terminal, settings: "Settings") -> Exit:
    directory = settings.dir
    there = next(path for path in (directory, *directory.parents) if os.path.lexists(path))
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        terminal.tick(f"CONFIGSYNC_DIR={directory}: can be {'written' if there == directory else 'made'}")
        if there != directory:
            terminal.note(f"there is only {there}: is a volume mounted that the app mounts too?")
        return Exit.STOPPED
    reason = f"can't be written by user {os.geteuid()}" if there.is_dir() else "is no directory"
    terminal.cross(f"CONFIGSYNC_DIR={directory}: {there} {reason}; mount a volume that it may write")
    return Exit.FAILED


def _check_ports(terminal: Terminal, settings: "Settings") -> Exit:
    wanted = (
        ("CONFIGSYNC_ADMIN_PORT", settings.admin_host, settings.admin_port),
        ("CONFIGSYNC_CONTROL_PORT", settings.control_host, settings.control_port),
    )
    return check_ports(terminal, wanted)


def _check_app(terminal: Terminal, settings: "Settings") -> None:
    if settings.tell not in {"signal", "end"} or settings.tell_process is None:
        return
    try:
        pids = find(settings.tell_process)
    except ProcessError as error:
        terminal.note(f"app: {error}")
    else:
        terminal.tick(f"app: process {', '.join(map(str, pids))}")
