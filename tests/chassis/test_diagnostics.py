"""What is written to standard error: formats, levels, and lines that nobody can forge."""

import json
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tlsproxy.chassis import diagnostics
from tlsproxy.chassis.diagnostics import LogFormat, configure, escape

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """The root logger and the interpreter's hook as they were, whatever a test makes of them."""
    root = logging.getLogger()
    handlers, level, hook = root.handlers[:], root.level, sys.unraisablehook
    yield
    sys.unraisablehook = hook
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


class Stream:
    """What has been written to standard error."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture
        self._read = ""

    def getvalue(self) -> str:
        written = self._capture.readouterr()
        assert not written.out
        self._read += written.err
        return self._read


@pytest.fixture
def stream(capfd: pytest.CaptureFixture[str]) -> Stream:
    return Stream(capfd)


def fail(error: Exception) -> None:
    try:
        raise error  # noqa: TRY301 - to have a traceback
    except Exception:
        logging.getLogger("certificates").exception("reload failed")


def test_json_line(stream: Stream) -> None:
    """A record is one JSON object with time, level, logger and message, and nothing else."""
    configure("json", "info")
    logging.getLogger("certificates").warning("%s expires in %d days", "tls", 3)
    [text] = stream.getvalue().splitlines()
    line = json.loads(text)
    assert re.fullmatch(TIME, line.pop("time"))
    assert line == {"level": "warning", "logger": "certificates", "message": "tls expires in 3 days"}


def test_text_line(stream: Stream) -> None:
    """A record is the time, the level, the logger and the message."""
    configure("text", "info")
    logging.getLogger("certificates").warning("%s expires in %d days", "tls", 3)
    assert re.fullmatch(TIME + r" warning certificates: tls expires in 3 days\n", stream.getvalue())


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_time_is_utc_with_milliseconds(log_format: LogFormat, stream: Stream) -> None:
    """The time is RFC 3339 in UTC, with three digits even where they are zero."""
    configure(log_format, "info")
    record = logging.LogRecord("x", logging.INFO, "", 0, "hello", None, None)
    record.created = 1795242594.0
    logging.getLogger().handle(record)
    assert "2026-11-21T06:29:54.000Z" in stream.getvalue()


@pytest.mark.parametrize("level", list(diagnostics.LEVELS))
def test_levels(level: str, stream: Stream) -> None:
    """Records under the level are dropped."""
    configure("json", level)
    for name in diagnostics.LEVELS.values():
        logging.getLogger("x").log(name, "hello")
    written = [json.loads(line)["level"] for line in stream.getvalue().splitlines()]
    names = list(diagnostics.LEVELS)
    assert written == names[names.index(level) :]


def test_exception_is_one_line(stream: Stream) -> None:
    """An exception is its class and text; no traceback above debug."""
    configure("json", "info")
    fail(OSError("disk\nfull"))
    line = json.loads(stream.getvalue())
    assert line["error"] == "OSError: disk\nfull"
    assert "traceback" not in line


def test_exception_in_text(stream: Stream) -> None:
    """In text, the exception follows the message on the same line."""
    configure("text", "info")
    fail(OSError("disk\nfull"))
    fail(KeyError())
    first, second = stream.getvalue().splitlines()
    assert first.endswith("error certificates: reload failed: OSError: disk\\nfull")
    assert second.endswith("error certificates: reload failed: KeyError")


def test_traceback_at_debug(stream: Stream) -> None:
    """At debug the traceback is there: a field in JSON, indented lines in text."""
    configure("json", "debug")
    fail(OSError("full"))
    [text] = stream.getvalue().splitlines()
    assert json.loads(text)["traceback"].startswith("Traceback (most recent call last)")
    configure("text", "debug")
    fail(OSError("2026-11-21T06:29:54.123Z error forged: line\n2026-11-21T06:29:54.123Z error forged: line"))
    _, first, *traceback = stream.getvalue().splitlines()
    assert re.match(TIME, first)
    assert traceback
    assert all(line.startswith("    ") for line in traceback)


FORGERIES = ["\n", "\r", "\x1b[2K\r", "\x85", "\u2028", "\u202e", "\x00", "\ud800", "\x0b"]


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("forgery", FORGERIES)
def test_nobody_can_forge_a_line(log_format: LogFormat, forgery: str, stream: Stream) -> None:
    """Whatever a message holds, it is one line of printable characters."""
    configure(log_format, "info")
    logging.getLogger("x").info("before%safter", forgery)
    written = stream.getvalue()
    assert written.endswith("\n")
    assert forgery not in written[:-1]
    assert len(written.splitlines()) == 1
    written.encode("utf-8")


def test_escape() -> None:
    """Escapes are readable; ordinary text of any script is left alone."""
    assert escape("a\nb\x1b[1m\u2028\ud800") == "a\\nb\\x1b[1m\\u2028\\ud800"
    assert escape("Größe 日本 \\ \"'") == "Größe 日本 \\ \"'"


@pytest.mark.parametrize("name", ["asyncio", "aiohttp.server", "watchfiles.main", "py.warnings"])
def test_libraries_are_captured(name: str, stream: Stream) -> None:
    """Libraries' loggers write in the same format."""
    configure("json", "info")
    logging.getLogger(name).error("trouble")
    assert json.loads(stream.getvalue())["logger"] == name


