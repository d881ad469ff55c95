"""nginx's configuration files as directives; the only module that knows the parser."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NotRequired, TypedDict

import crossplane

from tlsproxy.import_nginx.findings import Directive, NotImported

_BY_LUA: Final = "_by_lua_block"
_COMMENT: Final = "#"
_TOO_DEEP: Final = "{}: it includes itself, or is nested too deeply; name the file with the server"


class _Statement(TypedDict):
    """A directive as the parser gives it."""

    file: NotRequired[str]
    """Not of every comment in what is put together of several files."""
    directive: str
    line: int
    args: list[str]
    block: NotRequired[list["_Statement"]]


class _Error(TypedDict):
    file: str
    error: str
    line: int | None


def read(file: str) -> tuple[tuple[Directive, ...], tuple[Directive, ...]]:
    """The directives of a file and of what it includes, and each include whose file is not there.

    Args:
        file: a path; `-` for standard input.

    Raises:
        NotImported: the file can't be read, or is not a configuration.
    """
    path = "/dev/stdin" if file == "-" else file
    try:
        Path(path).open("rb").close()
        parsed = crossplane.parse(path, combine=True, check_ctx=False, check_args=False)
    except OSError as failure:
        raise NotImported(f"{file}: {failure.strerror}; name nginx's configuration, or - for standard input") from None
    except RecursionError:
        raise NotImported(_TOO_DEEP.format(file)) from None
    errors: list[_Error] = parsed["errors"]
    for error in errors:
        if "recursion" in error["error"]:
            raise NotImported(_TOO_DEEP.format(file))
        if not _is_missing(error):
            line = f", line {error['line']}" if error["line"] else ""
            raise NotImported(
                f"{file}{line}: this is not nginx's configuration: {error['error'] or 'it ends too early'}"
            )
    missing = (
        Directive("include", (error["error"].rpartition(": ")[2].strip("'"),), f"line {error['line']}")
        for error in errors
    )
    # Its kinds of files have no meaning here.
    missing = (one for one in missing if not one.args[0].endswith("mime.types"))
    return tuple(_directives(parsed["config"][0]["parsed"], path)), tuple(missing)


def _is_missing(error: _Error) -> bool:
    return error["line"] is not None and "No such file" in error["error"]


def _directives(statements: Sequence[_Statement], main: str) -> Iterator[Directive]:
    for statement in statements:
        if statement["directive"] == _COMMENT:
            continue
        included = "" if statement["file"] == main else f"{Path(statement['file']).name} "
        is_program = statement["directive"].endswith(_BY_LUA)
        block = statement.get("block")
        yield Directive(
            statement["directive"],
            () if is_program else tuple(statement["args"]),
            f"{included}line {statement['line']}",
            None if block is None else tuple(_directives(block, main)),
        )
