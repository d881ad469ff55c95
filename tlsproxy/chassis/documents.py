"""The surface that users depend on, as documents: made from the declarations, never written beside them.

For `config`, the documents and the tests; nothing of it runs while a sidecar does its work. What a sidecar declares
besides its variables, it says as a `Surface`.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from tlsproxy.chassis.environment import Environment, Reading, Variable, variables
from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.measures import Measure
from tlsproxy.chassis.verbs import Words, entries

S = TypeVar("S", bound=Environment)

Entries = Mapping[str, str]
"""What there is, and a sentence on each."""

DIAGNOSTIC: Entries = {
    "time": "RFC 3339 in UTC",
    "level": "`debug`, `info`, `warning` or `error`",
    "logger": "which part speaks",
    "message": "for a person",
    "error": "where an exception is told of: its kind and text",
    "traceback": "with LOG_LEVEL `debug`, where an exception is told of",
}
"""The fields of a line on standard error."""
EXIT_STATUSES: Mapping[Exit, str] = {
    Exit.STOPPED: "stopped as asked",
    Exit.FAILED: "anything that has no status of its own",
    Exit.SETTINGS: "bad settings; the message lists every bad variable",
    Exit.PORT: "a listening port could not be had",
}
"""Those of every sidecar; one that has more adds them."""
SIGNALS: Entries = {
    "SIGTERM": "stop, after DRAIN_DELAY, with exit status 0; a second one stops at once",
    "SIGINT": "the same without DRAIN_DELAY",
    "SIGHUP": "nothing: files are read when they are used",
    "SIGUSR1": "write the stacks of all tasks to standard error",
    "SIGUSR2": "nothing",
}
"""Those that every sidecar heeds; one that does something else at one of them says so."""


def endpoints(started: str, ready: str, status: str) -> Entries:
    """Those of every admin port.

    Args:
        started: when /startupz says yes.
        ready: how long /readyz says yes.
        status: what /status tells besides.
    """
    return {
        "/livez": "whether the process is alive",
        "/startupz": f"200 once {started}",
        "/readyz": f"200 while {ready}, else 503; one line for each condition",
        "/status": f"JSON: version, uptime, effective settings, {status}",
        "/metrics": "Prometheus' text format: the metrics below, and the process_* family",
    }


@dataclass(frozen=True, slots=True)
class Listing:
    """Names that a sidecar promises besides those that every one has."""

    key: str
    """Of the golden file."""
    title: str
    """Of the section in the documents."""
    entries: Entries


@dataclass(frozen=True, slots=True)
class Surface:
    """Everything that others may rely on. What is called imports the rooms that say it."""

    settings: type[Environment]
    words: Words
    exit_statuses: Mapping[Exit, str]
    ports: Entries
    """Those that are listened on, by the variable."""
    endpoints: Entries
    """Of the admin port."""
    signals: Entries
    measures: Callable[[], Iterable[Measure]]
    """Those of the program, before anything has happened."""
    labels_by_events: Callable[[], Mapping[str, frozenset[str]]] = dict
    """By `metric{label}` the values of which nothing is shown before it has happened."""
    free_labels: frozenset[str] = frozenset()
    """Labels whose values somebody else chooses."""
    more: Callable[[], tuple[Listing, ...]] = tuple


# --- The variables ------------------------------------------------------------------------------------------


def table(settings: type[Environment]) -> str:
    """The variables as a Markdown table, for README and `config --docs`; old names stand with the new one."""
    rows = (
        f"| `{variable.name}` | {_code(_default(variable))} | {variable.about.meaning}{_old_names(variable)} |"
        for variable in variables(settings)
    )
    return "\n".join(("| name | default | meaning |", "|---|---|---|", *rows))


def schema(settings: type[Environment]) -> dict[str, object]:
    """JSON Schema (2020-12) of the environment, in which every value is text; names not listed are allowed.

    A variable's own type and unit are in `x-type` and `x-unit`; a secret is `writeOnly`, an old name
    `deprecated`.
    """
    properties: dict[str, object] = {}
    for variable in variables(settings):
        properties[variable.name] = _property(variable)
        for old in variable.aliases:
            properties[old] = {
                "type": "string",
                "description": f"old name of {variable.name}",
                "deprecated": True,
            }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Environment variables {settings.PREFIX}*; an empty one counts as unset",
        "type": "object",
        "properties": properties,
    }


def _property(variable: Variable) -> dict[str, object]:
    about, kind = variable.about, variable.kind
    optional: dict[str, object] = {
        "x-unit": kind.unit,
        "enum": ["", *variable.choices] if variable.choices else None,
        "pattern": f"^({kind.pattern})?$" if kind.pattern else None,
        "writeOnly": variable.secret,
    }
    return {
        "type": "string",
        "description": about.meaning,
        "default": _default(variable),
        "examples": [about.example],
        "x-type": kind.name,
        **{name: value for name, value in optional.items() if value},
    }


def effective(reading: Reading[S]) -> str:
    """Every variable as one would write it for a shell, secrets masked, and where its value came from."""
    lines = []
    for variable in variables(type(reading.settings)):
        value = variable.kind.spell(getattr(reading.settings, variable.field))
        assignment = f"{variable.name}={shlex.quote(value) if value else ''}"
        lines.append(f"{assignment:<40}  # {reading.sources[variable.name]}")
    return "\n".join(lines)


def _default(variable: Variable) -> str:
    return variable.kind.spell(variable.default)


def _old_names(variable: Variable) -> str:
    return "".join(f"; old name: `{old}`" for old in variable.aliases)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


# --- Everything that may not change ------------------------------------------------------------------------


def promises(surface: Surface) -> dict[str, object]:
    """Every name, default and status that someone may rely on, as plain JSON values in a stable order."""
    known = variables(surface.settings)
    return {
        "variables": {variable.name: _promise(variable) for variable in known},
        "aliases": {old: variable.name for variable in known for old in variable.aliases},
        "exit_statuses": {str(status.value): status.name.lower() for status in sorted(surface.exit_statuses)},
        "ports": list(surface.ports),
        "endpoints": list(surface.endpoints),
        "metrics": {name: signature for name, (signature, _) in sorted(_metrics(surface).items())},
        "process_metrics": sorted(_process_metrics()),
        "label_values": {label: sorted(values) for label, values in sorted(label_values(surface).items())},
        "diagnostic": list(DIAGNOSTIC),
        "signals": list(surface.signals),
        "commands": list(entries(surface.words)),
        **{listing.key: list(listing.entries) for listing in surface.more()},
    }


def _promise(variable: Variable) -> dict[str, object]:
    promise: dict[str, object] = {"type": variable.kind.name, "default": _default(variable)}
    if variable.kind.unit:
        promise["unit"] = variable.kind.unit
    if variable.choices:
        promise["choices"] = list(variable.choices)
    return promise


def lists(surface: Surface) -> str:
    """All but the variables as Markdown."""
    sections: dict[str, Entries] = {
        "Exit statuses": {str(status.value): text for status, text in sorted(surface.exit_statuses.items())},
        "Ports": {
            _default(variable) or "none": f"{surface.ports[variable.name]}; `{variable.name}`"
            for variable in variables(surface.settings)
            if variable.name in surface.ports
        },
        "Endpoints of the admin port": surface.endpoints,
        "Metrics": {
            name + _labels(signature): f"{_type(signature)}. {text}".strip()
            for name, (signature, text) in sorted(_metrics(surface).items())
        },
        "Metrics of the process": _process_metrics(),
        "Values of labels": {
            label: ", ".join(f"`{value}`" for value in sorted(values))
            for label, values in sorted(label_values(surface).items())
        },
        **{listing.title: listing.entries for listing in surface.more()},
        "Fields of a diagnostic": DIAGNOSTIC,
        "Signals": surface.signals,
        "Commands": entries(surface.words),
    }
    return "\n\n".join(_section(title, section) for title, section in sections.items() if section)


def _section(title: str, section: Entries) -> str:
    return "\n".join((f"### {title}", "", *(f"- `{name}`: {text}" for name, text in section.items())))


def _type(signature: str) -> str:
    return signature.partition("{")[0]


def _labels(signature: str) -> str:
    return signature.removeprefix(_type(signature)).replace("{}", "")


def _metrics(surface: Surface) -> dict[str, tuple[str, str]]:
    """Type with labels, and the sentence for the operator, by name."""
    return {
        measure.name: (f"{measure.kind}{{{','.join(measure.labels)}}}", measure.help) for measure in surface.measures()
    }


def _process_metrics() -> dict[str, str]:
    from tlsproxy.chassis.admin.metrics import process_measures  # noqa: PLC0415  -- loaded for documents only

    return {measure.name: f"{measure.kind}. {measure.help}" for measure in process_measures()}


# A build has them.
_BUILT = frozenset({"version", "python", "openssl"})


def label_values(surface: Surface) -> dict[str, frozenset[str]]:
    """Every value that a label can have, by `metric{label}`: where a room shows them all from the start, these."""
    return {**dict(_shown_label_values(surface)), **surface.labels_by_events()}


def _shown_label_values(surface: Surface) -> Iterator[tuple[str, frozenset[str]]]:
    for measure in surface.measures():
        for place, label in enumerate(measure.labels):
            if label not in surface.free_labels | _BUILT:
                yield f"{measure.name}{{{label}}}", frozenset(texts[place] for texts in measure.samples)
