"""What is remembered of versions, and that it outlives the process."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tlsproxy.companions.rollout.history import (
    BecameOf,
    Change,
    Entry,
    History,
    HistoryError,
    State,
    entry_of,
    read_history,
    shown,
)

CHANGE = Change("2", "https://api", "published")


def opened(path: Path, keep: int = 100) -> History:
    history = History(path, keep)
    history.open()
    return history


def entry(name: str, outcome: BecameOf = "published") -> Entry:
    return Entry(name, "https://api", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), outcome, "why")


def test_there_is_none_at_first(tmp_path: Path) -> None:
    """A new volume has no history, and that is no fault."""
    assert opened(tmp_path / "history").state == State()


def test_all_of_it_outlives_the_process(tmp_path: Path) -> None:
    """The next start reads what this one wrote: entries, good ones, bad ones, the pin and the change under way."""
    history = opened(tmp_path / "history")
    history.begin(Change("1", "https://api", "pinned"))
    history.end(entry("1", "pinned"), is_good=True)
    history.mark_bad("0", "it crashed")
    history.begin(CHANGE, instead_of=entry("3", "failed"), condemned="no answer")
    assert opened(tmp_path / "history").state == history.state
    assert history.state == State(
        entries=(entry("1", "pinned"), entry("3", "failed")),
        bad={"0": "it crashed", "3": "no answer"},
        good=("1",),
        pinned="1",
        change=CHANGE,
    )


def test_a_change_is_there_from_its_begin_to_its_end(tmp_path: Path) -> None:
    """Between, a start finds it; begun by intent, a bad version is one no longer."""
    history = opened(tmp_path / "history")
    history.mark_bad("2", "it crashed")
    history.begin(CHANGE)
    assert (history.state.change, dict(history.state.bad)) == (CHANGE, {})
    history.end(entry_of(CHANGE, "published", ""), is_good=True)
    assert (history.state.change, history.state.good) == (None, ("2",))
    history.begin(CHANGE)
    history.end()
    assert len(history.state.entries) == 1


def test_the_last_good_one_is_the_last(tmp_path: Path) -> None:
    """A version that was good before and is again is so at its new place."""
    history = opened(tmp_path / "history")
    for name in ("1", "2", "1"):
        history.end(entry(name), is_good=True)
    assert history.state.good == ("2", "1")


def test_a_pin_is_held_until_it_is_taken_out(tmp_path: Path) -> None:
    """Who did it and when is in the history as well."""
    history = opened(tmp_path / "history")
    history.pin(entry("1", "pinned"))
    assert opened(tmp_path / "history").state.pinned == "1"
    history.unpin(entry("1", "unpinned"))
    assert opened(tmp_path / "history").state.pinned is None
    assert [line.outcome for line in history.state.entries] == ["pinned", "unpinned"]


def test_it_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten first."""
    history = opened(tmp_path / "history", keep=2)
    for number in range(4):
        history.end(entry(str(number)), is_good=True)
    monkeypatch.setattr("tlsproxy.companions.rollout.history._BAD_KEPT", 3)
    for number in range(5):
        history.mark_bad(str(number), "why")
    assert [line.name for line in history.state.entries] == ["2", "3"]
    assert history.state.good == ("2", "3")
    assert list(history.state.bad) == ["2", "3", "4"]


@pytest.mark.parametrize(
    "torn",
    [
        "", "{", "[]", "{}", "\udcff", "[" * 5000,
        '{"entries": 1, "bad": {}, "good": [], "pinned": null, "change": null}',
        '{"entries": [{}], "bad": {}, "good": [], "pinned": null, "change": null}',
        '{"entries": [], "bad": {"1": 2}, "good": [], "pinned": null, "change": null}',
        '{"entries": [], "bad": {}, "good": [], "pinned": 1, "change": null}',
        '{"entries": [], "bad": {}, "good": [], "pinned": null, "change": {"name": "1", "origin": "", "outcome": "x"}}',
        '{"entries": [], "bad": {}, "good": [], "pinned": null, "change": [1]}',
    ],
)  # fmt: skip
def test_one_that_can_not_be_read_is_set_aside(torn: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is never fatal: a warning says where it is kept, and a new one is begun."""
    path = tmp_path / "history"
    path.write_bytes(torn.encode(errors="surrogateescape"))
    history = opened(path)
    assert history.state == State()
    (warning,) = caplog.messages
    assert warning.startswith(f"can't read the history {path}: ")
    assert warning.endswith(f"; it begins anew, and what there was is kept as {path}.unreadable")
    assert (tmp_path / "history.unreadable").read_bytes() == torn.encode(errors="surrogateescape")
    history.add(entry("1"))
    assert len(opened(path).state.entries) == 1


def test_another_process_may_read_it(tmp_path: Path) -> None:
    """It disturbs nothing: what the one that writes has begun stays, and so does what can't be understood."""
    path, begun = tmp_path / "history", tmp_path / "history.new"
    assert read_history(path) == State()
    history = opened(path)
    history.add(entry("1"))
    begun.touch()
    assert read_history(path) == history.state
    assert begun.exists()
    path.write_text("{")
    with pytest.raises(HistoryError, match="can't read the history"):
        read_history(path)
    assert path.read_text() == "{"
    opened(path)
    assert not begun.exists()


def test_what_can_not_be_written(tmp_path: Path) -> None:
    """It is remembered as long as the process lives; but a change is not begun that no start would find."""
    place = tmp_path / "volume"
    place.mkdir()
    history = opened(place / "history")
    place.rename(tmp_path / "gone")
    with pytest.raises(HistoryError, match=r"can't write the history .*: no such file or directory"):
        history.mark_bad("1", "why")
    with pytest.raises(HistoryError, match="can't write the history"):
        history.begin(CHANGE)
    assert (dict(history.state.bad), history.state.change) == ({"1": "why"}, None)
    (tmp_path / "gone").rename(place)
    history.add(entry("2"))
    assert dict(opened(place / "history").state.bad) == {"1": "why"}


def test_a_line_for_json() -> None:
    """Texts alone, the time with its zone."""
    assert shown(entry("1")) == {
        "name": "1", "origin": "https://api", "at": "2026-01-02T03:04:05+00:00",
        "outcome": "published", "detail": "why",
    }  # fmt: skip
