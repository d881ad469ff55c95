"""What became of each version, which are not to be tried again, and the change that is under way; in one file.

The file is replaced whole with each step, so that a process that starts after a crash reads where the one before it
was. How a change is made is not known here.
"""

import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar, get_args

from tlsproxy.companions.rollout.durable import read_json, sweep, write_whole

_Choice = TypeVar("_Choice")

_logger = logging.getLogger("tlsproxy.rollout")

BecameOf = Literal[
    "published", "rejected", "failed", "restored", "rolled back", "pinned", "unpinned", "superseded", "undone"
]
"""What became of a version.

published: seen by the app, told of, and healthy for the time that was asked for.
rejected: by a check, and never seen.
failed: the app refused it, or was not healthy after it.
restored: took the place of one that failed.
rolled back, pinned: published because a person asked for it; pinned until `unpinned`.
superseded: a newer one came before the app had been told of it, or had been watched long enough.
undone: the process was killed in the middle, and the version is no more.
"""

Aim = Literal["published", "restored", "rolled back", "pinned"]
"""What a change is for."""

_OUTCOMES: tuple[BecameOf, ...] = get_args(BecameOf)
_AIMS: tuple[Aim, ...] = get_args(Aim)
_BAD_KEPT = 100
"""Reasons remembered; the oldest is forgotten first. A name is a digest, and hardly ever comes again."""


class HistoryError(Exception):
    """The file can't be written or read; the message is for people. See `History`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the history."""

    name: str
    """The version's."""
    origin: str
    """Where it came from, or who asked for it."""
    at: datetime
    """By the clock of the moment; entries are in the order in which they came, whatever it says."""
    outcome: BecameOf
    detail: str = ""
    """Why, for people."""


@dataclass(frozen=True, slots=True)
class Change:
    """What has been begun and not brought to its end."""

    name: str
    """The version that is to be current."""
    origin: str
    outcome: Aim
    """What is to be said of it when all goes well."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """All that is remembered."""

    entries: tuple[Entry, ...] = ()
    """The oldest first."""
    bad: Mapping[str, str] = field(default_factory=dict)
    """Versions that are not to be tried again, and why."""
    good: tuple[str, ...] = ()
    """Versions that the app was healthy with, the last one last."""
    pinned: str | None = None
    change: Change | None = None


def read_history(path: Path) -> State:
    """What is remembered, for another process than the one that writes it; where there is no file, nothing.

    Raises:
        HistoryError: it can't be read or understood.
    """
    try:
        return _state_of(read_json(path))
    except FileNotFoundError:
        return State()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HistoryError(f"can't read the history {path}: {_reason(error)}") from error


class History:
    """The state and its file. Each step is on the disk when it returns; blocking, in threads.

    Every step may raise HistoryError. Only `begin` has not been done then; the others hold all the same until the
    process ends, and are written with the next one.

    Args:
        path: the file, in a directory that exists.
        keep: so many entries; at least 1.
    """

    def __init__(self, path: Path, keep: int = 100) -> None:
        self._path = path
        self._keep = max(keep, 1)
        self._state = State()

    @property
    def state(self) -> State:
        """What is remembered at the moment."""
        return self._state

    def open(self) -> None:
        """Read the file. One that can't be understood is set aside as `<name>.unreadable`, with a warning."""
        with suppress(OSError):  # it is in nobody's way
            sweep(self._path)
        try:
            self._state = read_history(self._path)
        except HistoryError as error:
            self._state = State()
            self._set_aside(error)

    def _set_aside(self, error: HistoryError) -> None:
        aside = self._path.with_name(f"{self._path.name}.unreadable")
        try:
            self._path.replace(aside)
        except OSError:
            aside = self._path
        _logger.warning("%s; it begins anew, and what there was is kept as %s", error, aside)

    # ------------------------------------------------------------------ a change

    def begin(self, change: Change, *, instead_of: Entry | None = None, condemned: str = "") -> None:
        """Note what is to be done before anything of it is; its version is no longer a bad one.

        Where this can't be noted, nothing is, and nothing of it may be done: the next start would know nothing of it.

        Args:
            change: takes the place of one that was under way.
            instead_of: what became of the one before it, for the history.
            condemned: with `instead_of`: why its version is not to be tried again; empty: it may be.
        """
        bad = {name: reason for name, reason in self._state.bad.items() if name != change.name}
        if instead_of is not None and condemned:
            bad = _with_bad(bad, instead_of.name, condemned)
        before = self._state
        try:
            self._put(replace(before, entries=self._with(instead_of), bad=bad, change=change))
        except HistoryError:
            self._state = before
            raise

    def end(self, entry: Entry | None = None, *, is_good: bool = False) -> None:
        """The change is brought to its end; its version counts as one to go back to if it is good."""
        good = self._state.good
        if entry is not None and is_good:
            good = (*(name for name in good if name != entry.name), entry.name)[-self._keep :]
        pinned = entry.name if entry is not None and entry.outcome == "pinned" else self._state.pinned
        self._put(replace(self._state, entries=self._with(entry), good=good, pinned=pinned, change=None))

    # ------------------------------------------------------------------ besides

    def add(self, entry: Entry) -> None:
        """Add a line and nothing else."""
        self._put(replace(self._state, entries=self._with(entry)))

    def pin(self, entry: Entry) -> None:
        """Hold the version of the entry."""
        self._put(replace(self._state, entries=self._with(entry), pinned=entry.name))

    def unpin(self, entry: Entry) -> None:
        """Hold none."""
        self._put(replace(self._state, entries=self._with(entry), pinned=None))

    def mark_bad(self, name: str, reason: str) -> None:
        """Remember that a version is not to be tried again."""
        self._put(replace(self._state, bad=_with_bad(self._state.bad, name, reason)))

    def _with(self, entry: Entry | None) -> tuple[Entry, ...]:
        return (*self._state.entries, *(() if entry is None else (entry,)))[-self._keep :]

    def _put(self, state: State) -> None:
        self._state = state
        try:
            write_whole(self._path, json.dumps(asdict(state), default=datetime.isoformat, indent=1).encode())
        except OSError as error:
            raise HistoryError(f"can't write the history {self._path}: {_reason(error)}") from error


