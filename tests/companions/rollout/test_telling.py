"""Each way of telling an app, with a real process, port, command and file at the other end."""

import asyncio
import logging
import os
import signal
import stat
import sys
from pathlib import Path

import pytest

from tests.companions.rollout.programs import named, program, python
from tests.companions.rollout.scripted_port import closed_port, port, status
from tests.e2e.polling import wait_until
from tlsproxy.companions.rollout.addresses import parse_http_url
from tlsproxy.companions.rollout.processes import Selector, this_moment
from tlsproxy.companions.rollout.telling import (
    Command,
    DeclinedError,
    End,
    HttpRequest,
    Nothing,
    Signal,
    Telling,
    TellingError,
    Touch,
    parse_signal,
)


def tell(telling: Telling) -> None:
    asyncio.run(telling.tell("v7"))


def failure(telling: Telling) -> str:
    with pytest.raises(TellingError) as caught:
        tell(telling)
    return str(caught.value)


def refusal(telling: Telling) -> str:
    """Of an app that was told, and said no."""
    with pytest.raises(DeclinedError) as caught:
        tell(telling)
    return str(caught.value)


def test_nothing() -> None:
    """Nobody is told anything."""
    tell(Nothing())


# --- Signals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["HUP", "SIGHUP", "sighup", "1"])
def test_signal_name(text: str) -> None:
    """A signal is named in any of its ways."""
    assert parse_signal(text) is signal.SIGHUP


@pytest.mark.parametrize("text", ["", "SIG", "RELOAD", "0", "99999"])
def test_no_signal(text: str) -> None:
    """What is none is refused."""
    with pytest.raises(ValueError, match="there is no such signal"):
        parse_signal(text)


HEEDING = (
    "import signal, time\n"
    "def told(*_): begun.with_name('told').touch()\n"
    "signal.signal(signal.SIGHUP, told)\n"
    "begun.touch()\n"
    "while True: time.sleep(60)\n"
)


def test_signal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A process with a handler is sent the signal, which is logged with the release and the process."""
    name = f"app{os.getpid()}.py"
    with python(tmp_path, HEEDING, name) as app, caplog.at_level(logging.INFO):
        tell(Signal(Selector("name", name)))
        wait_until((tmp_path / "told").exists, "the app has been told")
        assert app.poll() is None
    comm = Path(sys.executable).name
    assert [record.getMessage() for record in caplog.records] == [f"v7: sent SIGHUP to process {app.pid} ({comm})"]


def test_signal_without_handler(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """That an app ends of a signal that it was to reload at is logged, with the reason."""
    file = named(tmp_path, f"app{os.getpid()}")
    with program(file, "60") as app:
        tell(Signal(Selector("name", file.name)))
        assert app.wait(10) == -signal.SIGHUP
    assert [record.getMessage() for record in caplog.records] == [
        f"process {app.pid} ({file.name}) has no handler for SIGHUP and may end of it"
    ]


def test_nobody_to_tell() -> None:
    """A selector that finds nobody is an error that names it."""
    assert "no process matches name:no-such-app: " in failure(Signal(Selector("name", "no-such-app")))
    assert "no process matches name:no-such-app: " in failure(End(Selector("name", "no-such-app"), 1))


# --- Ending ------------------------------------------------------------------------------------------------


def test_end(tmp_path: Path) -> None:
    """It is over when the app has ended, of SIGTERM."""
    file = named(tmp_path, f"app{os.getpid()}")
    with program(file, "60") as app:
        tell(End(Selector("name", file.name), 10))
        assert app.poll() == -signal.SIGTERM


def test_who_comes_after_the_release_has_it(tmp_path: Path) -> None:
    """An app that was not there when it was to be told, and has started since, is not ended: until the next release."""
    file = named(tmp_path, f"app{os.getpid()}")
    telling = End(Selector("name", file.name), 10)
    assert "no process matches" in failure(telling)
    told = this_moment()
    wait_until(lambda: this_moment() > told, "a tick of the clock by which processes start")
    with program(file, "60") as app:
        tell(telling)
        assert app.poll() is None
        asyncio.run(telling.tell("the next"))
        assert app.poll() == -signal.SIGTERM


def test_end_of_one_that_does_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What does not end in time is killed, and that is logged."""
    name = f"app{os.getpid()}.py"
    text = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nbegun.touch()\ntime.sleep(60)\n"
    with python(tmp_path, text, name) as app:
        tell(End(Selector("name", name), 0.05))
        assert app.wait(10) == -signal.SIGKILL
    assert "has not ended within 0.05s of SIGTERM: killed" in caplog.text


