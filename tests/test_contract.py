"""What users rely on: nothing of it goes or changes unnoticed, and the documents say what the code does.

`python -m tests.test_contract` writes the golden file and the generated parts of the documents anew, unless
something is gone or changed that others rely on.
"""

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import get_args

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.tls import material
from tlsproxy import contract
from tlsproxy.chassis import diagnostics, documents
from tlsproxy.chassis.admin.server import AdminServer
from tlsproxy.chassis.command_line import verbs
from tlsproxy.chassis.environment import variables
from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.signals import HEEDED
from tlsproxy.chassis.verbs import entries
from tlsproxy.cli import PROGRAM
from tlsproxy.companions.configsync import contract as configsync
from tlsproxy.companions.configsync.cli import PROGRAM as CONFIGSYNC
from tlsproxy.companions.topz import contract as topz
from tlsproxy.companions.topz.cli import PROGRAM as TOPZ
from tlsproxy.proxy import heads, refusals
from tlsproxy.proxy.forwarding import Forwarding
from tlsproxy.proxy_protocol import HeaderError
from tlsproxy.settings import Settings
from tlsproxy.tls import clients, connection
from tlsproxy.tls.identity import read_identity

ROOT = Path(__file__).parent.parent
SURFACES: Mapping[Path, documents.Surface] = {
    ROOT / "tests" / "contract.json": contract.SURFACE,
    ROOT / "tests" / "companions" / "configsync" / "contract.json": configsync.SURFACE,
    ROOT / "tests" / "companions" / "topz" / "contract.json": topz.SURFACE,
}
"""By the file that holds what was promised: of each sidecar, its surface."""
GENERATED: Mapping[Path, Mapping[str, Callable[[], str]]] = {
    ROOT / "README.md": {"variables": partial(documents.table, Settings)},
    ROOT / "docs" / "contract.md": {
        "variables": partial(documents.table, Settings),
        "lists": partial(documents.lists, contract.SURFACE),
    },
    ROOT / "docs" / "configsync.md": {
        "variables": partial(documents.table, configsync.SURFACE.settings),
        "lists": partial(documents.lists, configsync.SURFACE),
    },
    ROOT / "docs" / "topz.md": {
        "variables": partial(documents.table, topz.SURFACE.settings),
        "lists": partial(documents.lists, topz.SURFACE),
    },
}
DONE: Mapping[str, AbstractSet[str]] = {
    "tlsproxy": verbs(PROGRAM).keys(),
    "configsync": verbs(CONFIGSYNC).keys(),
    "topz": verbs(TOPZ).keys(),
}
"""By program the verbs that something is done at."""
REFRESH = "python -m tests.test_contract"
NEW = f"Additions are welcome. Once released they stay; record them by `{REFRESH}`:"
BROKEN = (
    "Others rely on what is gone or changed here. Bring it back, or give a renamed variable an Alias in its "
    "About, which keeps the old name working:"
)


# --- Comparing two surfaces --------------------------------------------------------------------------------


