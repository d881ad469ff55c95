"""Who may import what: the layers of the house, as tables, held against the imports of every module.

demo, bench and tests are free.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

import tlsproxy

ROOT = Path(tlsproxy.__file__).parent
FREE = ("tlsproxy.demo", "tlsproxy.companions.configsync.demo", "tlsproxy.companions.topz.demo")

LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "aiohttp": (
        "tlsproxy.proxy.server",
        "tlsproxy.proxy.feed",
        "tlsproxy.serving",
        "tlsproxy.chassis.http_server",
        "tlsproxy.companions.configsync.sources.client",
        "tlsproxy.companions.configsync.sources.http",  # names of fields, and the stream that it reads
        "tlsproxy.companions.configsync.sources.kubernetes",  # names a type
    ),
    "yarl": ("tlsproxy.companions.configsync.sources.client",),
    "httptools": ("tlsproxy.proxy.response_reader",),
    "ssl": (
        "tlsproxy.tls",
        "tlsproxy.sidecar",  # says OpenSSL's version when it starts and as a metric; opens no TLS
        "tlsproxy.serving",  # names a type
        "tlsproxy.companions.configsync.sources.credentials",
        "tlsproxy.chassis.imports",  # has aiohttp's client read no CAs; opens no TLS
    ),
    "cryptography": ("tlsproxy.tls",),
    "pydantic": (
        "tlsproxy.settings",
        "tlsproxy.chassis.environment",
        "tlsproxy.companions.rollout.variables",
        "tlsproxy.companions.configsync.settings",
        "tlsproxy.companions.topz.settings",
    ),
    "pydantic_settings": ("tlsproxy.chassis.environment",),
    "pydantic_core": ("tlsproxy.chassis.environment",),
    "annotated_types": (
        "tlsproxy.settings",
        "tlsproxy.chassis.environment",
        "tlsproxy.chassis.kinds",  # bounds as plain values; they are pydantic's words, and nothing of it
        "tlsproxy.companions.topz.settings",
        "tlsproxy.companions.rollout.variables",
    ),
    "prometheus_client": ("tlsproxy.chassis.admin.metrics",),
    "watchfiles": ("tlsproxy.tls.watch",),
    "uvloop": ("tlsproxy.chassis.life",),
    "asyncio": (
        "tlsproxy.admission",  # names a type
        "tlsproxy.proxy.feed",  # names the loop that aiohttp's parser wants
        "tlsproxy.proxy.app_reads",
        "tlsproxy.proxy.relay",
        "tlsproxy.proxy.tunnel",
        "tlsproxy.proxy.upstream",
        "tlsproxy.proxy.pool",
        "tlsproxy.proxy.front",
        "tlsproxy.proxy.server",
        "tlsproxy.tls.connection",
        "tlsproxy.tls.handshake_turns",
        "tlsproxy.tls.proxy_header",
        "tlsproxy.tls.steps",
        "tlsproxy.tls.watch",
        "tlsproxy.chassis.http_server",
        "tlsproxy.chassis.accepting",
        "tlsproxy.chassis.admin.app_check",
        "tlsproxy.chassis.life",
        "tlsproxy.chassis.following",
        "tlsproxy.chassis.command_line",  # loads it before a fork, and uses nothing of it
        "tlsproxy.chassis.pulse",
        "tlsproxy.serving",
        "tlsproxy.sidecar",
        "tlsproxy.workers.channel",
        "tlsproxy.workers.remote",
        "tlsproxy.workers.worker",
        "tlsproxy.workers.supervisor",
        "tlsproxy.chassis.signals",
        "tlsproxy.check",
        "tlsproxy.companions.rollout.rollout",
        "tlsproxy.companions.rollout.processes",
        "tlsproxy.companions.rollout.commands",
        "tlsproxy.companions.rollout.telling",
        "tlsproxy.companions.rollout.watching",
        "tlsproxy.companions.configsync.sources.client",
        "tlsproxy.companions.configsync.sources.etcd",
        "tlsproxy.companions.configsync.sources.follower",
        "tlsproxy.companions.configsync.sources.http",
        "tlsproxy.companions.configsync.sources.kubernetes",
        "tlsproxy.companions.rollout.threads",
        "tlsproxy.companions.topz.looking",
        "tlsproxy.companions.topz.serving",
        "tlsproxy.companions.topz.program",
        "tlsproxy.companions.configsync.check",
        "tlsproxy.companions.configsync.program",
    ),
    "socket": (
        "tlsproxy.admission",  # names a type
        "tlsproxy.chassis.accepting",
        "tlsproxy.chassis.listening",
        "tlsproxy.chassis.http_server",  # names a type
        "tlsproxy.chassis.admin",
        "tlsproxy.chassis.health",
        "tlsproxy.serving",  # names a type
        "tlsproxy.workers",
        "tlsproxy.proxy.tunnel",  # ends the app's connection with a reset
        "tlsproxy.companions.configsync.control",  # names a type
    ),
    "select": ("tlsproxy.proxy.upstream", "tlsproxy.chassis.output", "tlsproxy.workers.nursery"),
    "signal": (
        "tlsproxy.chassis.signals",
        "tlsproxy.chassis.life",  # has none change what the process ends with
        "tlsproxy.chassis.command_line",  # has none end what has only begun
        "tlsproxy.sidecar",
        "tlsproxy.serving",
        "tlsproxy.workers",
        "tlsproxy.chassis.settings_process",  # its child leaves SIGINT to the parent
        "tlsproxy.companions.rollout.processes",
        "tlsproxy.companions.rollout.commands",
        "tlsproxy.companions.rollout.telling",
        "tlsproxy.companions.topz.program",
        "tlsproxy.companions.rollout.variables",  # names a type
        "tlsproxy.companions.configsync.program",
    ),
    "yaml": ("tlsproxy.companions.configsync.yaml_documents",),
    "jsonschema": ("tlsproxy.companions.configsync.schemas",),
    "referencing": ("tlsproxy.companions.configsync.schemas",),
    "threading": (
        "tlsproxy.companions.topz.looking",  # a file of /proc may keep its reader waiting
    ),
    "subprocess": ("tlsproxy.companions.rollout.commands",),
    "psutil": ("tlsproxy.companions.topz.detail",),
    "ctypes": ("tlsproxy.chassis.heap", "tlsproxy.chassis.hardening"),
}
"""Each library and the rooms and modules that may know it; nobody else may."""

SHARED = (
    "tlsproxy.chassis.measures",
    "tlsproxy.chassis.app_address",
    "tlsproxy.proxy_protocol",
    "tlsproxy.chassis.repeats",
    "tlsproxy.client_rules",
)
"""Plain values that every room may make."""

ROOMS: Mapping[str, tuple[str, ...]] = {
    "tlsproxy.tls": ("tlsproxy.tls", *SHARED),
    "tlsproxy.proxy": ("tlsproxy.proxy", *SHARED),
    "tlsproxy.chassis": (),
    "tlsproxy.chassis.accepting": ("tlsproxy.chassis.repeats",),
    "tlsproxy.chassis.http_server": ("tlsproxy.chassis.accepting", "tlsproxy.chassis.secrets"),
    "tlsproxy.chassis.admin": ("tlsproxy.chassis.admin", "tlsproxy.chassis.http_server", *SHARED),
    "tlsproxy.chassis.measures": (),
    "tlsproxy.chassis.app_address": (),
    "tlsproxy.proxy_protocol": (),
    "tlsproxy.chassis.repeats": (),
    "tlsproxy.client_rules": (),
    "tlsproxy.chassis.exits": (),
    "tlsproxy.chassis.kinds": (),
    "tlsproxy.chassis.secrets": (),
    "tlsproxy.chassis.environment": ("tlsproxy.chassis.kinds", "tlsproxy.chassis.secrets"),
    "tlsproxy.chassis.everywhere": ("tlsproxy.chassis.environment", "tlsproxy.chassis.kinds"),
    "tlsproxy.chassis.verbs": (),
    "tlsproxy.chassis.documents": (
        "tlsproxy.chassis.environment",
        "tlsproxy.chassis.exits",
        "tlsproxy.chassis.measures",
        "tlsproxy.chassis.verbs",
        "tlsproxy.chassis.admin.metrics",
    ),
    "tlsproxy.chassis.command_line": (
        "tlsproxy.chassis.verbs",
        "tlsproxy.chassis.exits",
        "tlsproxy.chassis.hardening",
        "tlsproxy.chassis.environment",
        "tlsproxy.chassis.settings_process",
        "tlsproxy.chassis.diagnostics",
        "tlsproxy.chassis.documents",
        "tlsproxy.chassis.health",
    ),
    "tlsproxy.settings": (
        "tlsproxy.settings_kinds",
        "tlsproxy.chassis.environment",
        "tlsproxy.chassis.kinds",
        "tlsproxy.client_rules",
    ),
    "tlsproxy.settings_kinds": ("tlsproxy.chassis.kinds", "tlsproxy.client_rules"),
    "tlsproxy.chassis.settings_process": ("tlsproxy.chassis.environment", "tlsproxy.chassis.exits"),
    "tlsproxy.chassis.diagnostics": ("tlsproxy.chassis.output", "tlsproxy.chassis.repeats"),
    "tlsproxy.chassis.terminal": ("tlsproxy.chassis.diagnostics",),
    "tlsproxy.chassis.output": ("tlsproxy.chassis.measures", "tlsproxy.chassis.repeats", "tlsproxy.chassis.turns"),
    "tlsproxy.chassis.turns": (),
    "tlsproxy.chassis.port_check": (
        "tlsproxy.chassis.exits",
        "tlsproxy.chassis.listening",
        "tlsproxy.chassis.terminal",
    ),
    "tlsproxy.chassis.listening": (),
    "tlsproxy.admission": ("tlsproxy.chassis.accepting", "tlsproxy.chassis.repeats", "tlsproxy.chassis.measures"),
    "tlsproxy.chassis.open_files": (),
    "tlsproxy.chassis.heap": (),
    "tlsproxy.chassis.imports": (),
    "tlsproxy.chassis.hardening": (),
    "tlsproxy.chassis.signals": ("tlsproxy.chassis.diagnostics",),
    "tlsproxy.chassis.health": ("tlsproxy.chassis.exits",),
    "tlsproxy.chassis.following": (),
    "tlsproxy.chassis.pulse": ("tlsproxy.chassis.admin.health", "tlsproxy.chassis.measures"),
    "tlsproxy.chassis.life": (
        "tlsproxy.chassis.admin",
        "tlsproxy.chassis.exits",
        "tlsproxy.chassis.listening",
        "tlsproxy.chassis.signals",
        "tlsproxy.chassis.measures",
    ),
    "tlsproxy.assembly": (
        "tlsproxy.tls",
        "tlsproxy.proxy",
        "tlsproxy.chassis.output",
        "tlsproxy.settings",
        "tlsproxy.workers.cpus",
        "tlsproxy.workers.shares",
        *SHARED,
    ),
    "tlsproxy.serving": (
        "tlsproxy.assembly",
        "tlsproxy.tls",
        "tlsproxy.proxy",
        "tlsproxy.admission",
        "tlsproxy.chassis.diagnostics",
        "tlsproxy.chassis.admin.health",
        "tlsproxy.chassis.heap",
        "tlsproxy.chassis.output",
        "tlsproxy.chassis.turns",
        "tlsproxy.chassis.pulse",
        "tlsproxy.settings",
        *SHARED,
    ),
    "tlsproxy.workers": (),
    "tlsproxy.workers.sums": ("tlsproxy.chassis.measures",),
    "tlsproxy.workers.messages": ("tlsproxy.chassis.measures",),
    "tlsproxy.workers.nursery": ("tlsproxy.chassis.exits",),
    "tlsproxy.workers.worker": (
        "tlsproxy.workers.messages",
        "tlsproxy.workers.channel",
        "tlsproxy.chassis.turns",
        "tlsproxy.assembly",
        "tlsproxy.serving",
        "tlsproxy.chassis.life",
        "tlsproxy.chassis.signals",
        "tlsproxy.tls.catalogue",
        "tlsproxy.settings",
        "tlsproxy.chassis.exits",
        *SHARED,
    ),
    "tlsproxy.workers.remote": ("tlsproxy.workers.messages", "tlsproxy.workers.channel"),
    "tlsproxy.workers.supervisor": (
        "tlsproxy.workers.messages",
        "tlsproxy.workers.channel",
        "tlsproxy.workers.remote",
        "tlsproxy.workers.nursery",
        "tlsproxy.workers.restarts",
        "tlsproxy.workers.shares",
        "tlsproxy.workers.sums",
        "tlsproxy.chassis.admin.health",
        "tlsproxy.chassis.diagnostics",
        "tlsproxy.chassis.life",
        "tlsproxy.chassis.listening",
        "tlsproxy.chassis.output",
        "tlsproxy.proxy.limits",
        "tlsproxy.chassis.signals",
        "tlsproxy.tls.catalogue",
        "tlsproxy.settings",
        "tlsproxy.chassis.exits",
        *SHARED,
    ),
    "tlsproxy.sidecar": (
        "tlsproxy.assembly",
        "tlsproxy.serving",
        "tlsproxy.chassis.life",
        "tlsproxy.chassis.admin",
        "tlsproxy.tls",
        "tlsproxy.proxy.feed",  # has the parser checked before anything is opened
        "tlsproxy.proxy.limits",
        "tlsproxy.workers",
        "tlsproxy.chassis.listening",
        "tlsproxy.chassis.open_files",
        "tlsproxy.chassis.following",
        "tlsproxy.settings",
        "tlsproxy.chassis.exits",
        *SHARED,
    ),
    "tlsproxy.contract": (
        "tlsproxy.settings",
        "tlsproxy.verbs",
        "tlsproxy.chassis",
        "tlsproxy.admission",
        "tlsproxy.proxy",  # reads what the rooms declare, when a document is made
        "tlsproxy.tls",
        "tlsproxy.serving",
        "tlsproxy.sidecar",
        *SHARED,
    ),
    "tlsproxy.check": (
        "tlsproxy.assembly",
        "tlsproxy.sidecar",
        "tlsproxy.tls.description",
        "tlsproxy.tls.catalogue",  # a type alone
        "tlsproxy.chassis.admin.app_check",
        "tlsproxy.settings",
        "tlsproxy.chassis.exits",
        "tlsproxy.chassis.port_check",
        "tlsproxy.chassis.open_files",
        "tlsproxy.chassis.terminal",
        "tlsproxy.tls.trust_store",
        *SHARED,
    ),
    "tlsproxy.inject": ("tlsproxy.inject", "tlsproxy.settings", "tlsproxy.chassis.environment"),
    "tlsproxy.inject.command": (
        "tlsproxy.inject",
        "tlsproxy.settings",
        "tlsproxy.chassis.environment",
        "tlsproxy.chassis.exits",
        "tlsproxy.chassis.diagnostics",  # shows names from a manifest without what they could do to a terminal
    ),
    "tlsproxy.import_nginx": ("tlsproxy.import_nginx", "tlsproxy.settings", "tlsproxy.chassis.environment"),
    "tlsproxy.import_nginx.command": (
        "tlsproxy.import_nginx",
        "tlsproxy.settings",
        "tlsproxy.chassis.environment",
        "tlsproxy.chassis.exits",
        "tlsproxy.chassis.diagnostics",
    ),
    "tlsproxy.verbs": ("tlsproxy.chassis.verbs", "tlsproxy.inject.options", "tlsproxy.import_nginx.options"),
    "tlsproxy.cli": (
        "tlsproxy.chassis",
        "tlsproxy.verbs",
        "tlsproxy.settings",
        "tlsproxy.sidecar",
        "tlsproxy.check",
        "tlsproxy.demo",
        "tlsproxy.inject.command",
        "tlsproxy.import_nginx.command",
        "tlsproxy.tls.first_look",  # is taken where the settings are read
        "tlsproxy.tls.certificate",  # a type alone
        "tlsproxy.tls.development",  # `dev-cert` is this module's function and nothing else
        "tlsproxy.tls.files",
    ),
    "tlsproxy.__main__": ("tlsproxy.cli",),
    "tlsproxy.companions": (),
    "tlsproxy.companions.rollout": ("tlsproxy.companions.rollout", "tlsproxy.chassis.measures"),
    "tlsproxy.companions.configsync.contract": (
        "tlsproxy.companions.configsync",
        "tlsproxy.companions.rollout",
        "tlsproxy.chassis",
    ),
    "tlsproxy.companions.rollout.rollout": ("tlsproxy.companions.rollout", *SHARED),
    "tlsproxy.companions.rollout.variables": (
        "tlsproxy.chassis.environment",
        "tlsproxy.chassis.kinds",
        "tlsproxy.companions.rollout",
    ),
    "tlsproxy.companions.configsync.__main__": ("tlsproxy.companions.configsync.cli",),
    "tlsproxy.companions.configsync.cli": ("tlsproxy.chassis", "tlsproxy.companions.configsync"),
    "tlsproxy.companions.configsync.words": ("tlsproxy.chassis.verbs",),
    "tlsproxy.companions.configsync.settings": (
        "tlsproxy.chassis.environment",
        "tlsproxy.chassis.everywhere",
        "tlsproxy.chassis.kinds",
        "tlsproxy.chassis.secrets",
        "tlsproxy.companions.configsync.formats",
        "tlsproxy.companions.configsync.sources.addresses",
        "tlsproxy.companions.rollout.variables",
    ),
    "tlsproxy.companions.configsync.version": ("tlsproxy.companions.configsync.sources.content",),
    "tlsproxy.companions.configsync.assembly": (
        "tlsproxy.chassis.secrets",
        "tlsproxy.companions.configsync.checking",
        "tlsproxy.companions.configsync.formats",
        "tlsproxy.companions.configsync.settings",
        "tlsproxy.companions.configsync.sources",
        "tlsproxy.companions.rollout",
    ),
    "tlsproxy.companions.configsync.control": (
        "tlsproxy.chassis.http_server",
        "tlsproxy.chassis.secrets",
        "tlsproxy.companions.configsync.settings",
        "tlsproxy.companions.rollout",
    ),
    "tlsproxy.companions.configsync.asking": (
        "tlsproxy.chassis.diagnostics",
        "tlsproxy.chassis.exits",
        "tlsproxy.chassis.secrets",
        "tlsproxy.companions.configsync.control",
        "tlsproxy.companions.configsync.settings",
    ),
    "tlsproxy.companions.configsync.program": (
        "tlsproxy.chassis",
        "tlsproxy.companions.configsync",
        "tlsproxy.companions.rollout",
    ),
    "tlsproxy.companions.configsync.check": (
        "tlsproxy.chassis",
        "tlsproxy.companions.configsync",
        "tlsproxy.companions.rollout",
    ),
    "tlsproxy.companions.configsync.file_data": (),
    "tlsproxy.companions.configsync.yaml_documents": ("tlsproxy.companions.configsync.file_data",),
    "tlsproxy.companions.configsync.parsers": (
        "tlsproxy.companions.configsync.file_data",
        "tlsproxy.companions.configsync.yaml_documents",
    ),
    "tlsproxy.companions.configsync.schemas": (
        "tlsproxy.companions.configsync.file_data",
        "tlsproxy.companions.configsync.parsers",
    ),
    "tlsproxy.companions.configsync.formats": (),
    "tlsproxy.companions.configsync.check_process": (
        "tlsproxy.companions.configsync.file_data",
        "tlsproxy.companions.configsync.formats",
        "tlsproxy.companions.configsync.parsers",
        "tlsproxy.companions.configsync.schemas",
    ),
    "tlsproxy.companions.configsync.checking": (
        "tlsproxy.companions.configsync.check_process",  # its exit statuses: what it loads, it loads when it runs
        "tlsproxy.companions.configsync.formats",
        "tlsproxy.companions.rollout.commands",
    ),
    "tlsproxy.companions.rollout.addresses": ("tlsproxy.chassis.app_address",),
    "tlsproxy.companions.rollout.processes": (),
    "tlsproxy.companions.rollout.commands": ("tlsproxy.companions.rollout.processes",),
    "tlsproxy.companions.rollout.telling": (
        "tlsproxy.chassis.admin.app_check",
        "tlsproxy.companions.rollout.addresses",
        "tlsproxy.companions.rollout.commands",
        "tlsproxy.companions.rollout.processes",
    ),
    "tlsproxy.companions.rollout.watching": (
        "tlsproxy.chassis.admin.app_check",
        "tlsproxy.companions.rollout.addresses",
    ),
    "tlsproxy.companions.configsync.sources": (
        "tlsproxy.companions.configsync.sources",
        "tlsproxy.chassis.kinds",
        "tlsproxy.chassis.secrets",
        *SHARED,
    ),
    "tlsproxy.companions.topz": ("tlsproxy.companions.topz",),
    "tlsproxy.companions.topz.check": ("tlsproxy.companions.topz", "tlsproxy.chassis"),
    "tlsproxy.companions.topz.contract": ("tlsproxy.companions.topz", "tlsproxy.chassis"),
    "tlsproxy.companions.topz.looking": ("tlsproxy.companions.topz.snapshot", "tlsproxy.chassis.admin.health"),
    "tlsproxy.companions.topz.measures": ("tlsproxy.companions.topz.snapshot", "tlsproxy.chassis.measures"),
    "tlsproxy.companions.topz.serving": ("tlsproxy.companions.topz", "tlsproxy.chassis.http_server"),
    "tlsproxy.companions.topz.program": ("tlsproxy.companions.topz", "tlsproxy.chassis"),
    "tlsproxy.companions.topz.processes": ("tlsproxy.companions.topz", "tlsproxy.chassis.diagnostics"),
    "tlsproxy.companions.topz.detail": ("tlsproxy.companions.topz", "tlsproxy.chassis.diagnostics"),
    "tlsproxy.companions.topz.settings": ("tlsproxy.chassis.environment", "tlsproxy.chassis.kinds"),
    "tlsproxy.companions.topz.verbs": ("tlsproxy.chassis.verbs",),
    "tlsproxy.companions.topz.cli": ("tlsproxy.companions.topz", "tlsproxy.chassis"),
}
"""Each room or module and what of the house it may know; of the package itself everyone may know the version."""

CHASSIS = ("tlsproxy.chassis",)
"""What every sidecar of the family is built on, and the proxy is one of them."""

STRANGERS: Mapping[str, tuple[str, ...]] = {
    "tlsproxy.proxy.front": ("server", "pool", "upstream", "exchange", "redirect", "fixes"),
    "tlsproxy.proxy.server": ("pool", "upstream", "exchange", "redirect", "fixes"),
    "tlsproxy.proxy.exchange": ("front", "feed", "request_log"),
    "tlsproxy.proxy.redirect": ("front", "feed", "pool", "upstream"),
    "tlsproxy.proxy.pool": ("front", "feed", "exchange", "journal"),
    "tlsproxy.proxy.upstream": ("front", "feed", "exchange", "pool", "fixes"),
    "tlsproxy.proxy.relay": ("front", "feed", "exchange", "heads", "server"),
    "tlsproxy.proxy.tunnel": ("front", "feed", "exchange", "pool", "upstream", "heads", "server"),
    "tlsproxy.proxy.response_reader": ("front", "feed", "exchange", "pool", "upstream", "journal", "fixes"),
    "tlsproxy.proxy.feed": ("front", "exchange", "pool", "upstream", "heads"),
}
"""Who of one room does not know whom, so that each side of the seam can be another: a Stream, an Upstream."""

OUTSIDE_WORLD = frozenset({"asyncio", "socket", "select", "selectors", "ssl", "threading", "subprocess", "signal"})
CLOCKS_AND_MORE = OUTSIDE_WORLD | {"time", "datetime", "os", "logging", "random", "sys"}
PURE: Mapping[str, frozenset[str]] = {
    "tlsproxy.proxy.heads": CLOCKS_AND_MORE,
    "tlsproxy.proxy.forwarding": CLOCKS_AND_MORE,
    "tlsproxy.proxy.fixes": CLOCKS_AND_MORE,
    "tlsproxy.proxy.refusals": CLOCKS_AND_MORE,
    "tlsproxy.proxy.limits": CLOCKS_AND_MORE,
    "tlsproxy.proxy.request": CLOCKS_AND_MORE,
    "tlsproxy.proxy.tally": CLOCKS_AND_MORE,
    "tlsproxy.chassis.measures": CLOCKS_AND_MORE,
    "tlsproxy.workers.restarts": CLOCKS_AND_MORE,
    "tlsproxy.workers.shares": CLOCKS_AND_MORE,
    "tlsproxy.workers.sums": CLOCKS_AND_MORE,
    "tlsproxy.workers.messages": CLOCKS_AND_MORE,
    "tlsproxy.chassis.app_address": CLOCKS_AND_MORE,
    "tlsproxy.companions.rollout.addresses": CLOCKS_AND_MORE,
    "tlsproxy.companions.configsync.file_data": CLOCKS_AND_MORE,
    "tlsproxy.companions.configsync.formats": CLOCKS_AND_MORE,
    "tlsproxy.companions.configsync.parsers": CLOCKS_AND_MORE,
    "tlsproxy.companions.configsync.schemas": CLOCKS_AND_MORE,
    "tlsproxy.companions.configsync.yaml_documents": CLOCKS_AND_MORE,
    "tlsproxy.proxy_protocol": CLOCKS_AND_MORE,
    "tlsproxy.chassis.repeats": CLOCKS_AND_MORE,
    "tlsproxy.client_rules": CLOCKS_AND_MORE,
    "tlsproxy.proxy.head_mending": CLOCKS_AND_MORE,
    "tlsproxy.proxy.response_reader": CLOCKS_AND_MORE,
    "tlsproxy.inject.documents": CLOCKS_AND_MORE,
    "tlsproxy.inject.edits": CLOCKS_AND_MORE,
    "tlsproxy.inject.manifest": CLOCKS_AND_MORE,
    "tlsproxy.inject.paths": CLOCKS_AND_MORE,
    "tlsproxy.inject.pods": CLOCKS_AND_MORE,
    "tlsproxy.inject.probes": CLOCKS_AND_MORE,
    "tlsproxy.inject.refusals": CLOCKS_AND_MORE,
    "tlsproxy.inject.rendering": CLOCKS_AND_MORE,
    "tlsproxy.inject.rewriting": CLOCKS_AND_MORE,
    "tlsproxy.inject.services": CLOCKS_AND_MORE,
    "tlsproxy.inject.sidecar": CLOCKS_AND_MORE,
    "tlsproxy.inject.workloads": CLOCKS_AND_MORE,
    "tlsproxy.import_nginx.conversions": CLOCKS_AND_MORE,
    "tlsproxy.import_nginx.directives": CLOCKS_AND_MORE,
    "tlsproxy.import_nginx.findings": CLOCKS_AND_MORE,
    "tlsproxy.import_nginx.images": CLOCKS_AND_MORE,
    "tlsproxy.import_nginx.report": CLOCKS_AND_MORE,
    "tlsproxy.import_nginx.servers": CLOCKS_AND_MORE,
    "tlsproxy.companions.configsync.sources.addresses": CLOCKS_AND_MORE,
    "tlsproxy.companions.configsync.version": CLOCKS_AND_MORE,
    "tlsproxy.companions.configsync.sources.content": CLOCKS_AND_MORE,
    "tlsproxy.companions.configsync.sources.events": CLOCKS_AND_MORE,
    "tlsproxy.companions.configsync.sources.shapes": CLOCKS_AND_MORE,
    "tlsproxy.companions.topz.containers": CLOCKS_AND_MORE,
    "tlsproxy.companions.topz.data": CLOCKS_AND_MORE,
    "tlsproxy.companions.topz.columns": CLOCKS_AND_MORE,
    "tlsproxy.companions.topz.masking": CLOCKS_AND_MORE,
    "tlsproxy.companions.topz.measures": CLOCKS_AND_MORE,
    "tlsproxy.companions.topz.negotiation": CLOCKS_AND_MORE,
    "tlsproxy.companions.topz.question": CLOCKS_AND_MORE,
    "tlsproxy.companions.topz.rows": CLOCKS_AND_MORE,
    "tlsproxy.companions.topz.snapshot": CLOCKS_AND_MORE,
    "tlsproxy.proxy.request_log": OUTSIDE_WORLD,
    "tlsproxy.proxy.journal": OUTSIDE_WORLD,
}
"""Modules that are values in, values out, and what they may not even import."""

READS_ENVIRONMENT = (
    "tlsproxy.chassis.environment",
    "tlsproxy.check",  # hands NO_COLOR and TERM to the terminal; reads no setting
    "tlsproxy.companions.rollout.commands",  # hands PATH, LANG and HOME on
    "tlsproxy.companions.topz.check",  # the same
    "tlsproxy.companions.configsync.check",  # as tlsproxy.check
)
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv"}

# ---------------------------------------------------------------------------- the house as it is


def modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text())
    return found


def within(name: str, places: tuple[str, ...]) -> bool:
    """Whether a module is one of these or in one of these packages."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


