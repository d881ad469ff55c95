"""What the demo waits for has to come, and what does not answer is said to."""

import pytest

from tests.e2e.ports import free_port
from tlsproxy.companions.configsync.demo import asking
from tlsproxy.companions.configsync.demo.configuration_api import PATH, configuration_api
from tlsproxy.demo.frame import DemoError


def test_what_does_not_come_ends_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what was waited for, and how long."""
    monkeypatch.setattr(asking, "WITHIN", 0.05)
    with pytest.raises(DemoError, match=r"not within 0\.05 s: the app has it"):
        asking.awaited(lambda: False, "the app has it")


def test_what_comes_is_given() -> None:
    """The first look that finds something ends the waiting."""
    looks = iter(["", "", "there"])
    assert asking.awaited(lambda: next(looks), "it comes") == "there"


def test_nobody_there() -> None:
    """Where nobody answers there is no status, no history, and no change that would be believed."""
    port = free_port()
    assert asking.get(port, "/") == (0, "")
    assert asking.history(port) == ()
    with pytest.raises(DemoError, match=r"PUT /app\.json: "):
        asking.put(port, "/app.json", b"{}")


def test_a_document_is_replaced() -> None:
    """What was put is what is got."""
    port = free_port()
    with configuration_api(port, b"first"):
        asking.put(port, PATH, b"second")
        assert asking.get(port, PATH) == (200, "second")
