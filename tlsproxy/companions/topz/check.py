"""`topz check`: says what `run` would do with these settings and what it would see, and exits with its status."""

import os
import sys
from typing import TYPE_CHECKING

from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.port_check import check_ports
from tlsproxy.chassis.secrets import SecretFileError, secret_of
from tlsproxy.chassis.terminal import Terminal
from tlsproxy.companions.topz.look import Looks
from tlsproxy.companions.topz.masking import Masking
from tlsproxy.companions.topz.program import host_of

if TYPE_CHECKING:
    from tlsproxy.companions.topz.settings import Settings


def check(settings: "Settings") -> Exit:
    """Look at everything that the settings name, say what is found, and change nothing.

    Args:
        settings: what `run` would be given.

    Returns:
        What would stop `run`: a port that can't be had. A token that can't be read and processes that can't be looked
        at are told, and are what keeps /readyz from saying yes or anybody from being let in.
    """
    terminal = Terminal(sys.stdout, os.environ)
    terminal.tick("settings: valid (`topz config` shows them)")
    _check_token(terminal, settings)
    _check_processes(terminal, settings)
    return _check_ports(terminal, settings)


def _check_token(terminal: Terminal, settings: "Settings") -> None:
    token = secret_of(settings.token, settings.token_file)
    if token is None:
        terminal.tick(f"token: none, so the page is on {host_of(settings)} alone")
        return
    try:
        token()
    except SecretFileError as error:
        terminal.cross(f"token: {error}; nobody is let in")
    else:
        terminal.tick(f"token: set; the page is on {host_of(settings) or 'all addresses'}")


def _check_processes(terminal: Terminal, settings: "Settings") -> None:
    try:
        snapshot = Looks(str(settings.proc), Masking(settings.mask), pss=settings.pss).look()
    except OSError as error:
        terminal.cross(f"processes: {error}")
        return
    names = ", ".join(container.name for container in snapshot.containers)
    terminal.tick(f"processes: {len(snapshot.processes)} in {len(snapshot.containers)} containers ({names})")
    if len(snapshot.processes) == 1:
        terminal.note("only this one: the pod does not share its processes (shareProcessNamespace: true)")
    if unread := sum(process.pss is None and bool(process.rss) for process in snapshot.processes):
        terminal.note(
            f"{unread} may not be looked into, or not in the time of one look: no PSS, open files and sockets"
        )


def _check_ports(terminal: Terminal, settings: "Settings") -> Exit:
    wanted = (
        ("TOPZ_PORT", host_of(settings), settings.port),
        ("TOPZ_ADMIN_PORT", settings.admin_host, settings.admin_port),
    )
    return check_ports(terminal, wanted)
