"""The surface that users depend on, as documents: made from the declarations, never written beside them.

What a room declares is taken from there, imported when called; what none declares stands in the tables here.
For `tlsproxy config` and the tests; nothing of it runs while requests are served.
"""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tlsproxy import verbs
from tlsproxy.chassis.environment import Environment, Reading, Variable, variables
from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.measures import Measure
from tlsproxy.settings import Settings

if TYPE_CHECKING:
    from tlsproxy.proxy.refusals import Refusal

S = TypeVar("S", bound=Environment)
T = TypeVar("T")

EXIT_STATUSES: Mapping[Exit, str] = {
    Exit.STOPPED: "stopped as asked",
    Exit.FAILED: "anything that has no status of its own",
    Exit.SETTINGS: "bad settings; the message lists every bad variable",
    Exit.CERTIFICATE: "no usable certificate within CERT_WAIT",
    Exit.PORT: "a listening port could not be had",
}
ENDPOINTS: Mapping[str, str] = {
    "/livez": "whether the process is alive",
    "/startupz": "200 once it listens and has a certificate; does not wait for the app",
    "/readyz": "200 while requests should be sent here, else 503; one line for each condition",
    "/status": "JSON: version, uptime, effective settings, the certificate, the app",
    "/metrics": "Prometheus' text format: the metrics below, and the process_* family",
}
PORTS: Mapping[str, str] = {
    "TLSPROXY_LISTEN_PORT": "clients, over TLS",
    "TLSPROXY_ADMIN_PORT": "probes and Prometheus, over plain HTTP",
    "TLSPROXY_REDIRECT_PORT": "clients that are sent to the HTTPS address, over plain HTTP",
}
"""Those that are listened on, by the variable."""
REQUEST_LINE: Mapping[str, str] = {
    "time": "when the request was over, RFC 3339 in UTC",
    "client": "the client's address",
    "method": "as it came",
    "target": "as it came; without its query where LOG_QUERY is off",
    "protocol": "the HTTP version",
    "status": "of the answer; 499 where the client left before it",
    "received": "bytes of the request's body",
    "sent": "bytes of the response's body",
    "duration": "seconds from the end of the head to the end of the answer",
    "app_duration": "seconds of these since the app was given the request",
    "tls": "the TLS version",
    "cipher": "the cipher suite",
    "sni": "the name that the client asked for",
    "client_cert": "whose certificate the client has shown, its subject as in RFC 4514; null where it has shown none",
    "request_id": "as in X-Request-ID",
    "user_agent": "as it came",
    "referer": "as it came; without its query where LOG_QUERY is off",
    "reason": "why the answer is the sidecar's and not the app's, or why it is not whole; one of those below",
}
SIGNALS: Mapping[str, str] = {
    "SIGTERM": "drain, then exit status 0; a second one stops at once",
    "SIGINT": "the same without DRAIN_DELAY",
    "SIGHUP": "look at the certificate files at once",
    "SIGUSR1": "write the stacks of all tasks to standard error",
    "SIGUSR2": "replace the workers, one after another, without losing a request; with one process nothing",
}
DIAGNOSTIC: Mapping[str, str] = {
    "time": "RFC 3339 in UTC",
    "level": "`debug`, `info`, `warning` or `error`",
    "logger": "which part speaks",
    "message": "for a person",
    "error": "where an exception is told of: its kind and text",
    "traceback": "with LOG_LEVEL `debug`, where an exception is told of",
}
FIELDS_TO_THE_APP: Mapping[str, str] = {
    "X-Forwarded-For": "the client's address, behind those that a trusted proxy gave",
    "X-Real-IP": "the client's address",
    "X-Forwarded-Proto": "`https`, or what a trusted proxy said",
    "X-Forwarded-Host": "the request's Host, or what a trusted proxy said",
    "X-Forwarded-Port": "the port in Host, else EXTERNAL_PORT, or what a trusted proxy said",
    "Forwarded": "the same by RFC 7239",
    "X-Request-ID": "made for each request, or what a trusted proxy said",
    "Client-Cert": "the client's certificate, where it has shown one (RFC 9440)",
    "Client-Cert-Chain": "with CLIENT_CHAIN, by which CAs it was verified (RFC 9440)",
    "X-Forwarded-Client-Cert": "whose certificate it is, as Envoy has it",
}
FIELDS_TO_THE_CLIENT: Mapping[str, str] = {
    "X-Request-ID": "as in the request line",
    "Strict-Transport-Security": "with HSTS, where the app sent none",
    "Proxy-Status": "an answer of the sidecar's own, and why (RFC 9209)",
    "Retry-After": "with a 503: seconds",
    "Content-Type": "of an answer of the sidecar's own",
    "Content-Length": "of an answer of the sidecar's own",
    "Cache-Control": "of an answer of the sidecar's own: `no-store`",
    "Location": "of the redirect port: the HTTPS address",
}
"""Besides the app's own; those that say how long a body is and whether the connection goes on are HTTP's."""