MODULES = modules()
HELD = [name for name in MODULES if not within(name, FREE)]


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported, anywhere; of `from package import module` the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            inner = [name for name in names if name in MODULES]
            yield from inner
            if len(inner) < len(names):
                yield node.module


@cache
def known_to(name: str) -> frozenset[str]:
    return frozenset(imports(MODULES[name]))


# ---------------------------------------------------------------------------- the rules


@pytest.mark.parametrize("library", LIBRARIES)
def test_libraries_keep_to_their_rooms(library: str) -> None:
    """A library is known where the table says, and nowhere else."""
    allowed = LIBRARIES[library]
    knowing = [name for name in HELD if any(known.split(".")[0] == library for known in known_to(name))]
    assert [name for name in knowing if not within(name, allowed)] == []
    assert [place for place in allowed if not any(within(name, (place,)) for name in knowing)] == [], "no longer so"


def inner_to(name: str) -> list[str]:
    """What of ours a module knows, but for the package itself."""
    return sorted(known for known in known_to(name) if within(known, ("tlsproxy",)) and known != "tlsproxy")


def room_of(name: str) -> str:
    """The row of ROOMS for a module: the longest that it is in."""
    return max((room for room in ROOMS if within(name, (room,))), key=len, default="")


def test_rooms_know_only_those_below() -> None:
    """Imports point one way: cli, sidecar, then tls, proxy and admin, which do not know each other."""
    rooms = {name: room_of(name) for name in HELD if name != "tlsproxy"}
    assert [name for name, room in rooms.items() if not room] == [], "no row in ROOMS"
    wrong = {
        name: [known for known in inner_to(name) if not within(known, ROOMS[room])] for name, room in rooms.items()
    }
    assert {name: known for name, known in wrong.items() if known} == {}


