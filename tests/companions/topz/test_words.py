"""Numbers and moments as people read them."""

import pytest

from tlsproxy.companions.topz import words


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "-"), (0, "0"), (999, "999"), (1000, "1.0K"), (1536, "1.5K"), (150 * 1024, "150K"), (45_900_000, "43.8M"),
     (1.2 * 1024**3, "1.2G"), (5000 * 1024**3, "5000G")],
)  # fmt: skip
def test_sizes(value: float | None, said: str) -> None:
    """At most four digits, with a decimal where there are few."""
    assert words.size(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "-"), (0, "0:00.00"), (1.529, "0:01.52"), (59.999, "0:59.99"), (723.4, "12:03.40"), (11523, "3:12:03")],
)
def test_seconds(value: float | None, said: str) -> None:
    """As top has them; they are cut and not rounded up to a full minute."""
    assert words.seconds(value) == said


def test_moments() -> None:
    """In UTC; of what is longer ago than a day the date."""
    assert words.moment(1_700_000_000.9) == "2023-11-14T22:13:20Z"
    assert words.since(1_700_000_000, 1_700_000_060) == "22:13:20"
    assert words.since(1_700_000_000, 1_700_090_000) == "2023-11-14"
    assert words.since(None, 0) == "-"


def test_what_is_not_known() -> None:
    """A dash stands for it."""
    assert [words.percent(None), words.count(None), words.cpus(None)] == ["-"] * 3
    assert [words.percent(12.345), words.count(7), words.cpus(1.5), words.cpus(2.0)] == ["12.3", "7", "1.5", "2"]
