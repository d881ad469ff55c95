"""The wall clock jumps, forward and back: nothing that runs by it ends, and no deadline moves."""

import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.scripted_app import ScriptedApp
from tests.e2e.sidecar_process import Sidecar, command

pytestmark = pytest.mark.soak

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
YEAR = 365 * 24 * 3600
JUMPS = {"forward": YEAR, "back": -YEAR, "an hour forward": 3600, "a second back": -1}


class Clock:
    """The wall clock of a process that is started with it; the monotonic one stays (libfaketime)."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.move(0)

    def move(self, seconds: int) -> None:
        """Let it be so far from the machine's."""
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{seconds:+d}\n")
        draft.rename(self._file)

    def before(self, arguments: list[str]) -> str:
        """The command that starts something with this clock."""
        settings = {
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        return shlex.join(["env", *(f"{name}={value}" for name, value in settings.items()), *arguments])


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    if not LIBRARIES:
        pytest.skip("libfaketime is not installed (package libfaketime)")
    return Clock(tmp_path_factory.mktemp("clock") / "offset")


@pytest.fixture(scope="module")
def process(launch: Launch, session_app: ScriptedApp, clock: Clock) -> Iterator[Sidecar]:
    """A sidecar with that clock, whose clients and app have the machine's."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TLSPROXY_TEST_COMMAND", clock.before(command()))
        with launch(APP_PORT=session_app.port) as process:
            yield process


@pytest.mark.parametrize("seconds", JUMPS.values(), ids=JUMPS.keys())
def test_a_jump_ends_nothing(process: Sidecar, clock: Clock, app: ScriptedApp, seconds: int) -> None:
    """A kept connection is served on, new ones come, the process is alive and ready, and no duration is negative."""
    with process.connect() as client:
        assert client.get("/before").status == 200
        clock.move(seconds)
        try:
            assert client.get("/after").status == 200
            assert process.get("/new").status == 200
            wait_until(lambda: moved(process, seconds), "a request line with the clock's time")
            assert client.get("/later").status == 200
            assert process.ask_admin("/livez").status == 200
            assert process.ask_admin("/readyz").status == 200
        finally:
            clock.move(0)
        assert client.get("/back").status == 200
    durations = [line["duration"] for line in process.lines()]
    assert all(isinstance(duration, float) and 0 <= duration < 5 for duration in durations)


def moved(process: Sidecar, seconds: int) -> bool:
    """Whether a request line tells that time, to the day or second."""
    when = time.gmtime(time.time() + seconds)
    return any(str(line["time"]).startswith(time.strftime("%Y-%m-%dT%H", when)) for line in process.lines())
