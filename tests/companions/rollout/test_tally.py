"""What the admin port is told of changes."""

from tlsproxy.companions.rollout.history import Change, State
from tlsproxy.companions.rollout.tally import Standing, Tally

CHANGE = Change("2", "https://api", "published")


def measured(tally: Tally, now: Standing) -> dict[str, object]:
    return {measure.name: dict(measure.samples) for measure in tally.measures("configsync", now)}


def test_what_is_measured_before_anything_has_been() -> None:
    """Every outcome is there from the first, at nothing; what has never been has no sample."""
    found = measured(Tally(), Standing(None, (), {}, State()))
    changes = found["configsync_changes_total"]
    assert isinstance(changes, dict)
    assert set(changes.values()) == {0}
    assert ("rolled back",) in changes
    assert found["configsync_version_info"] == found["configsync_last_change_timestamp_seconds"] == {}
    assert found["configsync_change_unfinished"] == {(): 0.0}


def test_what_is_measured() -> None:
    """Counts, the version, and what an operator would be woken for."""
    tally = Tally()
    tally.count("published")
    tally.well_ended(3.0)
    found = measured(tally, Standing("2", ("1", "2"), {"0": "why"}, State(pinned="2", change=CHANGE)))
    changes = found["configsync_changes_total"]
    assert isinstance(changes, dict)
    assert changes["published",] == 1
    assert found["configsync_version_info"] == {("2",): 1.0}
    assert found["configsync_last_change_timestamp_seconds"] != {}
    for name, value in (("change_unfinished", 1), ("version_pinned", 1), ("bad_versions", 1), ("kept_versions", 2)):
        assert found[f"configsync_{name}"] == {(): value}


def test_the_status_shows_the_newest_entry_first() -> None:
    """Lists and texts alone."""
    status = Tally().status(Standing("2", ("1", "2"), {}, State(good=("1",), change=CHANGE)))
    assert status["unfinished"] == {"name": "2", "origin": "https://api", "outcome": "published", "detail": ""}
    assert (status["kept"], status["good"], status["history"]) == (["1", "2"], ["1"], [])
