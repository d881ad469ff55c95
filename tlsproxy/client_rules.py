"""Which clients are let in by their certificates: the rules of TLSPROXY_CLIENT_ALLOW. Pure.

    rules   = rule *("," rule)        any of them lets a client in
    rule    = kind "=" value          blanks around a rule and its parts do not count
    kind    = "cn" / "ou" / "dns" / "uri", in either case
    value   : a backslash before a comma or a backslash takes its meaning away

Each is anchored at both ends and compares whole values:

    cn, ou  the subject's common name, one of its organizational units: the same text, in the same case
    dns     a DNS name among the alternative names, in either case; `*.` in front stands for exactly one label
    uri     a SPIFFE ID: the same trust domain and as many path segments, of which `*` stands for one whole segment;
            of any other URI: the same text
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, cast

RuleKind = Literal["cn", "ou", "dns", "uri"]


@dataclass(frozen=True, slots=True)
class Identity:
    """What a client's certificate says of its holder."""

    subject: str
    """RFC 4514, in printable ASCII; empty where it has none."""
    common_names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    """Of the alternative names, as `uris`."""
    uris: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, whose value is as it was written, without escapes."""

    kind: RuleKind
    value: str

    def __str__(self) -> str:
        return f"{self.kind}={_ESCAPED.sub(_escape, self.value)}"

    def admits(self, identity: Identity) -> bool:
        """Whether it lets the holder in."""
        return _MATCHES[self.kind](self.value, identity)


Rules = tuple[Rule, ...]


def allowed(rules: Rules, identity: Identity) -> bool:
    """Whether any rule lets the holder in; where there are none, everybody is."""
    return not rules or any(rule.admits(identity) for rule in rules)


# --- Reading -----------------------------------------------------------------------------------------------

_ESCAPED = re.compile(r"[\\,]")
_PART = re.compile(r"((?:\\[\\,]|[^\\,])*)(,|$)")


def parse_rules(text: str) -> Rules:
    """The rules, each once.

    Raises:
        ValueError: names the first rule that is none, and why.
    """
    rules = tuple(dict.fromkeys(_rule(part) for part in _parts(text)))
    if not rules:
        raise ValueError("there is no rule in it")
    return rules


def spell_rules(rules: Rules) -> str:
    """The inverse of `parse_rules`; "" where there are none."""
    return ",".join(map(str, rules))


def _escape(found: re.Match[str]) -> str:
    return f"\\{found[0]}"


def _parts(text: str) -> Iterator[str]:
    """What stands between commas that are not escaped, blank ones left out."""
    position = 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            raise ValueError("a backslash stands before a comma or a backslash only")
        position = match.end()
        if match[1].strip():
            yield match[1].strip()


def _rule(text: str) -> Rule:
    kind, _, written = text.partition("=")
    kind, value = kind.strip().lower(), re.sub(r"\\(.)", r"\1", written.strip())
    if kind not in _CHECKS:
        raise ValueError(f"{text!r} is no rule")
    if not value:
        raise ValueError(f"{text!r} has no value")
    return Rule(cast("RuleKind", kind), _CHECKS[kind](value))


_LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_DNS_RULE = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
# SPIFFE-ID section 2: a trust domain and segments of these characters alone, and none that a path could shrink by.
_SEGMENT = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+"
_DOMAIN = r"[a-z0-9._-]+"
_SPIFFE = re.compile(rf"spiffe://{_DOMAIN}(?:/{_SEGMENT})*")
_SPIFFE_RULE = re.compile(rf"spiffe://{_DOMAIN}(?:/(?:\*|{_SEGMENT}))*")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")


def _check_text(value: str) -> str:
    if "*" in value:
        raise ValueError(f"{value!r}: * stands for nothing in cn and ou, which are compared as a whole")
    return value


def _check_dns(value: str) -> str:
    name = value.lower()
    if not name.isascii():
        raise ValueError(f"{value!r} is not in the form that certificates have, which begins with xn--")
    if not _DNS_RULE.fullmatch(name):
        raise ValueError(f"{value!r} is no DNS name, with or without *. in front for one label")
    return name


def _check_uri(value: str) -> str:
    if value[:7].lower() == "spiffe:":
        if not _SPIFFE_RULE.fullmatch(value):
            raise ValueError(
                f"{value!r} is no SPIFFE ID: spiffe://, a trust domain in lower case, and path segments, of which * "
                "stands for a whole one"
            )
    elif "*" in value:
        raise ValueError(f"{value!r}: * stands for a path segment of a SPIFFE ID only")
    elif not _URI.fullmatch(value):
        raise ValueError(f"{value!r} is no URI")
    return value


_CHECKS: Mapping[str, Callable[[str], str]] = {
    "cn": _check_text,
    "ou": _check_text,
    "dns": _check_dns,
    "uri": _check_uri,
}


# --- Matching ----------------------------------------------------------------------------------------------


def _has_common_name(value: str, identity: Identity) -> bool:
    """Of several common names nobody says which one counts: then none does."""
    return identity.common_names == (value,)


def _has_unit(value: str, identity: Identity) -> bool:
    return value in identity.units


def _has_name(value: str, identity: Identity) -> bool:
    # Some other letters are of ASCII in lower case, such as the sign of kelvin.
    return any(name.isascii() and _covers(value, name.lower()) for name in identity.dns)


def _covers(value: str, name: str) -> bool:
    """Whether the name is the value's; one that is a wildcard itself, or no name, is not."""
    first, dot, parent = name.partition(".")
    if value.startswith("*."):
        return bool(dot) and parent == value[2:] and re.fullmatch(_LABEL, first) is not None
    return name == value


def _has_uri(value: str, identity: Identity) -> bool:
    if not value.startswith("spiffe:"):
        return value in identity.uris
    # X509-SVID section 2: whoever holds an ID has no second URI beside it.
    return len(identity.uris) == 1 and _is_within(value.split("/"), identity.uris[0])


def _is_within(wanted: list[str], uri: str) -> bool:
    if not _SPIFFE.fullmatch(uri):
        return False
    segments = uri.split("/")
    return len(segments) == len(wanted) and all(
        want in ("*", segment) for want, segment in zip(wanted, segments, strict=True)
    )


_MATCHES: Mapping[RuleKind, Callable[[str, Identity], bool]] = {
    "cn": _has_common_name,
    "ou": _has_unit,
    "dns": _has_name,
    "uri": _has_uri,
}