# --- HTTP --------------------------------------------------------------------------------------------------


def test_http() -> None:
    """The request says which release it is, that it has no body, and nothing else."""
    with port([status(200)]) as app:
        url = parse_http_url(f"http://127.0.0.1:{app.number}/-/reload?all=1")
        tell(HttpRequest(url, field="Configsync-Version"))
    assert app.asked == [
        f"POST /-/reload?all=1 HTTP/1.1\r\nHost: 127.0.0.1:{app.number}\r\nUser-Agent: tlsproxy\r\n"
        "Connection: close\r\nContent-Length: 0\r\nConfigsync-Version: v7\r\n\r\n".encode()
    ]


@pytest.mark.parametrize(
    ("number", "success", "good"),
    [(204, (), True), (302, (), False), (500, (), False), (302, (301, 302), True), (200, (301, 302), False)],
)
def test_status(number: int, success: tuple[int, ...], good: bool) -> None:
    """Any 2xx is good, or what is told to be; a redirect is not followed."""
    with port([status(number)]) as app:
        request = HttpRequest(parse_http_url(f"http://127.0.0.1:{app.number}/reload?token=hunter2"), "GET", success)
        if good:
            tell(request)
        else:
            assert refusal(request) == f"http://127.0.0.1:{app.number}/reload answered {number} to GET"
    assert len(app.asked) == 1
    assert b"Content-Length" not in app.asked[0]


def test_no_answer() -> None:
    """A port that is closed is named with the reason."""
    number = closed_port()
    said = failure(HttpRequest(parse_http_url(f"http://127.0.0.1:{number}/reload")))
    assert said == f"POST http://127.0.0.1:{number}/reload: connection refused"


def test_silent() -> None:
    """An app that says nothing is given up on; no query is shown."""
    with port([b"nonsense\n"]) as app:
        said = failure(HttpRequest(parse_http_url(f"http://127.0.0.1:{app.number}/reload?token=hunter2")))
    assert "something that is not HTTP/1" in said
    assert "hunter2" not in said


# --- Commands and files ------------------------------------------------------------------------------------


def test_command(tmp_path: Path) -> None:
    """A command has the release in its environment, by the names that the companion gives."""
    text = f"echo $CONFIGSYNC_VERSION >{tmp_path}/told"
    tell(Command(("sh", "-c", text), 10, lambda release: {"CONFIGSYNC_VERSION": release}))
    assert (tmp_path / "told").read_text() == "v7\n"


def test_command_that_fails() -> None:
    """What a command ends with is what is told."""
    assert refusal(Command(("sh", "-c", "echo no such app; exit 1"), 10)) == "sh ended with exit status 1: no such app"


def test_touch(tmp_path: Path) -> None:
    """A file that is there gets the time of the moment and keeps what is in it."""
    file = tmp_path / "reload"
    file.write_text("kept")
    os.utime(file, (1, 1))
    tell(Touch(file))
    assert file.stat().st_mtime > 1
    assert file.read_text() == "kept"


def test_touch_makes(tmp_path: Path) -> None:
    """A file that is not there is made, empty and readable by the app."""
    tell(Touch(tmp_path / "reload"))
    assert stat.filemode((tmp_path / "reload").stat().st_mode) == "-rw-r--r--"


def test_touch_fails(tmp_path: Path) -> None:
    """Neither a directory, nor one that is not there, nor a pipe without a reader holds anything up."""
    os.mkfifo(tmp_path / "pipe")
    assert failure(Touch(tmp_path)) == f"{tmp_path} can't be touched: is a directory"
    assert "no such file or directory" in failure(Touch(tmp_path / "no" / "reload"))
    assert "no such device or address" in failure(Touch(tmp_path / "pipe"))
