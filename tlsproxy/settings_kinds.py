"""What only this proxy's variables may hold: names, hosts, networks, paths, protocols, and how each is read and spelt.

Kinds that any sidecar has (durations, sizes, ports) are in kinds.py; which variable holds which, settings.py says.
"""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from tlsproxy.chassis.kinds import (
    DURATION,
    DURATION_PATTERN,
    NUMBER,
    Kind,
    parse_duration,
    parse_list,
    parse_whole,
    spell_duration,
    spell_plain,
)
from tlsproxy.client_rules import Rules, parse_rules, spell_rules

Network = IPv4Network | IPv6Network

# RFC 1918, RFC 4193 and the loopback ranges: where an ingress or a load balancer of the same cluster lives.
PRIVATE = tuple(
    ip_network(text) for text in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
)
# Compose reads an unquoted `off` as a YAML boolean and hands over `false`.
SWITCHED = {"true": "on", "1": "on", "false": "off", "0": "off"}
# Far more than any machine has use for, and a number with a digit too many is none of them.
MOST_WORKERS = 1024
# TLSPROXY_CERT_NAME as parsed, for every certificate that is there.
EVERY_NAME = ("*",)


def parse_cert_names(text: str) -> tuple[str, ...]:
    """Names that are file names, each once: they are joined to CERT_DIR; or `*` alone, for all that is there."""
    names = tuple(dict.fromkeys(parse_list(text)))
    if not names:
        raise ValueError("there is no name in it")
    if names == EVERY_NAME:
        return names
    for name in names:
        if "*" in name:
            raise ValueError("* stands for every certificate, and is no part of a name or of a list")
        if "/" in name or ".." in name or name == ".":
            raise ValueError(f"{name!r} is looked up in CERT_DIR and can't lead out of it")
    return names


def parse_host(text: str) -> str:
    """An address, an IPv6 one with or without its brackets, or a host name; no scheme and no port."""
    host = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if "/" in host:
        raise ValueError("a host alone, without a scheme, a path or a network's width")
    if ":" in host or host[-1:].isdigit():
        _require_address(host)
    if not host or any(not char.isprintable() or char in ' "*,;@\\[]' for char in host):
        raise ValueError
    return host


def _require_address(host: str) -> None:
    try:
        ip_address(host)
    except ValueError:
        if ":" in host:
            raise ValueError("a host alone, without a port") from None
        if host.replace(".", "").isdigit():
            raise ValueError("not an IPv4 address") from None


def parse_networks(text: str) -> tuple[Network, ...]:
    """CIDR ranges and single addresses; `private` stands for `PRIVATE`, bits beyond the width are dropped."""
    return tuple(network for part in parse_list(text) for network in _networks(part))


def _networks(part: str) -> tuple[Network, ...]:
    if part.lower() == "private":
        return PRIVATE
    try:
        return (ip_network(part, strict=False),)
    except ValueError:
        raise ValueError(f"{part!r} is neither an address nor a range") from None


def parse_hsts(text: str) -> int | None:
    """Whole seconds, or None for `off`; 0 makes browsers forget the host (RFC 6797 section 6.1.1)."""
    return None if text.lower() in {"off", "false"} else int(parse_duration(text))


def parse_grace(text: str) -> float:
    """Seconds; 0 for `off`."""
    return 0.0 if text.lower() in {"off", "false"} else parse_duration(text)


def parse_app_check(text: str) -> str:
    """`tcp`, `off`, or an origin-form target as it came."""
    if text.startswith("/"):
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("the path holds characters that must be percent-encoded")
        return text
    word = SWITCHED.get(text.lower(), text.lower())
    if word not in {"tcp", "off"}:
        raise ValueError
    return word


def parse_workers(text: str) -> int:
    """How many; 0 for `auto`."""
    if text.lower() == "auto":
        return 0
    workers = parse_whole(text)
    if not workers:
        raise ValueError
    if workers > MOST_WORKERS:
        raise ValueError(f"more than {MOST_WORKERS}")
    return workers


# What every app reads alike: a path, and of its segments none that is empty or could be resolved, none with an escape,
# parameters or anything that more than one of them might take for something else.
_PLAIN_PATH = re.compile(r"/|(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~!$&'()+=:@-]+)+/?")


def parse_paths(text: str) -> tuple[str, ...]:
    """Whole paths, each once, as a request names them and in the only way in which they can be written."""
    paths = tuple(dict.fromkeys(parse_list(text)))
    if not paths:
        raise ValueError("there is no path in it")
    for path in paths:
        if "*" in path:
            raise ValueError(f"{path!r}: * stands for nothing, paths are compared as a whole")
        if not _PLAIN_PATH.fullmatch(path):
            raise ValueError(f"{path!r} is no plain path")
    return paths


def parse_protocols(text: str) -> tuple[str, ...]:
    """ALPN protocol names (RFC 7301 section 3.1); the names that there are, are ASCII."""
    names = parse_list(text)
    for name in names:
        if not name.isascii() or not name.isprintable() or len(name) > 255:
            raise ValueError(f"{name!r} is no protocol's name: 1 to 255 characters of ASCII")
    return names


CERT_NAME: Kind[tuple[str, ...]] = Kind(
    name="name",
    allowed="names separated by commas, without *, / or .., or * alone",
    parse=parse_cert_names,
    spell=",".join,
)
HOST = Kind(name="host", allowed="an address or a host name", parse=parse_host, spell=spell_plain)
NETWORKS: Kind[tuple[Network, ...]] = Kind(
    name="networks",
    allowed="addresses and CIDR ranges separated by commas, or private",
    parse=parse_networks,
    spell=lambda networks: ",".join(map(str, networks)),
)
HSTS = Kind(
    name="duration",
    allowed="off or a duration in s, m, h or d",
    parse=parse_hsts,
    spell=lambda seconds: "off" if seconds is None else spell_duration(seconds),
    unit=DURATION.unit,
    pattern=f"off|false|{DURATION_PATTERN}",
)
GRACE = Kind(
    name="duration",
    allowed="off or a duration in ms, s, m, h or d",
    parse=parse_grace,
    spell=lambda seconds: spell_duration(seconds) if seconds else "off",
    unit=DURATION.unit,
    pattern=f"off|false|{DURATION_PATTERN}",
)
APP_CHECK = Kind(
    name="check",
    allowed="tcp, off or a path that starts with /",
    parse=parse_app_check,
    spell=spell_plain,
)
PROTOCOLS: Kind[tuple[str, ...]] = Kind(
    name="protocols", allowed="protocol names separated by commas", parse=parse_protocols, spell=",".join
)
CLIENT_RULES: Kind[Rules] = Kind(
    name="rules",
    allowed="rules separated by commas (`\\,` in a value): cn=NAME, ou=NAME, dns=NAME or dns=*.NAME, "
    "uri=URI, with * for a whole path segment of a SPIFFE ID",
    parse=parse_rules,
    spell=spell_rules,
)
WORKERS: Kind[int] = Kind(
    name="count",
    allowed="a whole number of at least 1, or auto",
    parse=parse_workers,
    spell=lambda workers: str(workers) if workers else "auto",
    pattern=f"auto|{NUMBER}",
)
PATHS: Kind[tuple[str, ...]] = Kind(
    name="paths",
    allowed="whole paths separated by commas, that start with / and have no query, escape, parameter, empty segment or "
    "dot segment",
    parse=parse_paths,
    spell=",".join,
)
SWITCHED_CHOICE = Kind(
    name="choice",
    allowed="",
    parse=lambda text: SWITCHED.get(text.lower(), text.lower()),
    spell=spell_plain,
)