def test_python_warnings_are_captured(stream: Stream) -> None:
    """A warning of Python's is a record, on one line."""
    configure("json", "info")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        configure("json", "info")
        warnings.warn("old ways", UserWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    line = json.loads(stream.getvalue())
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")
    assert "old ways" in line["message"]


class Unraisable:
    """Goes wrong where nobody can be told."""

    def __del__(self) -> None:
        raise OSError("gone")


def test_what_cannot_be_raised_is_a_record(stream: Stream) -> None:
    """An exception that the interpreter has to ignore is one line at debug, and nothing at any other level."""
    configure("json", "info")
    Unraisable()
    assert stream.getvalue() == ""
    configure("json", "debug")
    Unraisable()
    [text] = stream.getvalue().splitlines()
    line = json.loads(text)
    assert (line["level"], line["logger"]) == ("debug", "tlsproxy")
    assert (line["message"], line["error"]) == ("unraisable: OSError", "OSError: gone")


def test_configured_twice(stream: Stream) -> None:
    """The last call counts; no record is written twice."""
    configure("text", "debug")
    configure("json", "warning")
    logging.getLogger("x").info("hello")
    logging.getLogger("x").warning("hello")
    assert len(stream.getvalue().splitlines()) == 1


def test_a_message_that_cannot_be_made(stream: Stream) -> None:
    """A message whose arguments do not fit never raises and prints no traceback."""
    configure("json", "info")
    logging.getLogger("x").info("%d", "no number")
    logging.getLogger("x").error("%d", "no number")
    assert stream.getvalue() == ""


# A storm.


def fail_to_accept(number: int, logger: str = "asyncio") -> None:
    text = f"socket.accept() of 10.0.0.{number} out of system resource\nsocket: <socket fd={number}>"
    logging.getLogger(logger).error(text, exc_info=OSError(24, "Too many open files"))


@pytest.mark.parametrize("logger", ["asyncio", "tlsproxy"])
def test_a_storm_is_one_line_with_a_count(stream: Stream, monkeypatch: pytest.MonkeyPatch, logger: str) -> None:
    """Of a library's errors, and of exceptions, that differ in numbers alone one is written in ten seconds."""
    configure("json", "info")
    moment = 100.0
    monkeypatch.setattr(diagnostics, "monotonic", lambda: moment)
    for number in range(50):
        fail_to_accept(number, logger)
    logging.getLogger(logger).error("something else", exc_info=OSError(9, "Bad file descriptor"))
    moment = 110.0
    fail_to_accept(50, logger)
    first, other, last = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["message"] == "socket.accept() of 10.0.0.0 out of system resource\nsocket: <socket fd=0>"
    assert other["message"] == "something else"
    assert last["message"].endswith(" (49 more since the last such line)")
    assert first["error"] == last["error"] == "OSError: [Errno 24] Too many open files"


def test_what_is_counted_where_it_is_made_is_not_limited_twice(stream: Stream) -> None:
    """A warning of ours, whose maker knows what is a storm, is written each time; and so is what is no warning."""
    configure("json", "info")
    for _ in range(5):
        logging.getLogger("tlsproxy.certificates").warning("client refused")
        logging.getLogger("asyncio").info("slow")
    assert len(stream.getvalue().splitlines()) == 10


def test_debug_hides_nothing(stream: Stream) -> None:
    """At debug each record of a storm is written."""
    configure("json", "debug")
    for number in range(5):
        fail_to_accept(number)
    assert len(stream.getvalue().splitlines()) == 5


# Whoever reads it is slow, or gone.


def test_a_reader_that_takes_nothing_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who logs never waits: what the pipe does not take is kept up to a bound, then lost and counted."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", 0) as pipe, os.fdopen(writer, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        configure("text", "info")
        for number in range(2000):
            logging.getLogger("x").info("%d %s", number, "x" * 1000)
        assert 0 < diagnostics.lost() < 2000
        kept = 2000 - diagnostics.lost()
        diagnostics.write("x" * 1000 + "\n")
        assert diagnostics.lost() == 2000 - kept + 1
        text = b""
        while text.count(b"\n") < kept:
            text += pipe.read(65536)
            diagnostics.flush()
    assert [int(line.split()[3]) for line in text.splitlines()] == list(range(kept))


def test_a_text_for_a_person(stream: Stream) -> None:
    """It is written as it is."""
    configure("json", "error")
    diagnostics.write("2 tasks\n  one\n")
    assert stream.getvalue() == "2 tasks\n  one\n"


def test_a_full_disk_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that takes nothing loses lines, and stops nobody."""
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        configure("text", "info")
        for _ in range(3):
            logging.getLogger("x").info("hello")
        assert diagnostics.lost() == 3


BROKEN = """
import logging, sys
from tlsproxy.chassis import diagnostics
diagnostics.configure("text", "info")
logging.getLogger("x").info("ready")
sys.stdin.readline()
logging.getLogger("x").info("lost")
print("done")
"""


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_reader_of_standard_error_goes_away(unbuffered: str) -> None:
    """A process whose standard error nobody reads any more goes on, and ends with status 0."""
    with subprocess.Popen(
        [sys.executable, "-c", BROKEN],
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        assert process.stderr.readline().endswith(b"info x: ready\n")
        process.stderr.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.stdout.read() == b"done\n"
        assert process.wait(5) == 0


def test_started_without_standard_error() -> None:
    """A process that was given no standard error at all goes on."""
    code = "import logging, tlsproxy.chassis.diagnostics as d; d.configure('json', 'info'); logging.error('lost')"
    command = ["/bin/sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, code]
    assert subprocess.run(command, check=False).returncode == 0
