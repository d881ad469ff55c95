"""topz's variables: what they are read as, and what goes together."""

from pathlib import Path

import pytest

from tlsproxy.chassis.environment import BadSettings, read
from tlsproxy.companions.topz.settings import Settings


def settings(**given: str) -> Settings:
    return read(Settings, {f"TOPZ_{name}": value for name, value in given.items()}).settings


def test_defaults() -> None:
    """Nothing has to be set, and what is not is safe."""
    known = settings()
    assert (known.port, known.admin_port, known.host, known.token, known.environment) == (8450, 8451, None, None, False)
    assert (known.refresh, known.sample, known.limit, known.proc, known.pss) == (5.0, 1.0, 100, Path("/proc"), True)


def test_values() -> None:
    """Each is read as its kind."""
    known = settings(
        TOKEN="x", HOST="fd00::7", MASK="badge, licence", REFRESH="0", SAMPLE="500ms", LIMIT="0", PSS="off"
    )
    assert known.token is not None
    assert (known.token.reveal(), known.host, known.mask) == ("x", "fd00::7", ("badge", "licence"))
    assert (known.refresh, known.sample, known.limit, known.pss) == (0.0, 0.5, 0, False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_this_pod_alone_needs_no_token(host: str) -> None:
    """A loopback address may be set without one."""
    assert settings(HOST=host).host == host


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"HOST": "10.0.0.7"}, "without a token the page would be open to whoever comes; set TOPZ_TOKEN_FILE"),
        ({"HOST": "::"}, "without a token"),
        ({"HOST": "legacy-app"}, "without a token"),
        ({"HOST": "127.evil.example"}, "without a token"),
        ({"ADMIN_PORT": "8450"}, "TOPZ_PORT is the same port; give one of the two another"),
        ({"SAMPLE": "10ms"}, "must be a duration in ms, s, m, h or d (seconds without a unit), at least 100ms"),
        ({"PORT": "0"}, "must be a port"),
        ({"LIMIT": "-1"}, "must be a whole number"),
    ],
)
def test_refused(given: dict[str, str], said: str) -> None:
    """A page that is open to all is refused, and so is what can't be."""
    with pytest.raises(BadSettings) as raised:
        settings(**given)
    assert said in str(raised.value)
