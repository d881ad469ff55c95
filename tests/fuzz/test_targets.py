"""Every place where something comes in, with what Hypothesis thinks up and all that was ever found.

A few examples each day, always the same; `make fuzz` looks further (`--hypothesis-profile=fuzz`, and atheris).
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, Target

FINDINGS = sorted(path for path in (Path(__file__).parent / "findings").rglob("*") if path.is_file())

# A place, how much is taken out there, and what is put in.
Edit = tuple[float, int, bytes]


def edited(seed: bytes, edits: list[Edit], longest: int) -> bytes:
    """A seed with parts of it replaced."""
    for place, taken, put in edits:
        at = int(place * len(seed))
        seed = seed[:at] + put + seed[at + taken :]
    return seed[:longest]


@cache
def inputs(target: Target) -> st.SearchStrategy[bytes]:
    """Seeds with words and bytes put in and taken out anywhere, pieces of other seeds among them; and mere bytes."""
    seeds = list(target.seeds())
    pieces = st.tuples(st.sampled_from(seeds), st.floats(0, 1), st.integers(1, 40)).map(
        lambda chosen: chosen[0][int(chosen[1] * len(chosen[0])) :][: chosen[2]]
    )
    words = st.sampled_from(target.words) if target.words else st.binary(max_size=2)
    put = st.one_of(words, words, st.binary(max_size=3), pieces)
    edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 6), put), max_size=4)
    mutants = st.builds(edited, st.sampled_from(seeds), edits, st.just(target.longest))
    return st.one_of(mutants, mutants, mutants, st.binary(max_size=64))


def fuzzing(target: Target) -> Callable[[], None]:
    """Hypothesis on one target."""
    return given(inputs(target))(target.check)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_nothing_breaks_a_rule(target: Target) -> None:
    """Whatever comes, the target's rule holds: refused in its own words, or read in one way."""
    fuzzing(target)()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_seeds_keep_the_rule(target: Target) -> None:
    """What fuzzing begins with is sound."""
    for seed in target.seeds():
        target.check(seed)


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_stays_mended(path: Path) -> None:
    """Each input that has ever broken a rule is tried again."""
    (target,) = (target for target in TARGETS if target.name == path.parent.name)
    target.check(path.read_bytes())
