"""The verbs that every sidecar has, and those of its own."""

import pytest

from tlsproxy import __version__
from tlsproxy.chassis.verbs import Verbs, Words, entries, parser


def own(verbs: Verbs) -> None:
    verbs.add("pin", "stay with a version").add_argument("name", metavar="NAME", help="which")
    verbs["check"].add_argument("--deep", action="store_true", help="look at everything")


WORDS = Words("toy", "Plays.", "TOY_NAME matters.", "look", "play", own)


@pytest.mark.parametrize("verb", ["run", "check", "health", "config", "demo"])
def test_each_sidecar_has_them(verb: str) -> None:
    """The same verbs everywhere, and `run` where none is given."""
    assert parser(WORDS).parse_args([verb]).verb == verb
    assert parser(WORDS).parse_args([]).verb == "run"


def test_a_program_adds_its_own() -> None:
    """A verb, and an option of one that each has."""
    assert parser(WORDS).parse_args(["pin", "v1"]).name == "v1"
    assert parser(WORDS).parse_args(["check", "--deep"]).deep is True


def test_entries_tell_all() -> None:
    """Each verb, argument and option, with its help."""
    told = entries(WORDS)
    assert told["toy run"] == "serve; the same as `toy` alone"
    assert told["toy pin NAME"] == "stay with a version"
    assert told["toy check --deep"] == "look at everything"
    assert told["toy check"] == "look"
    assert "toy --version" in told


def test_the_version_is_the_familys(capsys: pytest.CaptureFixture[str]) -> None:
    """Under the program's own name."""
    with pytest.raises(SystemExit):
        parser(WORDS).parse_args(["--version"])
    assert capsys.readouterr().out == f"toy {__version__}\n"