def test_the_chassis_knows_no_program() -> None:
    """Another sidecar is built on it without the proxy, its certificates or its settings, by whatever way round."""
    reached = {name for name in MODULES if within(name, CHASSIS)}
    while more := {known for name in reached for known in known_to(name) if known in MODULES} - reached:
        reached |= more
    assert sorted(name for name in reached if not within(name, CHASSIS)) == ["tlsproxy"]


def test_the_proxy_knows_no_companion() -> None:
    """What others do beside the proxy is neither loaded nor known by it, and they know nothing of one another."""
    knowing = {name: known_to(name) for name in MODULES}
    companions = {name.split(".")[2] for name in MODULES if name.startswith("tlsproxy.companions.")}
    for companion in companions:
        own = (f"tlsproxy.companions.{companion}",)
        # What several are built on is known to those.
        knowers = ("tlsproxy.companions",) if companion == "rollout" else own
        others = [name for name in MODULES if not within(name, knowers)]
        assert [name for name in others if any(within(known, own) for known in knowing[name])] == []


@pytest.mark.parametrize("name", STRANGERS)
def test_strangers_do_not_know_each_other(name: str) -> None:
    """Both sides of a seam know the seam alone."""
    room = name.rpartition(".")[0]
    assert known_to(name) & {f"{room}.{stranger}" for stranger in STRANGERS[name]} == set()


