"""What is said of data that a JSON Schema does not want, and of schemas that are none."""

import json
from pathlib import Path

import pytest

from tests.companions.rollout.scripted_port import port
from tlsproxy.companions.configsync.file_data import BadSchemaError, Data
from tlsproxy.companions.configsync.schemas import Schema


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "schema.json"


SERVER = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["server"],
    "properties": {
        "server": {
            "properties": {
                "port": {"type": "integer", "minimum": 1, "maximum": 65535},
                "address": {"format": "ipv4"},
                "mode": {"enum": ["on", "off"]},
                "name": {"pattern": "^[a-z]+$", "maxLength": 5, "type": ["string", "null"]},
                "ref": {"$ref": "#/$defs/list"},
                "gone": False,
            },
            "patternProperties": {"^x-": {}},
            "additionalProperties": False,
        }
    },
    "$defs": {"list": {"uniqueItems": True, "contains": {"const": 1}}},
}


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({"port": 80, "x-y": 1, "name": None}, ""),
        ({"port": "hunter2"}, "$.server.port must be a whole number, and is text"),
        ({"port": True}, "$.server.port must be a whole number, and is true or false"),
        ({"port": 0}, "$.server.port must be at least 1"),
        ({"port": 65536}, "$.server.port must be at most 65535"),
        ({"address": "hunter2"}, "$.server.address must be of the format ipv4"),
        ({"mode": "hunter2"}, "$.server.mode must be one of ['on', 'off']"),
        ({"name": "Hun"}, "$.server.name must match ^[a-z]+$"),
        ({"name": "hunter"}, "$.server.name must have at most 5 characters"),
        ({"name": {}}, "$.server.name must be text or null, and is an object"),
        ({"prot": 1, "x-y": 1}, "$.server has what is not allowed: 'prot'"),
        ({"ref": [1, 1]}, "$.server.ref has an item twice"),
        ({"ref": ["hunter2"]}, "$.server.ref breaks the schema's 'contains'"),
        ({"gone": "hunter2"}, "$.server is or has what is not allowed"),
    ],
)
def test_trouble(path: Path, server: Data, said: str) -> None:
    """The place and the reason are told, and never the value."""
    path.write_text(json.dumps(SERVER))
    assert Schema(path).trouble({"server": server}) == said


def test_missing(path: Path) -> None:
    """What is not there is named."""
    path.write_text(json.dumps(SERVER))
    assert Schema(path).trouble({}) == "$ lacks 'server'"


def test_best_of_several(path: Path) -> None:
    """Of several ways to be right, what is told is nearest to one of them."""
    path.write_text(json.dumps({"anyOf": [{"type": "null"}, {"properties": {"port": {"type": "integer"}}}]}))
    assert Schema(path).trouble({"port": "x"}) == "$.port must be a whole number, and is text"


def test_in_yaml(tmp_path: Path) -> None:
    """A schema may be in YAML."""
    path = tmp_path / "schema.yaml"
    path.write_text("required: [a]\n")
    assert Schema(path).trouble({}) == "$ lacks 'a'"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "can't be read: no such file or directory"),
        ("{", "line 1, column 2: expecting property name"),
        ("[]", "is none: it must be one object"),
        ('{"type": "strnig"}', "is none: $.type"),
        ('{"properties": {"a": {"pattern": "("}}}', "is none: $.properties.a.pattern must be of the format regex"),
    ],
)
def test_no_schema(path: Path, text: str | None, said: str) -> None:
    """A schema that is none is told with its file's name."""
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadSchemaError) as caught:
        Schema(path)
    assert str(caught.value).startswith(f"the schema {path}")
    assert said in str(caught.value)


@pytest.mark.parametrize("ref", ["http://127.0.0.1:{port}/schema.json", "#/$defs/none", "other.json"])
def test_nothing_is_fetched(path: Path, ref: str) -> None:
    """A reference to what is not in the schema is an error of the schema."""
    with port([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"]) as server:
        path.write_text(json.dumps({"$ref": ref.format(port=server.number)}))
        with pytest.raises(BadSchemaError, match=r"refers to .*, not in it"):
            Schema(path).trouble({})
    assert server.asked == []
