"""What an importer finds: settings, remarks, and the rules by which one becomes the other; plain values."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

PREFIX = "TLSPROXY_"


class NotImported(Exception):  # noqa: N818  -- what is told is the finding
    """Nothing can be made of it; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive, or one variable of an image, with its place."""

    name: str
    args: tuple[str, ...]
    place: str
    """Where it stands: `line 7`, with the file's name in front of it for an included one."""
    block: tuple["Directive", ...] | None = None

    def __str__(self) -> str:
        return " ".join((self.name, *self.args))

    def named(self, *names: str) -> Iterator["Directive"]:
        """Those of these names that stand straight in its block."""
        return (one for one in self.block or () if one.name in names)


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable, without its prefix, and its value as one writes it."""

    variable: str
    value: str


@dataclass(frozen=True, slots=True)
class Remark:
    """What is not carried over, and what to do instead."""

    why: str
    instead: str = ""

    def __str__(self) -> str:
        return f"{self.why}; {self.instead}" if self.instead else self.why


Found = Setting | Remark
Convert = Callable[[Sequence[str]], Iterator[Found]]
"""From a directive's arguments; ValueError where they are not what nginx takes."""


@dataclass(frozen=True, slots=True)
class Carried:
    """There are variables for it."""

    variables: tuple[str, ...]
    convert: Convert
    note: str = ""
    """For the documents, where the variable alone does not say it."""


@dataclass(frozen=True, slots=True)
class Structure:
    """It is read together with others, by servers.py; the words are for the documents."""

    variables: tuple[str, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Needless:
    """Nothing is to be set: it is so here, or has no meaning here."""

    note: str


@dataclass(frozen=True, slots=True)
class Lost:
    """There is nothing like it."""

    remark: Remark


Rule = Carried | Structure | Needless | Lost
