"""What a file's bytes say in JSON, YAML, TOML, INI or XML, or where they say nothing.

Stricter than most apps: what one reads as something else than another does, such as a key that comes twice, is refused.
Knows no schema. What a parser takes is loaded when the first file of its kind is read.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from tlsproxy.companions.configsync.file_data import Data, MalformedError, shown


def parse(name: str, content: bytes) -> list[Data]:
    """The documents of a file: one, but for YAML, which may have any number; of XML none, which has no such data.

    Args:
        name: one of PARSERS.
        content: the whole file.

    Raises:
        MalformedError: it is not of that format, or says what apps disagree about.
        RecursionError: it is nested too deep.
    """
    return PARSERS[name](content)


# --- Text --------------------------------------------------------------------------------------------------

_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def _text(content: bytes, name: str, *, mark_allowed: bool = False) -> str:
    """UTF-8 as text; everything else that it may be is named."""
    encoding = next((encoding for mark, encoding in _MARKS.items() if content.startswith(mark)), "")
    if not encoding and b"\0" in content[:4]:
        encoding = "UTF-16 or UTF-32"
    if encoding:
        raise MalformedError(f"is in {encoding}, and {name} is read as UTF-8: save it so", 1)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise MalformedError(f"byte 0x{content[error.start]:02x} is not UTF-8: save it so", line) from None
    if text.startswith("\ufeff"):
        if not mark_allowed:
            raise MalformedError(f"begins with a byte order mark, which not all take in {name}: save it without", 1)
        return text[1:]
    return text


# --- JSON --------------------------------------------------------------------------------------------------


def _parse_json(content: bytes) -> list[Data]:
    import json  # noqa: PLC0415  -- see above

    text = _text(content, "JSON")

    def without_twins(pairs: list[tuple[str, Data]]) -> Data:
        data = dict(pairs)
        if len(data) < len(pairs):
            keys = [key for key, _ in pairs]
            twin = next(key for key in keys if keys.count(key) > 1)
            raise MalformedError(f"the key {shown(twin)} is there twice in one object", _line_of_twin(text, twin))
        return data

    def refuse(word: str) -> Data:
        raise MalformedError(f"{word} is no number in JSON")

    try:
        return [json.loads(text, object_pairs_hook=without_twins, parse_constant=refuse)]
    except json.JSONDecodeError as error:
        raise MalformedError(_lower(error.msg), error.lineno, error.colno) from None
    except ValueError:  # of the digits that Python converts
        raise MalformedError("a number has too many digits") from None


def _line_of_twin(text: str, key: str) -> int | None:
    """The line of the second of two; None where there are more, of which the parser does not say the one."""
    found = [match.start() for match in re.finditer(rf'"{re.escape(key)}"\s*:', text)]
    return text.count("\n", 0, found[1]) + 1 if len(found) == 2 else None


def _lower(reason: str) -> str:
    return reason[:1].lower() + reason[1:]


# --- YAML --------------------------------------------------------------------------------------------------


def _parse_yaml(content: bytes) -> list[Data]:
    """YAML 1.1, as PyYAML reads it; tags of an app's own, such as !secret, stand for plain values."""
    from tlsproxy.companions.configsync.yaml_documents import documents  # noqa: PLC0415  -- see above

    return documents(_text(content, "YAML", mark_allowed=True))


# --- TOML --------------------------------------------------------------------------------------------------


def _parse_toml(content: bytes) -> list[Data]:
    import tomllib  # noqa: PLC0415  -- see above

    text = _text(content, "TOML")
    try:
        return [_as_json(tomllib.loads(text))]
    except tomllib.TOMLDecodeError as error:
        reason, _, place = str(error).partition(" (at ")
        numbers = [int(number) for number in re.findall(r"\d+", place)]
        raise MalformedError(_lower(reason), *numbers) from None


def _as_json(value: object) -> Data:
    """Dates and times as text."""
    if isinstance(value, dict):
        return {key: _as_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_json(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool) else str(value)


# --- INI ---------------------------------------------------------------------------------------------------


def _parse_ini(content: bytes) -> list[Data]:
    """Sections of `key = value`, `key: value` or `key` alone; nothing is put in for %."""
    import configparser  # noqa: PLC0415  -- see above

    parser = configparser.RawConfigParser(allow_no_value=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # the documented way to keep the case of keys
    try:
        parser.read_string(_text(content, "INI"))
    except configparser.DuplicateSectionError as error:
        raise MalformedError(f"the section {shown(error.section)} is there twice", error.lineno) from None
    except configparser.DuplicateOptionError as error:
        where = f"in the section {shown(error.section)}"
        raise MalformedError(f"the key {shown(error.option)} is there twice {where}", error.lineno) from None
    except configparser.MissingSectionHeaderError as error:
        raise MalformedError("comes before any [section]", error.lineno) from None
    except configparser.ParsingError as error:
        raise MalformedError("is neither a [section] nor a key and its value", error.errors[0][0]) from None
    return [{name: dict(parser.items(name)) for name in (*_defaults(parser.defaults()), *parser.sections())}]


def _defaults(values: Mapping[str, str]) -> tuple[str, ...]:
    """The section whose values are in all others as well, where there is one."""
    return ("DEFAULT",) if values else ()


# --- XML ---------------------------------------------------------------------------------------------------


def _parse_xml(content: bytes) -> list[Data]:
    """In any encoding that it declares; nothing outside of the file is read, and nothing in it may expand."""
    from xml.parsers import expat  # noqa: PLC0415  -- see above

    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise MalformedError("declares an entity, which is not taken from anybody", parser.CurrentLineNumber)

    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise MalformedError(expat.ErrorString(error.code), error.lineno, error.offset + 1) from None
    except (LookupError, ValueError):  # Python looks the encoding up, and takes none of several bytes for a character
        raise MalformedError("declares an encoding that is not known: save it as UTF-8", 1) from None
    return []


PARSERS: Mapping[str, Callable[[bytes], list[Data]]] = MappingProxyType(
    {"json": _parse_json, "yaml": _parse_yaml, "toml": _parse_toml, "ini": _parse_ini, "xml": _parse_xml}
)
