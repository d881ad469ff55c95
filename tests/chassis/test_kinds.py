"""Values as they are written in the environment, and back."""

import re
from pathlib import Path

import pytest

from tlsproxy.chassis.kinds import COUNT, DURATION, LIST, PATH, PORT, SIZE, SWITCH, Kind, spell_duration, spell_size


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (DURATION, "30", 30.0),
        (DURATION, "30s", 30.0),
        (DURATION, "1.5s", 1.5),
        (DURATION, "500ms", 0.5),
        (DURATION, "5m", 300.0),
        (DURATION, "1H", 3600.0),
        (DURATION, "14d", 14 * 86400.0),
        (DURATION, "0", 0.0),
        (SIZE, "65536", 65536),
        (SIZE, "64k", 65536),
        (SIZE, "10M", 10 * 1024**2),
        (SIZE, "1g", 1024**3),
        (SWITCH, "on", True),
        (SWITCH, "TRUE", True),
        (SWITCH, "1", True),
        (SWITCH, "off", False),
        (SWITCH, "False", False),
        (SWITCH, "0", False),
        (PORT, "8443", 8443),
        (COUNT, "0", 0),
        (LIST, "a, b,,c ,", ("a", "b", "c")),
        (PATH, "/certs", Path("/certs")),
    ],
)
def test_reads(kind: Kind[object], text: str, value: object) -> None:
    """Each kind takes the spellings of the contract, in any case of letters."""
    assert kind.parse(text) == value
    assert not kind.pattern or re.fullmatch(kind.pattern, text.lower())


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (DURATION, ["", "s", "-1", "+1", "1e3", "5 m", "5min", "1h30m", ".5", "inf", "nan", "٣", "9" * 400]),
        (SIZE, ["1kb", "1.5k", "-1", "1 k", "k", "0x10", "9" * 5000]),
        (SWITCH, ["yes", "no", "2", "enabled"]),
        (PORT, ["http", "80.0", "+80", "8_0", "٨٠", "9" * 5000]),
    ],
)
def test_refuses(kind: Kind[object], texts: list[str]) -> None:
    """What is not a spelling of the contract is refused and not guessed at."""
    for text in texts:
        with pytest.raises(ValueError, match=r"^$"):
            kind.parse(text)


@pytest.mark.parametrize("text", ["36501d", "999999999999", "999999999999d", "3153600001"])
def test_no_duration_is_longer_than_a_century(text: str) -> None:
    """What no timer and no date could take is refused, with the bound."""
    assert DURATION.parse("36500d") == 3_153_600_000
    with pytest.raises(ValueError, match=r"^longer than 36500d$"):
        DURATION.parse(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0"), (0.0001, "0.1ms"), (0.5, "500ms"), (1.5, "1500ms"), (60, "60s"), (75, "75s"), (300, "5m"),
     (3600, "1h"), (3601, "3601s"), (14 * 86400, "14d"), (365 * 86400, "365d")],
)  # fmt: skip
def test_spells_durations(seconds: float, text: str) -> None:
    """A duration is written as people write it, and reads back as the same."""
    assert spell_duration(seconds) == text
    assert DURATION.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0"), (1000, "1000"), (32768, "32k"), (1024**2, "1m"), (3 * 1024**3, "3g")]
)
def test_spells_sizes(size: int, text: str) -> None:
    """A size is written in the largest unit that divides it."""
    assert spell_size(size) == text
    assert SIZE.parse(text) == size