@pytest.mark.parametrize("name", PURE)
def test_pure_modules(name: str) -> None:
    """Decisions are made without sockets, loops and, where it says so, clocks."""
    assert {known.split(".")[0] for known in known_to(name)} & PURE[name] == set()


def test_the_pools_decisions_are_pure() -> None:
    """Lending uses nothing that the module imports for doing what it decides."""
    tree = MODULES["tlsproxy.proxy.pool"]
    (lending,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Lending"]
    used = {node.id for node in ast.walk(lending) if isinstance(node, ast.Name)}
    assert used & {"asyncio", "monotonic", "Upstream", "Pool", "Timeouts", "Tally"} == set()
    assert not [node for node in ast.walk(lending) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]


def test_there_are_no_cycles() -> None:
    """No module knows itself, by whatever way round."""
    below = {name: {known for known in known_to(name) if known in MODULES} for name in MODULES}
    while leaves := {name for name, known in below.items() if not known}:
        below = {name: known - leaves for name, known in below.items() if name not in leaves}
    assert below == {}


def test_no_program_is_started() -> None:
    """Processes are forks; no other program takes the place of one or is started, by `os` either."""
    starting = ("exec", "spawn", "posix_spawn", "system", "popen", "startfile")
    told = {name: [used for used in reached_in_os(name) if used.startswith(starting)] for name in HELD}
    assert {name: how for name, how in told.items() if how} == {}


def reached_in_os(name: str) -> set[str]:
    """What of `os` a module names."""
    reached = {
        node.attr
        for node in ast.walk(MODULES[name])
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    imported = {
        alias.name
        for node in ast.walk(MODULES[name])
        if isinstance(node, ast.ImportFrom) and node.module == "os"
        for alias in node.names
    }
    return reached | imported


def test_the_environment_is_read_in_one_place() -> None:
    """Settings are handed down; nobody reaches for os.environ."""
    told = {name: reached_in_os(name) & ENVIRONMENT for name in HELD if not within(name, READS_ENVIRONMENT)}
    assert {name: how for name, how in told.items() if how} == {}


def test_annotations_are_real() -> None:
    """No module puts its annotations off."""
    assert [name for name in HELD if "__future__" in known_to(name)] == []


def test_help_needs_nothing() -> None:
    """What the command line imports at once is the standard library and plain values."""
    at_once = {known for node in MODULES["tlsproxy.cli"].body if isinstance(node, ast.Import | ast.ImportFrom)
               for known in imports(node)}  # fmt: skip
    ours = {known for known in at_once if known.startswith("tlsproxy")}
    assert ours <= {"tlsproxy.chassis", "tlsproxy.chassis.command_line", "tlsproxy.chassis.exits", "tlsproxy.verbs"}
    assert {known.split(".")[0] for known in at_once} & {*LIBRARIES, "logging", "json"} == set()