def entry_of(change: Change, outcome: BecameOf, detail: str) -> Entry:
    """What became of a change, at this moment."""
    return Entry(change.name, change.origin, datetime.now(UTC), outcome, detail)


def shown(entry: Entry) -> dict[str, str]:
    """One line of the history, for JSON."""
    return {**asdict(entry), "at": entry.at.isoformat("T", "seconds")}


def _with_bad(bad: Mapping[str, str], name: str, reason: str) -> dict[str, str]:
    others = [(known, why) for known, why in bad.items() if known != name]
    return dict([*others, (name, reason)][-_BAD_KEPT:])


def _reason(error: Exception) -> str:
    return os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)


# ---------------------------------------------------------------------- from JSON


def _state_of(found: object) -> State:
    """The state as it was written.

    Raises:
        KeyError: something is missing.
        TypeError: something is of another type.
        ValueError: something has a value that it can't have.
    """
    fields = _fields(found)
    entries, good, change = fields["entries"], fields["good"], fields["change"]
    if not isinstance(entries, list) or not isinstance(good, list):
        raise TypeError("entries and good are to be lists")
    return State(
        entries=tuple(_entry_of(_fields(entry)) for entry in entries),
        bad={_text(name): _text(reason) for name, reason in _fields(fields["bad"]).items()},
        good=tuple(_text(name) for name in good),
        pinned=None if fields["pinned"] is None else _text(fields["pinned"]),
        change=None if change is None else _change_of(_fields(change)),
    )


def _entry_of(fields: Mapping[str, object]) -> Entry:
    outcome = _one_of(fields["outcome"], _OUTCOMES)
    at = datetime.fromisoformat(_text(fields["at"]))
    return Entry(_text(fields["name"]), _text(fields["origin"]), at, outcome, _text(fields["detail"]))


def _change_of(fields: Mapping[str, object]) -> Change:
    outcome = _one_of(fields["outcome"], _AIMS)
    return Change(_text(fields["name"]), _text(fields["origin"]), outcome, _text(fields["detail"]))


def _fields(found: object) -> Mapping[str, object]:
    if not isinstance(found, dict):
        raise TypeError("not an object")
    return {_text(key): value for key, value in found.items()}


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise TypeError("not a text")
    return found


def _one_of(found: object, choices: tuple[_Choice, ...]) -> _Choice:
    for choice in choices:
        if choice == found:
            return choice
    raise ValueError(f"{found!r} is none of what it may be")
