"""`tlsproxy check`: says what `run` would do with these settings, and exits with the status that `run` would."""

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tlsproxy.assembly import app_address, certificates, workers
from tlsproxy.chassis.admin.app_check import check_app
from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.open_files import make_room
from tlsproxy.chassis.port_check import check_ports
from tlsproxy.chassis.terminal import Terminal
from tlsproxy.client_rules import spell_rules
from tlsproxy.sidecar import APP_CHECK_WITHIN
from tlsproxy.tls.description import moment, report

if TYPE_CHECKING:
    from tlsproxy.settings import Settings
    from tlsproxy.tls.catalogue import Catalogue
    from tlsproxy.tls.trust_store import TrustStore


def check(settings: "Settings", asked: Sequence[str] = ()) -> Exit:
    """Look at everything that the settings name, say what is found, and change nothing.

    Args:
        settings: what `run` would be given.
        asked: names that clients might ask for by SNI; what they would be served with is said too.

    Returns:
        What would stop `run`, the first of: a certificate that can't be served, a port that can't be had. An app
        that does not answer stops nothing.
    """
    # What the rooms would log is said here in other words.
    logging.disable(logging.CRITICAL)
    terminal = Terminal(sys.stdout, os.environ)
    terminal.tick("settings: valid (`tlsproxy config` shows them)")
    outcomes = [_check_certificates(terminal, settings, asked), _check_ports(terminal, settings)]
    _check_open_files(terminal, settings)
    _check_app(terminal, settings)
    return next((outcome for outcome in outcomes if outcome is not Exit.STOPPED), Exit.STOPPED)


def _check_certificates(terminal: Terminal, settings: "Settings", asked: Sequence[str]) -> Exit:
    catalogue = certificates(settings, ca_file=None, checked={})
    catalogue.load()
    if catalogue.error is not None:
        terminal.cross(f"certificate {catalogue.name}: {catalogue.error.message}")
    for name, store in catalogue.stores.items():
        if store.generation is None:
            terminal.cross(f"certificate {name}: {store.last.message if store.last else ''}")
            continue
        terminal.tick(f"certificate {name}: {store.last.message if store.last else ''}")
        certificate = store.generation.certificate
        for line in (*report(certificate, datetime.now(UTC)), *(f"warning: {text}" for text in certificate.warnings)):
            terminal.note(line)
    for name in asked if catalogue.is_serving else ():
        _check_name(terminal, catalogue, name)
    if catalogue.trust is not None:
        _check_clients(terminal, settings, catalogue.trust)
    return Exit.STOPPED if catalogue.is_serving else Exit.CERTIFICATE


def _check_name(terminal: Terminal, catalogue: "Catalogue", name: str) -> None:
    served, fitting = catalogue.answer(name)
    told = " or ".join(f"certificate {one.name} ({one.key_type}, serial {one.serial})" for one in served)
    if fitting:
        terminal.tick(f"SNI {name}: {told}")
    elif served:
        terminal.cross(f"SNI {name}: no certificate is for it; clients get {told}, and refuse it")
    else:
        terminal.cross(f"SNI {name}: no certificate is for it; clients are refused")


def _check_clients(terminal: Terminal, settings: "Settings", store: "TrustStore") -> None:
    """Whom clients are verified with, and which rules are theirs."""
    trust = store.trust
    if trust is None:
        terminal.cross(f"client CAs: {store.error.message if store.error else ''}")
        return
    terminal.tick(f"client certificates: {settings.client_auth}, issued by {'; '.join(trust.authorities)}")
    terminal.note(f"let in by: {spell_rules(settings.client_allow) or 'no rule, whoever is verified'}")
    if settings.client_exempt:
        terminal.note(f"without a certificate: {', '.join(settings.client_exempt)} alone")
    if trust.revoked is not None:
        ends = f", until {moment(trust.list_ends)}" if trust.list_ends else ""
        terminal.note(f"revoked: {trust.revoked}{ends}")
    if trust.is_over(datetime.now(UTC)):
        terminal.cross("a revocation list is over: all clients of its CA are refused")
    for warning in trust.warnings:
        terminal.note(f"warning: {warning}")


def _check_ports(terminal: Terminal, settings: "Settings") -> Exit:
    wanted = (
        ("TLSPROXY_ADMIN_PORT", settings.admin_host, settings.admin_port),
        ("TLSPROXY_LISTEN_PORT", settings.listen_host, settings.listen_port),
        ("TLSPROXY_REDIRECT_PORT", settings.listen_host, settings.redirect_port),
    )
    return check_ports(terminal, wanted)


def _check_open_files(terminal: Terminal, settings: "Settings") -> None:
    room = make_room(settings.max_connections, workers(settings))
    if room.shortage:
        terminal.note(room.shortage)
    else:
        terminal.tick(f"open files: enough are allowed for {room.connections} client connections")


def _check_app(terminal: Terminal, settings: "Settings") -> None:
    address = app_address(settings)
    condition = asyncio.run(check_app(address, settings.app_check, APP_CHECK_WITHIN))
    if condition.ok:
        terminal.tick(f"app at {address}: " + ("answers" if settings.app_check != "off" else "not asked"))
    else:
        terminal.note(f"app at {address}: {condition.detail}; requests would be held for {settings.app_wait:g}s")
