"""The variables that sidecars with new versions share: what they take, and what is refused together."""

from signal import Signals
from typing import ClassVar

import pytest

from tlsproxy.chassis.environment import BadSettings, read
from tlsproxy.chassis.kinds import Kind
from tlsproxy.companions.rollout import variables
from tlsproxy.companions.rollout.variables import RolloutVariables


class Some(RolloutVariables):
    """A sidecar's."""

    PREFIX: ClassVar[str] = "SOME_"


def settings(**given: str) -> Some:
    return read(Some, {f"SOME_{name}": value for name, value in given.items()}).settings


def complaint(**given: str) -> str:
    with pytest.raises(BadSettings) as caught:
        settings(**given)
    assert len(caught.value.problems) == 1
    return str(caught.value.problems[0])


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("MODE", "640", 0o640),
        ("OWNER", "1000:2000", (1000, 2000)),
        ("OWNER", "1000", (1000, None)),
        ("OWNER", ":2000", (None, 2000)),
        ("TELL_STATUS", "200,204,200", (200, 204)),
        ("TELL_STATUS", "0", ()),
        ("TELL_SIGNAL", "usr1", Signals.SIGUSR1),
        ("CHECK_COMMAND", "nginx -t -c 'a b'", ("nginx", "-t", "-c", "a b")),
    ],
)
def test_what_they_take(name: str, text: str, value: object) -> None:
    """Modes in octal, owners by number, statuses as a list, commands as one types them."""
    assert getattr(settings(**{name: text}), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("MODE", "rw"),
        ("MODE", "0888"),
        ("MODE", "4755"),
        ("OWNER", "root"),
        ("OWNER", ":"),
        ("TELL_STATUS", "99"),
        ("TELL_STATUS", "ok"),
        ("TELL_SIGNAL", "LOUD"),
        ("TELL_PROCESS", "nginx"),
        ("TELL_URL", "ftp://h/"),
        ("HEALTH", "udp://h:1"),
        ("HISTORY", "1"),
        ("TELL", "shout"),
    ],
)
def test_what_they_do_not_take(name: str, text: str) -> None:
    """The variable is named, and what it may be is said once."""
    said = complaint(**{name: text})
    assert f"SOME_{name}" in said
    assert said.count("must be") == 1


@pytest.mark.parametrize(
    ("tell", "needed"),
    [
        ("signal", "TELL_PROCESS"),
        ("end", "TELL_PROCESS"),
        ("http", "TELL_URL"),
        ("command", "TELL_COMMAND"),
        ("touch", "TELL_FILE"),
    ],
)
def test_each_way_of_telling_needs_to_know_whom(tell: str, needed: str) -> None:
    """What is missing is named."""
    assert f"SOME_{needed}='' (the default): SOME_TELL={tell} needs it" in complaint(TELL=tell)


@pytest.mark.parametrize(
    ("name", "text", "ways"),
    [
        ("TELL_PROCESS", "name:nginx", "signal or end"),
        ("TELL_URL", "http://127.0.0.1:9090/-/reload", "http"),
        ("TELL_COMMAND", "true", "command"),
        ("TELL_FILE", "/config/changed", "touch"),
    ],
)
def test_whom_nobody_tells_is_a_mistake(name: str, text: str, ways: str) -> None:
    """Whoever says whom to tell and not how would wait for it in vain."""
    assert f"SOME_{name}='{text}': SOME_TELL=none has no use for it; set SOME_TELL to {ways}" in complaint(
        **{name: text}
    )


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (variables.MODE, "0640"),
        (variables.OWNER, "1000:2000"),
        (variables.OWNER, "1000"),
        (variables.OWNER, ":2000"),
        (variables.STATUSES, "200,204"),
        (variables.STATUSES, "0"),
        (variables.SIGNAL, "USR1"),
        (variables.COMMAND, "nginx -t -c 'a b'"),
        (variables.PROBE, "tcp://127.0.0.1:80"),
        (variables.PROBE, "http://127.0.0.1:80/health?deep=1"),
        (variables.HTTP_URL, "http://127.0.0.1:80/reload?all=1"),
        (variables.SELECTOR, "name:nginx"),
    ],
)
def test_they_are_written_back(kind: Kind[object], text: str) -> None:
    """As an operator would write them, with nothing left out: documents hold defaults, and `config` what is set."""
    assert kind.spell(kind.parse(text)) == text


@pytest.mark.parametrize("kind", [variables.PROBE, variables.HTTP_URL])
def test_what_is_not_set(kind: Kind[object]) -> None:
    """Is written as nothing."""
    assert kind.spell(None) == ""
