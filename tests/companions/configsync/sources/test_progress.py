"""How far sources have been followed, as probes and metrics see it."""

import json

from tlsproxy.companions.configsync.sources.progress import Progress, measures


def test_progress() -> None:
    """Counts, moments and the last problem, which a success ends."""
    progress = Progress("https://h/x")
    progress.attempt()
    progress.failure("closed")
    assert (progress.failures, progress.failures_in_a_row, progress.problem) == (1, 1, "closed")
    progress.attempt()
    progress.success("7")
    progress.success(None)
    assert (progress.attempts, progress.failures, progress.failures_in_a_row) == (2, 1, 0)
    assert (progress.changes, progress.version, progress.problem) == (1, "7", "")


def test_the_age_begins_with_a_success() -> None:
    """Until then there is none."""
    assert Progress("a").age is None
    progress = Progress("b")
    progress.success(None)
    assert progress.age is not None
    assert 0 <= progress.age < 5


def test_status_can_be_told() -> None:
    """It is JSON; what there is not is left out or null."""
    progress = Progress("https://h/x")
    progress.failure("closed")
    assert json.loads(json.dumps(progress.status())) == {
        "source": "https://h/x",
        "version": None,
        "attempted": None,
        "succeeded": None,
        "changed": None,
        "failures_in_a_row": 1,
        "problem": "closed",
    }


def test_measures() -> None:
    """Each family has a sample for each source; one that never answered has no age."""
    good, bad = Progress("a"), Progress("b")
    good.attempt()
    good.success("1")
    bad.attempt()
    bad.failure("closed")
    found = {measure.name: measure for measure in measures([good, bad])}
    assert found["configsync_source_fetches_total"].samples == {("a",): 1, ("b",): 1}
    assert found["configsync_source_fetch_failures_total"].samples == {("a",): 0, ("b",): 1}
    assert found["configsync_source_up"].samples == {("a",): 1.0, ("b",): 0.0}
    assert set(found["configsync_source_age_seconds"].samples) == {("a",)}
    assert all(measure.labels == ("source",) for measure in found.values())