def broken(before: object, after: object, path: str = "") -> Iterator[str]:
    """What someone may rely on and is gone or different; lists are taken as sets."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                yield f"{path}{key} is gone"
            else:
                yield from broken(value, after[key], f"{path}{key}.")
    elif isinstance(before, list) and isinstance(after, list):
        yield from (f"{path}{entry} is gone" for entry in before if entry not in after)
    elif before != after:
        yield f"{path.rstrip('.')} was {before!r} and is {after!r}"


def added(before: object, after: object) -> Iterator[str]:
    """What there is besides."""
    for line in broken(after, before):
        if line.endswith(" is gone"):
            yield line.removesuffix(" is gone") + " is new"


def without_aliases(before: Mapping[str, object], after: Mapping[str, object]) -> Mapping[str, object]:
    """The surface as it was, without the variables that go on working under their old name."""
    variables, aliases, present = before["variables"], after["aliases"], after["variables"]
    assert isinstance(variables, dict)
    assert isinstance(aliases, dict)
    assert isinstance(present, dict)
    kept = {name: value for name, value in variables.items() if aliases.get(name) not in present}
    return {**before, "variables": kept}


def verdict(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """What to do about the differences; empty when there are none that matter."""
    before = without_aliases(before, after)
    if lost := list(broken(before, after)):
        return "\n  ".join(
            [
                BROKEN,
                *lost,
            ]
        )
    if new := list(added(before, after)):
        return "\n  ".join([f"Additions are welcome. Once released they stay; record them by `{REFRESH}`:", *new])
    return ""


def recorded(golden: Path) -> Mapping[str, object]:
    """The surface as it was recorded."""
    loaded: Mapping[str, object] = json.loads(golden.read_text())
    return loaded


@pytest.mark.parametrize("golden", SURFACES, ids=lambda golden: golden.parent.name)
def test_surface_is_kept(golden: Path) -> None:
    """No name, default, unit, exit status, endpoint or metric goes or changes without an alias."""
    before, after = recorded(golden), documents.promises(SURFACES[golden])
    trouble = verdict(before, after)
    assert not trouble, trouble
    assert before == after, f"Only what may differ does; record it by `{REFRESH}`."


BEFORE: Mapping[str, object] = {
    "variables": {"A": {"type": "duration", "default": "5s"}, "B": {"type": "text", "default": ""}},
    "aliases": {},
    "exit_statuses": {"0": "stopped"},
    "endpoints": ["/livez", "/readyz"],
}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"endpoints": ["/readyz"]}, "endpoints./livez is gone"),
        ({"exit_statuses": {"0": "failed"}}, "exit_statuses.0 was 'stopped' and is 'failed'"),
        ({"exit_statuses": {}}, "exit_statuses.0 is gone"),
        ({"variables": {"A": {"type": "duration", "default": "5s"}}}, "variables.B is gone"),
        (
            {"variables": {"A": {"type": "duration", "default": "9s"}, "B": {"type": "text", "default": ""}}},
            "variables.A.default was '5s' and is '9s'",
        ),
        (
            {"variables": {"A": {"type": "duration", "default": "5s"}}, "aliases": {"B": "C"}},
            "variables.B is gone",
        ),
    ],
)
def test_losses_are_told(change: Mapping[str, object], line: str) -> None:
    """What is gone or changed is named, and the way out is an alias of something that exists."""
    assert verdict(BEFORE, {**BEFORE, **change}).splitlines()[1:] == [f"  {line}"]
    assert "Alias" in verdict(BEFORE, {**BEFORE, **change})


def test_additions_are_told_apart() -> None:
    """What is new only has to be recorded; order is no difference."""
    after = {
        **BEFORE,
        "endpoints": ["/status", "/readyz", "/livez"],
        "exit_statuses": {"0": "stopped", "5": "x"},
    }
    told = verdict(BEFORE, after)
    assert told.splitlines()[1:] == ["  exit_statuses.5 is new", "  endpoints./status is new"]
    assert REFRESH in told


def test_a_loss_beside_an_addition_is_a_loss() -> None:
    """A rename looks like both, and the loss is what is told."""
    after = {**BEFORE, "endpoints": ["/livez", "/ready"]}
    assert verdict(BEFORE, after).splitlines()[1:] == ["  endpoints./readyz is gone"]


def test_an_alias_stands_for_a_variable() -> None:
    """A variable may go when its name is an alias of one that is there."""
    after = {**BEFORE, "variables": {"A": {"type": "duration", "default": "5s"}}, "aliases": {"B": "A"}}
    assert verdict(BEFORE, after).splitlines()[1:] == ["  aliases.B is new"]


# --- Documents ---------------------------------------------------------------------------------------------


def split_at(text: str, name: str) -> tuple[str, str, str]:
    """A document before, in and after its generated part of that name, which stands between two markers."""
    head, opened, rest = text.partition(f"<!-- {name} -->\n\n")
    part, closed, tail = rest.partition(f"\n\n<!-- /{name} -->")
    assert opened, f"no <!-- {name} --> with an empty line below"
    assert closed, f"no <!-- /{name} --> with an empty line above"
    return head + opened, part, closed + tail


@pytest.mark.parametrize(
    ("document", "name"), [(document, name) for document, parts in GENERATED.items() for name in parts]
)
def test_documents_are_true(document: Path, name: str) -> None:
    """The generated parts of README and docs are what the declarations say."""
    _, part, _ = split_at(document.read_text(), name)
    assert part == GENERATED[document][name](), f"{document.name} is out of date: `{REFRESH}`"


def test_every_exit_status_is_explained() -> None:
    """Each exit status has its sentence, and there is none too many."""
    assert contract.EXIT_STATUSES.keys() == set(Exit)


@pytest.mark.parametrize("surface", SURFACES.values(), ids=lambda surface: surface.words.program)
def test_every_metric_is_explained_once(surface: documents.Surface) -> None:
    """Each has a sentence, and none comes from two places."""
    measures = list(surface.measures())
    names = [measure.name for measure in measures]
    assert sorted(set(names)) == sorted(names)
    assert all(measure.help.endswith(".") for measure in measures)


@pytest.mark.parametrize("surface", SURFACES.values(), ids=lambda surface: surface.words.program)
def test_every_port_is_told(surface: documents.Surface) -> None:
    """Of the variables that hold a port, all but the app's and that of other people's URLs are listened on."""
    ports = {variable.name for variable in variables(surface.settings) if variable.kind.name == "port"}
    assert ports - {"TLSPROXY_APP_PORT", "TLSPROXY_EXTERNAL_PORT"} == surface.ports.keys()


@pytest.mark.parametrize("surface", SURFACES.values(), ids=lambda surface: surface.words.program)
def test_every_path_of_the_admin_port_is_told(surface: documents.Surface) -> None:
    """The endpoints are those that the server has."""

    async def nothing() -> Mapping[str, object]:
        return {}

    async def none() -> tuple[()]:
        return ()

    server = AdminServer(live=none, started=tuple, ready=none, status=nothing, measures=none)
    assert surface.endpoints.keys() == server._server._paths.keys()


@pytest.mark.parametrize("surface", SURFACES.values(), ids=lambda surface: surface.words.program)
def test_every_signal_is_told(surface: documents.Surface) -> None:
    """The signals are those that are heeded."""
    assert surface.signals.keys() == {number.name for number in HEEDED}


@pytest.mark.parametrize("surface", SURFACES.values(), ids=lambda surface: surface.words.program)
def test_every_verb_is_told(surface: documents.Surface) -> None:
    """The commands are those that something is done at."""
    told = {command.split()[1] for command in entries(surface.words)}
    assert told == DONE[surface.words.program] | {"--version"}


# Where a label's value stands as a word of its own, and not in a table.
LITERAL = {
    "tlsproxy_handshake_failures_total{reason}": (
        ("connection", r'(?:failures\[|_fail\()"(\w+)"'),
        ("connection", r'_FAILURES\.get\(.*, "(\w+)"'),
        ("clients", r'StaleSessionError\("(\w+)"'),
        ("clients", r'_VERDICTS\.get\(.*?, "(\w+)"'),
        ("clients", r'reason, detail = "(\w+)"'),
    ),
    "tlsproxy_clients_denied_total{reason}": (
        ("clients", r'denied\["(\w+)"\]'),
        ("proxy_header", r'_deny\("(\w+)"'),
    ),
    "tlsproxy_clients_observed_total{reason}": (("clients", r'observed\["(\w+)"\]'),),
}


@pytest.mark.parametrize("label", LITERAL)
def test_every_value_of_a_label_is_told(label: str) -> None:
    """What is counted under a word that stands in the code is in the list of the label's values."""
    told = documents.label_values(contract.SURFACE)[label]
    found: set[str] = set()
    for module, pattern in LITERAL[label]:
        words = set(re.findall(pattern, (ROOT / "tlsproxy" / "tls" / f"{module}.py").read_text()))
        assert words, f"{pattern} finds nothing in {module}"
        found |= words
    if label == "tlsproxy_clients_denied_total{reason}":
        found |= {f"proxy_{reason}" for reason in get_args(HeaderError.__init__.__annotations__["reason"])}
    assert found <= told
    assert told <= {*found, *connection._FAILURES.values(), *clients._VERDICTS.values()}