# --- The variables ------------------------------------------------------------------------------------------


def table(settings: type[Environment] = Settings) -> str:
    """The variables as a Markdown table, for README and `tlsproxy config --docs`; old names stand with the new one."""
    rows = (
        f"| `{variable.name}` | {_code(_default(variable))} | {variable.about.meaning}{_old_names(variable)} |"
        for variable in variables(settings)
    )
    return "\n".join(("| name | default | meaning |", "|---|---|---|", *rows))


def schema(settings: type[Environment] = Settings) -> dict[str, object]:
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


def surface() -> dict[str, object]:
    """Every name, default and status that someone may rely on, as plain JSON values in a stable order."""
    known = variables(Settings)
    return {
        "variables": {variable.name: _promise(variable) for variable in known},
        "aliases": {old: variable.name for variable in known for old in variable.aliases},
        "exit_statuses": {str(status.value): status.name.lower() for status in Exit},
        "ports": list(PORTS),
        "endpoints": list(ENDPOINTS),
        "metrics": {name: signature for name, (signature, _) in sorted(_metrics().items())},
        "process_metrics": sorted(_process_metrics()),
        "label_values": {label: sorted(values) for label, values in sorted(_label_values().items())},
        "request_line": list(REQUEST_LINE),
        "diagnostic": list(DIAGNOSTIC),
        "reasons": sorted(_reasons()),
        "fields_to_the_app": list(FIELDS_TO_THE_APP),
        "fields_to_the_client": list(FIELDS_TO_THE_CLIENT),
        "signals": list(SIGNALS),
        "commands": list(verbs.entries()),
    }


def _promise(variable: Variable) -> dict[str, object]:
    promise: dict[str, object] = {"type": variable.kind.name, "default": _default(variable)}
    if variable.kind.unit:
        promise["unit"] = variable.kind.unit
    if variable.choices:
        promise["choices"] = list(variable.choices)
    return promise


def lists() -> str:
    """All but the variables as Markdown."""
    sections = {
        "Exit statuses": {str(status.value): text for status, text in EXIT_STATUSES.items()},
        "Ports": {
            _default(variable) or "none": f"{PORTS[variable.name]}; `{variable.name}`"
            for variable in variables(Settings)
            if variable.name in PORTS
        },
        "Endpoints of the admin port": ENDPOINTS,
        "Metrics": {
            name + _labels(signature): f"{_type(signature)}. {text}".strip()
            for name, (signature, text) in sorted(_metrics().items())
        },
        "Metrics of the process": _process_metrics(),
        "Values of labels": {
            label: ", ".join(f"`{value}`" for value in sorted(values))
            for label, values in sorted(_label_values().items())
        },
        "Fields of a request line": REQUEST_LINE,
        "Reasons": dict(sorted(_reasons().items())),
        "Fields of a diagnostic": DIAGNOSTIC,
        "Header fields that the app is sent": FIELDS_TO_THE_APP,
        "Header fields that clients are sent": FIELDS_TO_THE_CLIENT,
        "Signals": SIGNALS,
        "Commands": verbs.entries(),
    }
    return "\n\n".join(_section(title, entries) for title, entries in sections.items())


def _section(title: str, entries: Mapping[str, str]) -> str:
    return "\n".join((f"### {title}", "", *(f"- `{name}`: {text}" for name, text in entries.items())))


def _type(signature: str) -> str:
    return signature.partition("{")[0]


def _labels(signature: str) -> str:
    return signature.removeprefix(_type(signature)).replace("{}", "")


def _metrics() -> dict[str, tuple[str, str]]:
    """Type with labels, and the sentence for the operator, by name."""
    return {
        measure.name: (f"{measure.kind}{{{','.join(measure.labels)}}}", measure.help)
        for measure in (*_measures(), *_measures_of_all())
    }


