"""The corpus: raw messages, one a file, and beside them `index.toml`, which says of each why and what becomes of it.

`requests` and `responses` lie beside this file. A class is a folder and a table of the index, with what it `tries`; its
`messages` name the files. What the keys of a message mean stands at the head of each index.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Message:
    """One message of the corpus."""

    group: str
    """The class, which is its folder."""
    name: str
    why: str
    expect: str
    data: bytes
    never: bytes = b""
    """In lower case: what must not go on; empty: nothing in particular."""
    method: str = "GET"
    """Of the request that a response answers."""
    ends: bool = False
    """Whether the app ends the connection behind a response."""

    @property
    def label(self) -> str:
        return f"{self.group}/{self.name}"

    def __repr__(self) -> str:
        return self.label


@dataclass(frozen=True)
class Group:
    """A class of messages."""

    name: str
    tries: str
    """What it tries, as one sentence."""
    messages: tuple[Message, ...]
    row: str = ""
    """The row of the documentation's table that it is; empty: of none."""


@cache
def groups(kind: str) -> tuple[Group, ...]:
    """The classes of `requests` or `responses`, in the order of the index."""
    index = tomllib.loads((HERE / kind / "index.toml").read_text())
    return tuple(
        Group(
            name,
            table["tries"],
            tuple(_message(HERE / kind / name / f"{file}.http", said) for file, said in table["messages"].items()),
            table.get("row", ""),
        )
        for name, table in index.items()
    )


def messages(kind: str) -> tuple[Message, ...]:
    """All of one kind."""
    return tuple(message for group in groups(kind) for message in group.messages)


def _message(path: Path, said: dict[str, str | bool]) -> Message:
    return Message(
        group=path.parent.name,
        name=path.stem,
        why=str(said["why"]),
        expect=str(said["expect"]),
        data=path.read_bytes(),
        never=str(said.get("never", "")).encode(),
        method=str(said.get("method", "GET")),
        ends=bool(said.get("ends", False)),
    )
