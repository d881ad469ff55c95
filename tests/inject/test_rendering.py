"""Plain values as YAML: what is written is read as the same."""

import json

import pytest
from ruamel.yaml import YAML

from tlsproxy.inject import rendering
from tlsproxy.inject.rendering import Plain

VALUES: list[Plain] = [
    "bare",
    "/certs/shop",
    "registry.example/shop:1.2",
    "20m",
    "64Mi",
    "8080",
    "0755",
    "1e3",
    "1_0",
    "true",
    "No",
    "null",
    "~",
    "",
    " x",
    "a: b",
    "a #b",
    "it's",
    'say "it\'s"',
    "a\nb",
    "\x1b",
    "*x",
    "- x",
    "{x}",
    "café ☕",
    7,
    True,
    ["x", "8"],
    [["x"], {"a": "b"}],
    {"a": {"b": ["c", {"d": "1"}]}, "e/f": "g"},
]


def loaded(text: str) -> object:
    # Kubernetes' own reader is one of YAML 1.1, where more words are booleans.
    yaml = YAML(typ="safe", pure=True)
    yaml.version = "1.1"
    return yaml.load(text)


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_what_is_written_is_read(value: Plain) -> None:
    """In every form, by readers of YAML 1.1 too; the quoted form is JSON."""
    assert json.loads(rendering.flow(value)) == value
    for text in (
        rendering.flow({"k": value}, quoted=False),
        rendering.flow_lines({"k": value}, "", "  ", "\n"),
        "\n".join(rendering.block_entry("k", value, "  ")),
        "\n".join(rendering.block_entry("k", value, "")),
    ):
        assert loaded(text) == {"k": value}, text
    assert loaded("\n".join(rendering.block_item(value, ""))) == [value]


@pytest.mark.parametrize(
    ("value", "written"),
    [("shop", "shop"), ("8080", '"8080"'), ("on", '"on"'), ('{"a"}', "'{\"a\"}'"), ("20m", "20m"), (True, "true")],
)
def test_quotes_stand_where_they_are_needed(value: str, written: str) -> None:
    """Nowhere else, and single ones around what is full of double ones."""
    assert rendering.scalar(value) == written


def test_lists_are_indented_as_asked() -> None:
    """By a step below their key, or in its column."""
    assert rendering.block_entry("a", {"b": ["c"]}, "  ") == ["a:", "  b:", "    - c"]
    assert rendering.block_entry("a", {"b": ["c"]}, "") == ["a:", "  b:", "  - c"]