def test_every_field_of_a_diagnostic_is_told() -> None:
    """An exception at the level `debug` has all of them."""
    record = logging.LogRecord("tlsproxy", logging.ERROR, "", 0, "m", None, None)
    with pytest.raises(NotADirectoryError) as raised:
        Path("/dev/null/absent").stat()
    record.exc_info = (raised.type, raised.value, raised.tb)
    line = json.loads(diagnostics._FORMATTERS["json"](tracebacks=True, program="tlsproxy").format(record))
    assert list(line) == list(documents.DIAGNOSTIC)


def test_every_field_for_the_app_is_told() -> None:
    """What is added to the barest request, with a client's certificate and its chain, is the list."""
    der = x509.load_pem_x509_certificate(material.Request().issue().pair[0]).public_bytes(Encoding.DER)
    identity = read_identity(der)
    caller = clients.Caller(identity, clients.fields_for_app(der, identity, (der,)), denied=False)
    peer = Forwarding(443, (), b"localhost").peer("192.0.2.7", caller)
    block = peer.fields(b"shop.example")
    added = {line.partition(b":")[0].decode() for line in block.splitlines()} | {"X-Request-ID"}
    assert added == set(contract.FIELDS_TO_THE_APP)
    # And none of them is believed of just anyone.
    assert {name.lower().encode() for name in added} <= heads.REQUEST_FIELDS.keys()


def test_every_field_for_clients_is_told() -> None:
    """The fields of all answers of the sidecar's own, of the redirect port and of the fixes are in the list."""
    refused = [
        refusals.answer(refusal(), b"1")[0]
        for refusal in contract._below(refusals.Refusal)
        if hasattr(refusal, "status")
    ]
    names = {name.decode() for fields in refused for name, _ in fields}
    made = "".join((ROOT / "tlsproxy" / "proxy" / f"{module}.py").read_text() for module in ("fixes", "redirect"))
    names |= set(re.findall(r'b"([A-Z][A-Za-z-]+)(?:", |: %b)', made))
    assert names == set(contract.FIELDS_TO_THE_CLIENT)


def refresh() -> str:
    """Write everything that is generated; the reason where it may not be."""
    for golden, surface in SURFACES.items():
        after = documents.promises(surface)
        before = recorded(golden) if golden.exists() else after
        if lost := list(broken(without_aliases(before, after), after)):
            return "\n  ".join(["not recorded, because others rely on it:", *lost])
        golden.write_text(json.dumps(after, indent=2) + "\n")
    for document, parts in GENERATED.items():
        text = document.read_text()
        for name, generate in parts.items():
            head, _, tail = split_at(text, name)
            text = head + generate() + tail
        document.write_text(text)
    return ""


if __name__ == "__main__":
    sys.exit(refresh() or None)
