"""`tlsproxy check`: says what `run` would do with these settings, and exits with the status that `run` would."""

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING

from tlsproxy.admin.app_check import check_app
from tlsproxy.app_address import AppAddress
from tlsproxy.exits import Exit
from tlsproxy.listening import PortError, listen
from tlsproxy.open_files import make_room
from tlsproxy.sidecar import APP_CHECK_WITHIN, store
from tlsproxy.terminal import Terminal

if TYPE_CHECKING:
    from tlsproxy.settings import Settings


def check(settings: "Settings") -> Exit:
    """Look at everything that the settings name, say what is found, and change nothing.

    Returns:
        What would stop `run`, the first of: a certificate that can't be served, a port that can't be had. An app
        that does not answer stops nothing.
    """
    # What the rooms would log is said here in other words.
    logging.disable(logging.CRITICAL)
    terminal = Terminal(sys.stdout, os.environ)
    terminal.tick("settings: valid (`tlsproxy config` shows them)")
    outcomes = [_check_certificate(terminal, settings), _check_ports(terminal, settings)]
    _check_open_files(terminal, settings)
    _check_app(terminal, settings)
    return next((outcome for outcome in outcomes if outcome is not Exit.STOPPED), Exit.STOPPED)


def _check_certificate(terminal: Terminal, settings: "Settings") -> Exit:
    certificates = store(settings, ca_file=None)
    result = certificates.load()
    if certificates.generation is None:
        terminal.cross(f"certificate {settings.cert_name}: {result.message}")
        return Exit.CERTIFICATE
    terminal.tick(f"certificate {settings.cert_name}: {result.message}")
    for warning in certificates.generation.certificate.warnings:
        terminal.note(warning)
    return Exit.STOPPED


def _check_ports(terminal: Terminal, settings: "Settings") -> Exit:
    wanted = [
        ("TLSPROXY_ADMIN_PORT", settings.admin_host, settings.admin_port),
        ("TLSPROXY_LISTEN_PORT", settings.listen_host, settings.listen_port),
        ("TLSPROXY_REDIRECT_PORT", settings.listen_host, settings.redirect_port),
    ]
    outcome = Exit.STOPPED
    for variable, host, port in wanted:
        if not port:
            continue
        try:
            for sock in listen(host, port, variable):
                sock.close()
        except PortError as error:
            terminal.cross(str(error))
            outcome = Exit.PORT
        else:
            terminal.tick(f"{variable}={port}: free")
    return outcome


def _check_open_files(terminal: Terminal, settings: "Settings") -> None:
    room = make_room(settings.max_connections)
    if room.shortage:
        terminal.note(room.shortage)
    else:
        terminal.tick(f"open files: enough are allowed for {room.connections} client connections")


def _check_app(terminal: Terminal, settings: "Settings") -> None:
    address = AppAddress(settings.app_host, settings.app_port, str(settings.app_socket or ""))
    condition = asyncio.run(check_app(address, settings.app_check, APP_CHECK_WITHIN))
    if condition.ok:
        terminal.tick(f"app at {address}: " + ("answers" if settings.app_check != "off" else "not asked"))
    else:
        terminal.note(f"app at {address}: {condition.detail}; requests would be held for {settings.app_wait:g}s")
