"""What users rely on: nothing of it goes or changes unnoticed, and the documents say what the code does.

`python -m tests.test_contract` writes the golden file and the generated parts of the documents anew, unless
something is gone or changed that others rely on.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tlsproxy import contract
from tlsproxy.environment import read
from tlsproxy.exits import Exit
from tlsproxy.settings import Settings

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "contract.json"
GENERATED = {
    ROOT / "README.md": {"variables": contract.table},
    ROOT / "docs" / "contract.md": {"variables": contract.table, "lists": contract.lists},
}
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


def golden() -> Mapping[str, object]:
    """The surface as it was recorded."""
    loaded: Mapping[str, object] = json.loads(GOLDEN.read_text())
    return loaded


def test_surface_is_kept() -> None:
    """No name, default, unit, exit status, endpoint or metric goes or changes without an alias."""
    after = contract.surface()
    trouble = verdict(golden(), after)
    assert not trouble, trouble
    assert golden() == after, f"Only what may differ does; record it by `{REFRESH}`."


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


def test_every_metric_is_explained_once() -> None:
    """A metric that a room declares is not declared in the contract's own table as well."""
    assert contract.METRICS.keys().isdisjoint(measure.name for measure in contract._measures())


def test_schema() -> None:
    """The schema lists every variable as text, with default, example, type, unit and form."""
    properties = contract.schema()["properties"]
    assert isinstance(properties, dict)
    assert list(properties) == list(contract.surface()["variables"])  # type: ignore[call-overload]  # a dict
    assert properties["TLSPROXY_MAX_HEAD"] == {
        "type": "string",
        "description": "request line and headers together: 414 or 431 above it",
        "default": "32k",
        "examples": ["64k"],
        "x-type": "size",
        "x-unit": "bytes",
        "pattern": "^(([0-9]{1,12})(k|m|g)?)?$",
    }
    assert properties["TLSPROXY_LOG_FORMAT"]["enum"] == ["", "json", "text"]
    json.dumps(contract.schema())


def test_schema_of_secrets_and_old_names() -> None:
    """A secret is marked and its default not shown; an old name is there and deprecated."""
    from tests.test_environment import Topz  # noqa: PLC0415  -- the one class that has both

    properties = contract.schema(Topz)["properties"]
    assert isinstance(properties, dict)
    assert properties["TOPZ_TOKEN"]["writeOnly"] is True
    assert properties["TOPZ_PASSWORD"] == {
        "type": "string",
        "description": "old name of TOPZ_TOKEN",
        "deprecated": True,
    }


def test_effective_settings() -> None:
    """Each variable in order, as one would write it for a shell, with where it came from."""
    reading = read(Settings, {"TLSPROXY_DRAIN_DELAY": "2000ms", "TLSPROXY_APP_CHECK": "/a?b=c&d"})
    lines = contract.effective(reading).splitlines()
    assert len(lines) == len(reading.sources)
    assert lines[0].split() == ["TLSPROXY_CERT_NAME=tls", "#", "default"]
    assert "TLSPROXY_DRAIN_DELAY=2s                   # environment" in lines
    assert "TLSPROXY_APP_CHECK='/a?b=c&d'             # environment" in lines
    assert "TLSPROXY_REDIRECT_PORT=                   # default" in lines


def test_effective_settings_hide_secrets() -> None:
    """A secret that is set is masked, one that is not is empty."""
    from tests.test_environment import Topz  # noqa: PLC0415  -- the one class that has one

    assert "TOPZ_TOKEN='***' " in contract.effective(read(Topz, {"TOPZ_TOKEN": "hush"}))
    assert "TOPZ_TOKEN= " in contract.effective(read(Topz, {}))


def refresh() -> str:
    """Write everything that is generated; the reason where it may not be."""
    after = contract.surface()
    before = golden() if GOLDEN.exists() else after
    if lost := list(broken(without_aliases(before, after), after)):
        return "\n  ".join(["not recorded, because others rely on it:", *lost])
    GOLDEN.write_text(json.dumps(after, indent=2) + "\n")
    for document, parts in GENERATED.items():
        text = document.read_text()
        for name, generate in parts.items():
            head, _, tail = split_at(text, name)
            text = head + generate() + tail
        document.write_text(text)
    return ""


if __name__ == "__main__":
    sys.exit(refresh() or None)
