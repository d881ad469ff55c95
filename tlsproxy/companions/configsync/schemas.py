"""Whether data is as a JSON Schema wants it, and in plain words where it is not.

The words are ours: the library's repeat the value, which may be a secret. Loads jsonschema, 6 MB; for a process that
does not last.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from tlsproxy.companions.configsync.file_data import BadSchemaError, Data, MalformedError, shown
from tlsproxy.companions.configsync.parsers import parse

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_MOST_SHOWN = 200  # characters of what a schema says


class Schema:
    """A schema that has been read and is one.

    References lead to the schema itself; nothing is fetched. Formats are held to, as far as
    the library knows them without others: `ipv4`, `email`, `date`, `regex` and the like.

    Args:
        path: in JSON, or in YAML where it is called so.

    Raises:
        BadSchemaError: it can't be read or is no schema.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        schema = _read(path)
        declared = validator_for(schema, default=Draft202012Validator)
        try:
            declared.check_schema(schema)
        except SchemaError as error:
            raise BadSchemaError(f"the schema {path} is none: {error.json_path} {_reason(error)}") from None
        self._validator: Validator = declared(schema, registry=Registry(), format_checker=declared.FORMAT_CHECKER)

    def trouble(self, data: Data) -> str:
        """Where it is not so and why, such as `$.server.port must be a number, and is text`; empty: it is.

        Raises:
            BadSchemaError: the schema refers to what is not there, or one of its patterns is none.
        """
        try:
            error = best_match(self._validator.iter_errors(data))
        except Unresolvable as unresolvable:
            raise BadSchemaError(f"the schema {self._path} refers to {shown(unresolvable.ref)}, not in it") from None
        return f"{error.json_path} {_reason(error)}" if error else ""


def _read(path: Path) -> dict[str, Data]:
    try:
        (schema, *more) = parse("yaml" if path.suffix in (".yaml", ".yml") else "json", path.read_bytes())
    except OSError as error:
        raise BadSchemaError(f"the schema {path} can't be read: {(error.strerror or '').lower()}") from None
    except MalformedError as error:
        raise BadSchemaError(f"the schema {path}: {error}") from None
    if more or not isinstance(schema, dict):
        raise BadSchemaError(f"the schema {path} is none: it must be one object")
    return schema


# --- Reasons -----------------------------------------------------------------------------------------------

_TYPES = MappingProxyType(
    {
        "object": "an object",
        "array": "a list",
        "string": "text",
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "null": "null",
    }
)


def _reason(error: ValidationError | SchemaError) -> str:
    """Why, by the schema's word that was broken; the value itself is never repeated."""
    word = error.validator
    if not isinstance(word, str):  # the schema is `false`, and the place may be the one that it is in
        return "is or has what is not allowed"
    told = _REASONS.get(word)
    if isinstance(told, str):
        wanted = str(error.validator_value)
        return told.format(wanted if len(wanted) <= _MOST_SHOWN else f"{wanted[:_MOST_SHOWN]}...")
    return told(error.validator_value, error.instance, error.schema) if told else f"breaks the schema's {shown(word)}"


def _wrong_type(wanted: object, value: object, _: object) -> str:
    names = map(str, wanted if isinstance(wanted, list) else [wanted])
    return f"must be {' or '.join(_TYPES.get(name, name) for name in names)}, and is {_TYPES[_type_of(value)]}"


def _type_of(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    kinds = {str: "string", int: "integer", float: "number", list: "array"}
    return kinds.get(type(value), "object")


def _missing(wanted: object, value: object, _: object) -> str:
    assert isinstance(wanted, list)
    assert isinstance(value, dict)
    return f"lacks {_listed([name for name in wanted if name not in value])}"


def _unknown(_: object, value: object, schema: object) -> str:
    assert isinstance(value, dict)
    assert isinstance(schema, dict)
    patterns = [re.compile(pattern) for pattern in schema.get("patternProperties", {})]
    known = schema.get("properties", {})
    extra = [key for key in value if key not in known and not any(pattern.search(key) for pattern in patterns)]
    return f"has what is not allowed: {_listed(extra)}"


def _listed(names: list[str]) -> str:
    return ", ".join(map(shown, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


_REASONS: Mapping[str, str | Callable[[object, object, object], str]] = MappingProxyType(
    {
        "type": _wrong_type,
        "required": _missing,
        "additionalProperties": _unknown,
        "enum": "must be one of {}",
        "const": "must be {}",
        "minimum": "must be at least {}",
        "maximum": "must be at most {}",
        "exclusiveMinimum": "must be more than {}",
        "exclusiveMaximum": "must be less than {}",
        "multipleOf": "must be a multiple of {}",
        "minLength": "must have at least {} characters",
        "maxLength": "must have at most {} characters",
        "pattern": "must match {}",
        "format": "must be of the format {}",
        "minItems": "must have at least {} items",
        "maxItems": "must have at most {} items",
        "uniqueItems": "has an item twice",
        "minProperties": "must have at least {} keys",
        "maxProperties": "must have at most {} keys",
    }
)
"""For each word what is said, with what the schema says at {}, or what says it from that, the value and the schema."""
