"""What a file says, as plain data, and what is wrong with one that says nothing.

No message repeats what a file holds but for keys, since values may be secret.
"""

from collections.abc import Mapping
from typing import TypeAlias

Data: TypeAlias = "Mapping[str, Data] | list[Data] | str | int | float | bool | None"
"""What JSON can say: keys are text, and a date is what it was written as."""


class MalformedError(Exception):
    """The bytes are not what they are to be.

    Attributes:
        reason: plain, in lower case.
        line: from 1; None: not known.
        column: in characters, from 1; None: not known.
    """

    def __init__(self, reason: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column

    def __str__(self) -> str:
        place = (f"{name} {number}" for name, number in (("line", self.line), ("column", self.column)) if number)
        return ", ".join((*place, self.reason)) if self.line is None else f"{', '.join(place)}: {self.reason}"


class BadSchemaError(Exception):
    """The schema itself can't be used: no file is at fault. The message is plain and names it."""


def shown(key: object) -> str:
    """A key as messages name it: in quotes, on one line and not too long."""
    text = str(key)
    return repr(text if len(text) <= 60 else f"{text[:60]}...")
