"""What is asked for in a URL's query: how processes are ordered, chosen and shown; pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, get_args
from urllib.parse import parse_qsl, urlencode

from tlsproxy.companions.topz.columns import COLUMNS

Format = Literal["html", "text", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)
MOST_ROWS = 100_000
LONGEST_REFRESH = 86_400
_LONGEST = 200
"""Characters of a filter and of a container's name."""
_SWITCH = {"on": True, "1": True, "true": True, "off": False, "0": False, "false": False}


class BadQuestionError(ValueError):
    """A query that can't be answered; the text names the parameter, and what it may be."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for; what is not said is None or empty."""

    sort: str = "cpu"
    """A column's key."""
    ascending: bool = False
    limit: int | None = None
    """Rows at most; 0: all; None: what the format has by default."""
    filter: str = ""
    """Text that is looked for in a process's columns, in any case."""
    tree: bool = False
    """Whether processes stand below their parents."""
    container: str = ""
    """A container's name, or the beginning of its id."""
    refresh: int | None = None
    """Seconds until a page asks again; 0: it does not; None: as it is set."""
    format: Format | None = None

    def fields(self, **changed: object) -> dict[str, str]:
        """As the parameters of a query, with these changed and without what is as by default."""
        other = replace(self, **changed)  # type: ignore[arg-type]  # fields of the class, by name
        values = {
            "sort": _spell_sort(other) if (other.sort, other.ascending) != ("cpu", False) else None,
            "limit": other.limit,
            "filter": other.filter or None,
            "tree": "on" if other.tree else None,
            "container": other.container or None,
            "refresh": other.refresh,
            "format": other.format,
        }
        return {name: str(value) for name, value in values.items() if value is not None}

    def query(self, **changed: object) -> str:
        """The same as one would write it, with a `?` where there is anything."""
        fields = self.fields(**changed)
        return f"?{urlencode(fields)}" if fields else ""


def parse_question(query: str) -> Question:
    """From a URL's query; an empty value counts as not given.

    Raises:
        BadQuestionError: a parameter is unknown, given twice, or not as it should be.
    """
    try:
        given = parse_qsl(query, keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise BadQuestionError("there are more parameters than there can be") from None
    names = [name for name, _ in given]
    for name in names:
        if name not in PARAMETERS:
            raise BadQuestionError(f"there is no such parameter; there are {', '.join(PARAMETERS)}")
        if names.count(name) > 1:
            raise BadQuestionError(f"{name} is given more than once")
    values = {name: value.strip() for name, value in given if value.strip()}
    sort, ascending = _sort(values.get("sort", "cpu"))
    return Question(
        sort=sort,
        ascending=ascending,
        limit=_number("limit", values.get("limit"), MOST_ROWS),
        filter=_text("filter", values.get("filter", "")),
        tree=_switch("tree", values.get("tree", "off")),
        container=_text("container", values.get("container", "")),
        refresh=_number("refresh", _without_off(values.get("refresh")), LONGEST_REFRESH),
        format=_format(values.get("format")),
    )


PARAMETERS = {
    "sort": "a column to order by: "
    + ", ".join(f"`{key}`" for key in COLUMNS)
    + "; numbers from the largest, text from A; with `-` before it the other way round",
    "limit": "so many rows at most; `0`: all",
    "filter": "only processes with this text, in any case, in their command, name, user, state, container or number",
    "tree": "`on`: processes stand below their parents; with `filter`, parents of those that are found are shown too",
    "container": "only this container, by its name or the beginning of its id",
    "refresh": "seconds after which the page asks again; `off`: it does not",
    "format": "`html`, `text` or `json`, whatever the client says that it takes",
}
"""What may stand in a query, and what each is for."""


def _sort(value: str) -> tuple[str, bool]:
    key = value.removeprefix("-")
    if key not in COLUMNS:
        raise BadQuestionError(f"sort must be {_or(COLUMNS)}, with or without - before it")
    natural = COLUMNS[key].ascending
    return key, natural != value.startswith("-")


def _spell_sort(question: Question) -> str:
    return question.sort if question.ascending == COLUMNS[question.sort].ascending else f"-{question.sort}"


def _number(name: str, value: str | None, most: int) -> int | None:
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()) or len(value) > 9 or int(value) > most:
        raise BadQuestionError(f"{name} must be a whole number up to {most}")
    return int(value)


def _without_off(value: str | None) -> str | None:
    return "0" if value == "off" else value


def _switch(name: str, value: str) -> bool:
    if value not in _SWITCH:
        raise BadQuestionError(f"{name} must be on or off")
    return _SWITCH[value]


def _text(name: str, value: str) -> str:
    if len(value) > _LONGEST:
        raise BadQuestionError(f"{name} must be of at most {_LONGEST} characters")
    return value


def _format(value: str | None) -> Format | None:
    if value is None:
        return None
    found = next((known for known in FORMATS if known == value), None)
    if found is None:
        raise BadQuestionError(f"format must be {_or(FORMATS)}")
    return found


def _or(choices: Iterable[str]) -> str:
    *others, last = choices
    return f"{', '.join(others)} or {last}"
