"""The formats and schemas that a version's files are held to before they are published, as settings say it; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from types import MappingProxyType

SUFFIXES: Mapping[str, str] = MappingProxyType(
    {".json": "json", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".ini": "ini", ".xml": "xml"}
)
"""What `auto` goes by."""
WORDS = ("auto", "json", "yaml", "toml", "ini", "xml", "none")


@dataclass(frozen=True, slots=True)
class Formats:
    """What files are held to."""

    formats: tuple[tuple[str, str], ...] = (("*", "auto"),)
    """Patterns and words of WORDS: the first that matches a file's path or name counts; where none does, it is `none`.

    `auto` goes by the suffix: .json, .yaml, .yml, .toml, .ini, .xml, and nothing for others.
    """
    schemas: tuple[tuple[str, str], ...] = ()
    """Patterns and paths of JSON Schemas; the first that matches counts."""
    allow_empty: bool = False
    """Whether a file may be without anything but blanks; a file whose word is `none` always may."""
    max_size: int = 4 * 1024 * 1024
    """Bytes of one file that has a format."""
    within: float = 10.0
    """Seconds for all files of a version."""

    def format_of(self, file: PurePosixPath) -> str:
        """One of WORDS but `auto`, for a file's path in its version."""
        word = _first(self.formats, file) or "none"
        return SUFFIXES.get(file.suffix.lower(), "none") if word == "auto" else word

    def schema_of(self, file: PurePosixPath) -> str:
        """The path of its schema; empty: it has none."""
        return _first(self.schemas, file)

    def is_free(self, file: PurePosixPath) -> bool:
        """Whether nothing is asked of it at all, not even that there is something in it."""
        return (_first(self.formats, file) or "none") == "none"


def _first(pairs: tuple[tuple[str, str], ...], file: PurePosixPath) -> str:
    """The value for the first pattern that matches its path or its name; empty: none does."""
    return next((value for pattern, value in pairs if any(fnmatchcase(n, pattern) for n in (str(file), file.name))), "")


def parse_formats(text: str) -> tuple[tuple[str, str], ...]:
    """From one word for all files, or from `*.conf=ini, app.yaml=yaml`.

    Raises:
        ValueError: with a plain reason.
    """
    pairs = _pairs(text.lower() if "=" not in text else text)
    if unknown := [word for _, word in pairs if word not in WORDS]:
        raise ValueError(f"{unknown[0]} is no format")
    return pairs


def parse_schemas(text: str) -> tuple[tuple[str, str], ...]:
    """From one path for all files that have a format, or from `app.yaml=/etc/schemas/app.json, *.toml=...`.

    Raises:
        ValueError: with a plain reason.
    """
    pairs = _pairs(text)
    if relative := [path for _, path in pairs if not path.startswith("/")]:
        raise ValueError(f"{relative[0]} must be an absolute path")
    return pairs


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) == 1 and "=" not in parts[0]:
        return (("*", parts[0]),)
    pairs = tuple((pattern.strip(), value.strip()) for pattern, _, value in (part.partition("=") for part in parts))
    if any(not pattern or not value for pattern, value in pairs):
        raise ValueError("one of several has no pattern, or a pattern has no value")
    return pairs