def _process_metrics() -> dict[str, str]:
    from tlsproxy.chassis.admin.metrics import process_measures  # noqa: PLC0415  -- the rooms are loaded for documents only

    return {measure.name: f"{measure.kind}. {measure.help}" for measure in process_measures()}


# What the app, the operator or a build chooses.
_FREE_LABELS = frozenset({"name", "code", "version", "python", "openssl"})


def _label_values() -> dict[str, frozenset[str]]:
    """Every value that a label can have, by `metric{label}`: where a room shows them all from the start, these."""
    shown = {
        f"{measure.name}{{{label}}}": frozenset(texts[place] for texts in measure.samples)
        for measure in (*_measures(), *_measures_of_all())
        for place, label in enumerate(measure.labels)
        if label not in _FREE_LABELS
    }
    return shown | _labels_by_events()


def _labels_by_events() -> dict[str, frozenset[str]]:
    """Those of which a room shows nothing before it has happened."""
    from tlsproxy.proxy.tally import METHODS  # noqa: PLC0415  -- the rooms are loaded for documents only

    return {
        "tlsproxy_requests_total{method}": METHODS | {"other"},
        "tlsproxy_handshakes_total{version}": frozenset({"TLSv1.2", "TLSv1.3"}),
        "tlsproxy_handshakes_total{resumed}": frozenset({"yes", "no"}),
    }


def _measures() -> Iterator[Measure]:
    """What the rooms show at a scrape, before anything has happened."""
    from tlsproxy.admission import Admission  # noqa: PLC0415  -- the rooms are loaded for documents only
    from tlsproxy.chassis.app_address import AppAddress  # noqa: PLC0415
    from tlsproxy.chassis.output import lost_measure  # noqa: PLC0415
    from tlsproxy.chassis.pulse import Pulse  # noqa: PLC0415
    from tlsproxy.proxy.limits import Limits, Timeouts  # noqa: PLC0415
    from tlsproxy.proxy.pool import Pool  # noqa: PLC0415
    from tlsproxy.proxy.tally import Tally  # noqa: PLC0415
    from tlsproxy.tls.clients import Clients  # noqa: PLC0415
    from tlsproxy.tls.connection import Acceptor  # noqa: PLC0415
    from tlsproxy.tls.files import find  # noqa: PLC0415
    from tlsproxy.tls.store import Store  # noqa: PLC0415
    from tlsproxy.tls.trust import find_trust  # noqa: PLC0415
    from tlsproxy.tls.trust_store import TrustStore  # noqa: PLC0415

    tally = Tally()
    yield from tally.measures()
    yield from Pool(AppAddress(), Limits(), Timeouts(), tally).measures()
    admission = Admission(1)
    yield from admission.measures()
    store = Store("", lambda: find(Path(), ""), "intermediate")
    yield from store.measures()
    yield from TrustStore(lambda: find_trust(Path()), required=True).measures()
    acceptor = Acceptor(
        lambda: store.context,
        handshake_timeout=1,
        close_timeout=1,
        plain_answer=b"",
        ended=admission.ended,
        clients=Clients("required"),
    )
    yield from acceptor.measures()
    yield lost_measure(0, 0)
    yield from Pulse(1).measures()


def _measures_of_all() -> Iterator[Measure]:
    """What is told of the rooms together, and of the processes."""
    from tlsproxy.serving import CONNECTION_STATES, connections_measure  # noqa: PLC0415  -- as above
    from tlsproxy.sidecar import build_measure, workers_measures  # noqa: PLC0415

    yield connections_measure(dict.fromkeys(CONNECTION_STATES, 0))
    yield from workers_measures(1, 0)
    yield build_measure()


def _reasons() -> dict[str, str]:
    """What clients are told, with the status and the error type of Proxy-Status, by reason of the request line."""
    from tlsproxy.proxy.refusals import Refusal  # noqa: PLC0415

    told: dict[str, list[str]] = {}
    for refusal in _below(Refusal):
        if hasattr(refusal, "status"):
            told.setdefault(refusal.reason, []).append(f"{refusal.text} ({_told(refusal)})")
    return {reason: "; ".join(texts) for reason, texts in told.items()}


def _told(refusal: "type[Refusal]") -> str:
    """The status, and the error type of Proxy-Status where an answer is sent."""
    return f"{refusal.status}, {refusal.error}" if refusal.error else f"{refusal.status}, in the log alone"


def _below(top: type[T]) -> Iterator[type[T]]:
    for below in top.__subclasses__():
        yield below
        yield from _below(below)
