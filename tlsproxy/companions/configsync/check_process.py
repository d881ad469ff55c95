"""The process that reads a version's files and holds them to their formats: `checking` starts it for that alone.

It writes a line for each file that is not what it is to be, and says by its exit status what the lines mean.
"""

import json
import resource
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tlsproxy.companions.configsync.file_data import BadSchemaError, Data, MalformedError
from tlsproxy.companions.configsync.formats import Formats
from tlsproxy.companions.configsync.parsers import parse

if TYPE_CHECKING:
    from tlsproxy.companions.configsync.schemas import Schema

MALFORMED = 3
"""Exit status: each line tells of a file that is not what it is to be."""
UNUSABLE = 4
"""Exit status: the last line tells why they could not be held to a schema."""

_MOST_MEMORY = 256 * 1024 * 1024
"""Bytes for data: a file that takes more is refused, where the container would end of it."""
_MOST_TOLD = 20  # files


def main(directory: str, formats: str) -> int:
    """Check all files under a directory; the exit status. The second argument is `Formats` as JSON."""
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_MEMORY, _MOST_MEMORY))
    try:
        troubles = list(_troubles(Path(directory), Formats(**json.loads(formats))))
    except BadSchemaError as error:
        sys.stdout.write(f"{error}\n")
        return UNUSABLE
    more = [f"... and {len(troubles) - _MOST_TOLD} more files"] if len(troubles) > _MOST_TOLD else []
    sys.stdout.writelines(f"{line}\n" for line in (*troubles[:_MOST_TOLD], *more))
    return MALFORMED if troubles else 0


def _troubles(directory: Path, formats: Formats) -> Iterator[str]:
    for path in sorted(path for path in directory.rglob("*") if path.is_file() and not path.is_symlink()):
        file = PurePosixPath(path.relative_to(directory))
        try:
            trouble = _trouble(path, file, formats)
        except MalformedError as error:
            trouble = str(error)
        except RecursionError:
            trouble = "is nested too deep"
        except MemoryError:
            trouble = f"takes more than {_MOST_MEMORY >> 20} MiB of memory to be read"
        if trouble:
            name = str(file) if str(file).isprintable() else repr(str(file))
            yield f"{name}: {trouble}"


def _trouble(path: Path, file: PurePosixPath, formats: Formats) -> str:
    """What is wrong with one file; empty: nothing."""
    if formats.is_free(file):
        return ""
    word = formats.format_of(file)
    with path.open("rb") as opened:
        content = opened.read(formats.max_size + 1)
    if word != "none" and len(content) > formats.max_size:
        return f"has more than {formats.max_size} bytes"
    if not content.strip(b" \t\r\n\xef\xbb\xbf"):
        return "" if formats.allow_empty else "is empty"
    documents = parse(word, content) if word != "none" else []
    schema = formats.schema_of(file)
    return _against(schema, word, documents) if schema else ""


def _against(path: str, word: str, documents: list[Data]) -> str:
    if word == "none":
        return "has a schema, but no format that it is read as"
    if word == "xml":
        return "has a schema, and XML can't be held to one"
    schema = _schema(path)
    troubles = (f"document {number}, {why}" if len(documents) > 1 else why
                for number, data in enumerate(documents, 1) if (why := schema.trouble(data)))  # fmt: skip
    return next(troubles, "")


@cache
def _schema(path: str) -> "Schema":
    from tlsproxy.companions.configsync.schemas import Schema  # noqa: PLC0415  -- most have none, and it takes 0.2 s

    return Schema(Path(path))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
