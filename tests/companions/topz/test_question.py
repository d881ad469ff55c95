"""What may stand in a query, and what is said of anything else."""

import re

import pytest

from tlsproxy.companions.topz.question import BadQuestionError, Question, parse_question


@pytest.mark.parametrize(
    ("query", "question"),
    [
        ("", Question()),
        ("sort=rss", Question(sort="rss")),
        ("sort=-rss", Question(sort="rss", ascending=True)),
        ("sort=pid", Question(sort="pid", ascending=True)),
        ("sort=-pid", Question(sort="pid")),
        ("limit=5&filter=a%20b&tree=on", Question(limit=5, filter="a b", tree=True)),
        ("limit=0&container=app&refresh=off&format=json", Question(limit=0, container="app", refresh=0, format="json")),
        ("filter=&limit=&sort=&tree=&container=&refresh=&format=", Question()),
        ("refresh=10&tree=0", Question(refresh=10)),
    ],
)
def test_questions(query: str, question: Question) -> None:
    """Each parameter is read; an empty one, as a form sends it, counts as not given."""
    assert parse_question(query) == question


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sort=size", "sort must be pid, user,"),
        ("sort=--pid", "sort must be"),
        ("limit=x", "limit must be a whole number up to 100000"),
        ("limit=-1", "limit must be"),
        ("limit=9999999999999999", "limit must be"),
        ("limit=%C2%B2", "limit must be"),
        ("refresh=5s", "refresh must be a whole number up to 86400"),
        ("tree=yes", "tree must be on or off"),
        ("format=xml", "format must be html, text or json"),
        ("filter=" + "x" * 201, "filter must be of at most 200 characters"),
        ("evil=%3Cscript%3E", "there is no such parameter; there are sort, limit"),
        ("sort=cpu&sort=rss", "sort is given more than once"),
        ("&".join(f"a{number}=1" for number in range(30)), "more parameters than there can be"),
    ],
)
def test_bad_questions(query: str, said: str) -> None:
    """What is wrong is told, and what may be written; nothing of what was sent comes back."""
    with pytest.raises(BadQuestionError, match=re.escape(said)) as raised:
        parse_question(query)
    assert "script" not in str(raised.value)


@pytest.mark.parametrize(
    "query",
    ["", "?sort=-rss", "?sort=pid", "?limit=0&filter=a+%26b&tree=on&container=c&refresh=0&format=text"],
)
def test_a_question_is_written_as_it_is_read(query: str) -> None:
    """Links on a page ask what they say."""
    assert parse_question(query.removeprefix("?")).query() == query


def test_a_changed_question() -> None:
    """A link changes one thing and keeps the others."""
    question = parse_question("filter=x&sort=pid")
    assert question.query(sort="rss", ascending=False) == "?sort=rss&filter=x"
    assert question.query(refresh=0) == "?sort=pid&filter=x&refresh=0"
