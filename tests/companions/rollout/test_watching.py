"""When an app counts as well after a change, on real ports."""

import asyncio
import re
import socket
import time

import pytest

from tests.companions.rollout.scripted_port import closed_port, port, status
from tlsproxy.companions.rollout.addresses import parse_probe
from tlsproxy.companions.rollout.watching import UnhealthyError, watch_over

GOOD, BAD = status(204), status(503)


def watch(answers: str, within: float, lasting: float, period: float = 0.01) -> int:
    """How often an app was asked that answers well (+) and badly (-) in turn, and then for ever as at last."""
    with port([GOOD if answer == "+" else BAD for answer in answers]) as app:
        asyncio.run(watch_over(parse_probe(f"http://127.0.0.1:{app.number}/healthz"), within, lasting, period))
        return len(app.asked)


def test_well_at_once() -> None:
    """Without a time to last, one good answer is enough."""
    assert watch("+", 0, 0) == 1


def test_lasting() -> None:
    """It has to stay well for as long as it is told to."""
    began = time.monotonic()
    assert watch("+", 5, 0.1) > 3
    assert time.monotonic() - began >= 0.1


def test_time_to_begin() -> None:
    """Until its time is over it may fail, and even have been well in between: it restarts."""
    assert watch("--+--+", 5, 0) == 3
    assert watch("+--+-+", 5, 0.1) > 6


def test_never_well() -> None:
    """One that does not become well in time is told with what it answered last."""
    with pytest.raises(UnhealthyError, match=r"/healthz did not become healthy within 0.05s: answered 503$"):
        watch("-", 0.05, 0)


def test_not_for_long() -> None:
    """After its time the first failure counts, since one that ends again and again is well in between."""
    with pytest.raises(UnhealthyError, match=r"was healthy for \S+s and then no more: answered 503$"):
        watch("++-+", 0, 5)


def test_well_before_it_ended() -> None:
    """That it was well before it was told does not count for what came after."""
    with pytest.raises(UnhealthyError, match=r"did not become healthy within 0.2s"):
        watch("+-", 0.2, 0.1)


def test_no_time_at_all() -> None:
    """With no time to begin the first failure decides."""
    with pytest.raises(UnhealthyError):
        watch("-+", 0, 0)


def test_silent_app() -> None:
    """One that takes its time gets a second for its last answer, and is named without a query that may be secret."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/healthz"
        with pytest.raises(UnhealthyError, match=f"^{url} did not become healthy within 0.01s: timed out after 1s$"):
            asyncio.run(watch_over(parse_probe(f"{url}?token=hunter2"), 0.01, 0))


def test_closed_port() -> None:
    """A port that nobody listens at is named with the reason."""
    number = closed_port()
    said = f"tcp://127.0.0.1:{number} did not become healthy within 0s: connection refused"
    with pytest.raises(UnhealthyError, match=f"^{re.escape(said)}$"):
        asyncio.run(watch_over(parse_probe(f"tcp://127.0.0.1:{number}"), 0, 0))


def test_open_port() -> None:
    """A port that opens is well, whatever is said there."""
    with port([b""]) as app:
        asyncio.run(watch_over(parse_probe(f"tcp://127.0.0.1:{app.number}"), 1, 0.02, 0.01))
