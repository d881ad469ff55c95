"""The verbs and their options, as they are read and as the documents tell of them."""

import pytest

from tlsproxy.chassis.command_line import verbs
from tlsproxy.chassis.verbs import entries, parser
from tlsproxy.cli import PROGRAM
from tlsproxy.verbs import WORDS


def test_without_a_verb_it_runs() -> None:
    """`tlsproxy` alone serves."""
    assert parser(WORDS).parse_args([]).verb == "run"


@pytest.mark.parametrize("verb", verbs(PROGRAM))
def test_each_verb_is_read(verb: str) -> None:
    """Each verb stands for itself, with what it cannot do without."""
    needed = {"dev-cert": ["there"], "import-nginx": ["-"]}
    assert parser(WORDS).parse_args([verb, *needed.get(verb, [])]).verb == verb


def test_entries_tell_all() -> None:
    """Arguments and options stand with their verb, each with its help; what each verb has anyway is left out."""
    told = entries(WORDS)
    assert told["tlsproxy run"] == "serve; the same as `tlsproxy` alone"
    assert told["tlsproxy dev-cert DIR"] == "make a development CA and certificate"
    assert "localhost" in told["tlsproxy dev-cert DIR NAME ..."]
    assert "replace" in told["tlsproxy dev-cert --force"]
    assert {"tlsproxy check --sni NAME", "tlsproxy import-nginx --env FILE", "tlsproxy demo --port PORT"} <= set(told)
    assert all(told.values())
    assert not any("--help" in entry or "%(" in text for entry, text in told.items())
