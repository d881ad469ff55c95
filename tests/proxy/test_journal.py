"""What is left of a request: counted once, told once, and the operator hears of a failing app without a flood."""

import pytest

from tests.proxy.loopback import Lines
from tlsproxy.proxy.forwarding import Forwarding
from tlsproxy.proxy.journal import Client, Journal, Record
from tlsproxy.proxy.refusals import AppReset, AppTruncated, BadRequest, ClientGone, Overloaded, Refusal
from tlsproxy.proxy.tally import Tally


def settled(over: Record, refusal: Refusal | None = None, lines: Lines | None = None) -> Tally:
    """What is counted of a request that is over."""
    journal = Journal(Tally(), lines)
    journal.ended(over, refusal)
    journal.settle()
    return journal.tally


def record(status: int = 0) -> Record:
    made = Record(Client(Forwarding().peer("192.0.2.1")), None)
    made.status = status
    return made


def test_a_request_is_counted_and_told() -> None:
    """Status, bytes, duration and line, each once."""
    lines = Lines()
    over = record(200)
    over.method, over.received, over.sent = "GET", 3, 4
    tally = settled(over, None, lines)
    assert (tally.requests["GET", 200], tally.received, tally.sent, sum(tally.durations.counts)) == (1, 3, 4, 1)
    assert lines.ended == [(over, "")]


def test_lines_may_be_off() -> None:
    """Without a log the counts go on."""
    assert settled(record(200)).requests["-", 200] == 1


def test_many_are_settled_before_anybody_asks() -> None:
    """What is over is kept for a few dozens of requests at most, and is told of in its order, once."""
    lines = Lines()
    journal = Journal(Tally(), lines)
    over = [record(200 + n) for n in range(100)]
    for one in over:
        journal.ended(one)
    counted = sum(journal.tally.requests.values())
    assert 0 < counted < 100
    assert [one for one, _ in lines.ended] == over[:counted]
    journal.settle()
    journal.settle()
    assert [one for one, _ in lines.ended] == over
    assert sum(journal.tally.requests.values()) == 100


def test_a_tunnel_is_told_of_at_once() -> None:
    """A tunnel's answer was counted when it began; what is left is its line."""
    lines = Lines()
    journal = Journal(Tally(), lines)
    journal.switched(tunnel := record(101))
    journal.closed(tunnel)
    assert lines.told == [(101, "")]
    journal.settle()
    assert journal.tally.requests == {("-", 101): 1}
    assert len(lines.told) == 1


def test_what_is_no_request_has_a_record_too() -> None:
    """Method and target of what could not be read are a dash."""
    assert (record().method, record().target, record().version) == ("-", "-", None)


STATUSES = [
    # status sent, refusal, status told of, counted as the app's error
    (0, BadRequest(), 400, False),
    (0, ClientGone(), 499, False),
    (200, ClientGone(), 200, False),
    (0, AppReset(), 502, True),
    (200, AppTruncated(), 200, True),
    (0, Overloaded(), 503, True),
]


@pytest.mark.parametrize(("sent", "refusal", "told", "counted"), STATUSES)
def test_refusals_are_told_with_their_reason(sent: int, refusal: Refusal, told: int, counted: bool) -> None:
    """The status is what the client got, or what it would have got; the app's failures are counted by reason."""
    lines = Lines()
    tally = settled(record(sent), refusal, lines)
    assert lines.told == [(told, refusal.reason)]
    assert tally.requests["-", told] == 1
    assert tally.app_errors == ({refusal.reason: 1} if counted else {})


def test_the_operator_is_told_what_to_turn(caplog: pytest.LogCaptureFixture) -> None:
    """A failure's line names reason, detail and variable."""
    Journal(Tally()).ended(record(), Overloaded("no turn within 60s"))
    (line,) = caplog.messages
    assert line == "overloaded: no turn within 60s; the variable for it is TLSPROXY_APP_CONNECTIONS"


def test_a_storm_is_a_line_and_a_count(caplog: pytest.LogCaptureFixture) -> None:
    """A repeated failure is told of at once, then not for a while, then with how many there were."""
    journal = Journal(Tally())
    for _ in range(50):
        journal.ended(record(), AppReset("gone"))
    journal.ended(record(), AppTruncated("cut"))
    assert caplog.messages == ["app_reset: gone", "app_truncated: cut"]
    since, untold = journal._repeats._told["app_reset"]
    journal._repeats._told["app_reset"] = since - 60, untold
    journal.ended(record(), AppReset("gone again"))
    assert caplog.messages[2:] == ["app_reset: gone again (49 more since the last such line)"]
    journal.ended(record(), AppReset("gone again"))
    assert len(caplog.messages) == 3


def test_a_clients_fault_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    """What clients do wrong fills no diagnostics."""
    Journal(Tally()).ended(record(), BadRequest("x"))
    Journal(Tally()).ended(record(), ClientGone())
    assert caplog.messages == []


def test_ids_are_unique() -> None:
    """No two ids are alike, of one process or of two."""
    one, other = Journal(Tally()), Journal(Tally())
    ids = {journal.next_id() for journal in (one, other) for _ in range(1000)}
    assert len(ids) == 2000
    assert all(id_.decode().replace("-", "").isalnum() for id_ in ids)
