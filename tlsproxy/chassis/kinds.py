"""The kinds of values in environment variables: how each is written, read and written back; pure.

What reads variables is in environment.py; what a variable means is its class's matter.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, TypeVar

from annotated_types import Ge, Gt, Le

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """One way of writing values; in a field's `Annotated` type it says how the variable is read."""

    name: str
    """The type in documents, such as `duration`."""
    allowed: str
    """What may be written, as the end of "must be ..."; empty for a choice, whose annotation says it."""
    parse: Callable[[str], T]
    """From text that is never empty; ValueError with a plain reason, or with none where `allowed` says it."""
    spell: Callable[[T], str]
    """The inverse: how an operator would write the value; "" for one that stands for unset."""
    unit: str = ""
    """The unit of the parsed value."""
    pattern: str = ""
    """A regular expression that all accepted text matches as a whole, in lower case; empty: there is none."""


# --- Reading and writing -----------------------------------------------------------------------------------

# So many digits hold every sensible value, and no number can be too long to convert.
NUMBER = "[0-9]{1,12}"
DURATION_PATTERN = rf"({NUMBER}(?:\.[0-9]{{1,6}})?)(ms|s|m|h|d)?"
SIZE_PATTERN = f"({NUMBER})(k|m|g)?"
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
LONGEST_DURATION = 36_500 * SECONDS["d"]
"""A century: what is longer can be no deadline of the event loop's, nor be added to a date."""
SWITCH_WORDS = {"on": True, "off": False, "true": True, "false": False, "1": True, "0": False}


def parse_duration(text: str) -> float:
    """Seconds from `30`, `1.5s`, `500ms`, `5m`, `1h`, `14d`; without a unit it is seconds."""
    number, unit = _split_unit(DURATION_PATTERN, text)
    seconds = float(number) * SECONDS[unit or "s"]
    if seconds > LONGEST_DURATION:
        raise ValueError(f"longer than {spell_duration(LONGEST_DURATION)}")
    return seconds


def spell_duration(seconds: float) -> str:
    """Seconds as such up to five minutes, and in the largest unit that divides them above."""
    if seconds % 1:
        return f"{seconds * 1000:.12g}ms"
    if seconds == 0:
        return "0"
    unit = "s" if seconds < 300 else next(unit for unit in "dhms" if seconds % SECONDS[unit] == 0)
    return f"{seconds / SECONDS[unit]:.0f}{unit}"


def parse_size(text: str) -> int:
    """Bytes from `65536`, `64k`, `10m`, `1g` (powers of 1024)."""
    number, unit = _split_unit(SIZE_PATTERN, text)
    return int(number) * BYTES[unit]


def spell_size(size: int) -> str:
    """In the largest unit that divides it."""
    unit = next((unit for unit in "gmk" if size and size % BYTES[unit] == 0), "")
    return f"{size // BYTES[unit]}{unit}"


def _split_unit(pattern: str, text: str) -> tuple[str, str]:
    match = re.fullmatch(pattern, text, re.IGNORECASE)
    if not match:
        raise ValueError
    return match[1], (match[2] or "").lower()


def parse_switch(text: str) -> bool:
    """True or False from `on`, `off`, `true`, `false`, `1`, `0`."""
    on = SWITCH_WORDS.get(text.lower())
    if on is None:
        raise ValueError
    return on


def parse_whole(text: str) -> int:
    """A whole number, not negative."""
    if not re.fullmatch(NUMBER, text):
        raise ValueError
    return int(text)


def parse_list(text: str) -> tuple[str, ...]:
    """The parts between commas, without the blanks around them and without empty ones."""
    return tuple(part for part in map(str.strip, text.split(",")) if part)


def spell_plain(value: object) -> str:
    """As Python prints it; None, which stands for unset, as nothing."""
    return "" if value is None else str(value)


# --- The kinds ---------------------------------------------------------------------------------------------

DURATION = Kind(
    name="duration",
    allowed="a duration in ms, s, m, h or d (seconds without a unit)",
    parse=parse_duration,
    spell=spell_duration,
    unit="seconds",
    pattern=DURATION_PATTERN,
)
SIZE = Kind(
    name="size",
    allowed="a size in k, m or g (bytes without a unit)",
    parse=parse_size,
    spell=spell_size,
    unit="bytes",
    pattern=SIZE_PATTERN,
)
SWITCH = Kind(
    name="boolean",
    allowed="on or off (or true, false, 1, 0)",
    parse=parse_switch,
    spell=lambda on: "on" if on else "off",
    pattern="|".join(SWITCH_WORDS),
)
PORT = Kind("port", "a port", parse_whole, spell_plain, pattern=NUMBER)
COUNT = Kind("count", "a whole number", parse_whole, spell_plain, pattern=NUMBER)
TEXT = Kind("text", "text", str, spell_plain)
PATH = Kind("path", "a path", Path, spell_plain)
CHOICE = Kind("choice", "", str.lower, spell_plain)
LIST: Kind[tuple[str, ...]] = Kind("list", "a list separated by commas", parse_list, ",".join)

Duration = Annotated[float, DURATION, Gt(0)]
"""Seconds, more than 0."""
DurationOrZero = Annotated[float, DURATION, Ge(0)]
"""Seconds; what 0 means is the variable's to say."""
Size = Annotated[int, SIZE, Ge(0)]
"""Bytes."""
Switch = Annotated[bool, SWITCH]
Port = Annotated[int, PORT, Ge(1), Le(65535)]
PortOrZero = Annotated[int, PORT, Ge(0), Le(65535)]
Count = Annotated[int, COUNT, Ge(0)]
Text = Annotated[str, TEXT]
FilePath = Annotated[Path, PATH]
List = Annotated[tuple[str, ...], LIST]
