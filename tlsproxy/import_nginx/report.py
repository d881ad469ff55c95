"""What has been found, put together: each variable once, each remark once, and all of it as text; pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tlsproxy.chassis.environment import variables
from tlsproxy.import_nginx.findings import (
    PREFIX,
    Carried,
    Directive,
    Found,
    Lost,
    Needless,
    Remark,
    Rule,
    Structure,
)
from tlsproxy.settings import Settings

_LISTS: Final = frozenset({"CERT_NAME", "TRUSTED_PROXIES"})
_MAIN: Final = ("CERT_NAME", "APP_PORT")
_KNOWN: Final = {variable.name.removeprefix(PREFIX): variable for variable in variables(Settings)}


@dataclass(slots=True)
class _Value:
    text: str
    sources: list[str]


@dataclass(slots=True)
class Report:
    """The findings so far."""

    title: str
    names_only: bool = False
    """Whether values are left out where they are not carried over: among variables there are secrets."""
    _values: dict[str, _Value] = field(default_factory=dict)
    _remarks: dict[str, list[str]] = field(default_factory=dict)
    """Each remark, and where it comes from."""
    _needless: set[str] = field(default_factory=set)

    def apply(self, directive: Directive, rule: Rule | None) -> None:
        """Add what a rule makes of a directive; a directive without a rule is remarked upon."""
        match rule:
            case Carried():
                try:
                    for found in rule.convert(directive.args):
                        self.add(directive, found)
                except (ValueError, IndexError) as error:
                    what = str(error) if isinstance(error, ValueError) else "something is missing in it"
                    self.add(directive, Remark(what, "it is not carried over"))
            case Lost():
                self.add(directive, rule.remark)
            case Needless():
                self._needless.add(f"{directive} {directive.place}")
            case None:
                self.add(directive, Remark("it is not known here", "see whether it matters to you"))
            case Structure():
                pass

    def add(self, directive: Directive, found: Found) -> None:
        """Add one finding of a directive."""
        if isinstance(found, Remark):
            _append(self._remarks.setdefault(str(found), []), f"{self._shown(directive)} ({directive.place})")
            return
        source = f"{directive.name if self.names_only else directive} ({directive.place})"
        before = self._values.setdefault(found.variable, _Value(found.value, []))
        _append(before.sources, source)
        chosen = _of_two(found.variable, before.text, found.value)
        if chosen is None:
            self.add(directive, Remark(f"{PREFIX}{found.variable} is {before.text} already", "it can't be both"))
        else:
            before.text = chosen

    def _shown(self, directive: Directive) -> str:
        """The name and the first argument: what follows, as in a header, may be a secret."""
        return " ".join([directive.name, *(() if self.names_only else directive.args[:1])])

    def value(self, variable: str) -> str:
        """What a variable has been set to; empty when it has not."""
        return self._values[variable].text if variable in self._values else ""

    def environment(self) -> Mapping[str, str]:
        """The variables with their prefixes, those that have their default anyway left out; the main ones first."""
        return {f"{PREFIX}{name}": self._values[name].text for name in self._in_order() if not self._is_default(name)}

    def _in_order(self) -> Iterable[str]:
        return (name for name in _KNOWN if name in self._values)

    def _is_default(self, name: str) -> bool:
        variable = _KNOWN[name]
        try:
            return name not in _MAIN and variable.kind.parse(self._values[name].text) == variable.default
        except ValueError:
            return False

    def __str__(self) -> str:
        lines = [f"# {self.title}", ""]
        for name in self._in_order():
            lines += (f"# {_escaped(source)}" for source in self._values[name].sources)
            is_default = self._is_default(name)
            assignment = f"{PREFIX}{name}={_escaped(self._values[name].text)}"
            lines += [f"# {assignment} is the default" if is_default else assignment, ""]
        if self._remarks:
            lines += ["# Not carried over:"]
            for remark, sources in self._remarks.items():
                lines += ["#", *(f"# - {_escaped(source)}" for source in sources), f"#   {_escaped(remark)}"]
        if self._needless:
            count = len(self._needless)
            lines += ["#", f"# {count} more {'need' if count > 1 else 'needs'} nothing here."]
        return "\n".join(lines).rstrip() + "\n"


def _of_two(variable: str, one: str, other: str) -> str | None:
    """The value for both; None where there is none."""
    if one == other:
        return one
    if variable in _LISTS:
        return ",".join(dict.fromkeys([*one.split(","), *other.split(",")]))
    parse = _KNOWN[variable].kind.parse
    try:
        first, second = parse(one), parse(other)
    except ValueError:
        return None
    if isinstance(first, int | float) and isinstance(second, int | float) and _KNOWN[variable].kind.unit:
        # No limit is the highest one.
        return max((first == 0, first, one), (second == 0, second, other))[2]
    return None


def _append(sources: list[str], source: str) -> None:
    if source not in sources:
        sources.append(source)


def _escaped(text: str) -> str:
    """On one line, so that it stays a comment."""
    return re.sub(r"[\x00-\x1f\x7f]", lambda found: repr(found[0])[1:-1], text)
