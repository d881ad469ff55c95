"""What is written to standard error: formats, levels, and lines that nobody can forge."""

import io
import json
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest

from tlsproxy import diagnostics
from tlsproxy.diagnostics import LogFormat, configure, escape

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


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def fail(error: Exception) -> None:
    try:
        raise error  # noqa: TRY301 - to have a traceback
    except Exception:
        logging.getLogger("certificates").exception("reload failed")


def test_json_line(stream: io.StringIO) -> None:
    """A record is one JSON object with time, level, logger and message, and nothing else."""
    configure("json", "info", stream)
    logging.getLogger("certificates").warning("%s expires in %d days", "tls", 3)
    [text] = stream.getvalue().splitlines()
    line = json.loads(text)
    assert re.fullmatch(TIME, line.pop("time"))
    assert line == {"level": "warning", "logger": "certificates", "message": "tls expires in 3 days"}


def test_text_line(stream: io.StringIO) -> None:
    """A record is the time, the level, the logger and the message."""
    configure("text", "info", stream)
    logging.getLogger("certificates").warning("%s expires in %d days", "tls", 3)
    assert re.fullmatch(TIME + r" warning certificates: tls expires in 3 days\n", stream.getvalue())


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_time_is_utc_with_milliseconds(log_format: LogFormat, stream: io.StringIO) -> None:
    """The time is RFC 3339 in UTC, with three digits even where they are zero."""
    configure(log_format, "info", stream)
    record = logging.LogRecord("x", logging.INFO, "", 0, "hello", None, None)
    record.created = 1795242594.0
    logging.getLogger().handle(record)
    assert "2026-11-21T06:29:54.000Z" in stream.getvalue()


@pytest.mark.parametrize("level", list(diagnostics.LEVELS))
def test_levels(level: str, stream: io.StringIO) -> None:
    """Records under the level are dropped."""
    configure("json", level, stream)
    for name in diagnostics.LEVELS.values():
        logging.getLogger("x").log(name, "hello")
    written = [json.loads(line)["level"] for line in stream.getvalue().splitlines()]
    names = list(diagnostics.LEVELS)
    assert written == names[names.index(level) :]


def test_exception_is_one_line(stream: io.StringIO) -> None:
    """An exception is its class and text; no traceback above debug."""
    configure("json", "info", stream)
    fail(OSError("disk\nfull"))
    line = json.loads(stream.getvalue())
    assert line["error"] == "OSError: disk\nfull"
    assert "traceback" not in line


def test_exception_in_text(stream: io.StringIO) -> None:
    """In text, the exception follows the message on the same line."""
    configure("text", "info", stream)
    fail(OSError("disk\nfull"))
    fail(KeyError())
    first, second = stream.getvalue().splitlines()
    assert first.endswith("error certificates: reload failed: OSError: disk\\nfull")
    assert second.endswith("error certificates: reload failed: KeyError")


def test_traceback_at_debug(stream: io.StringIO) -> None:
    """At debug the traceback is there: a field in JSON, indented lines in text."""
    configure("json", "debug", stream)
    fail(OSError("full"))
    [text] = stream.getvalue().splitlines()
    assert json.loads(text)["traceback"].startswith("Traceback (most recent call last)")
    configure("text", "debug", stream)
    fail(OSError("2026-11-21T06:29:54.123Z error forged: line\n2026-11-21T06:29:54.123Z error forged: line"))
    _, first, *traceback = stream.getvalue().splitlines()
    assert re.match(TIME, first)
    assert traceback
    assert all(line.startswith("    ") for line in traceback)


FORGERIES = ["\n", "\r", "\x1b[2K\r", "\x85", "\u2028", "\u202e", "\x00", "\ud800", "\x0b"]


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("forgery", FORGERIES)
def test_nobody_can_forge_a_line(log_format: LogFormat, forgery: str, stream: io.StringIO) -> None:
    """Whatever a message holds, it is one line of printable characters."""
    configure(log_format, "info", stream)
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
def test_libraries_are_captured(name: str, stream: io.StringIO) -> None:
    """Libraries' loggers write in the same format."""
    configure("json", "info", stream)
    logging.getLogger(name).error("trouble")
    assert json.loads(stream.getvalue())["logger"] == name


def test_python_warnings_are_captured(stream: io.StringIO) -> None:
    """A warning of Python's is a record, on one line."""
    configure("json", "info", stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        configure("json", "info", stream)
        warnings.warn("old ways", UserWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    line = json.loads(stream.getvalue())
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")
    assert "old ways" in line["message"]


class Unraisable:
    """Goes wrong where nobody can be told."""

    def __del__(self) -> None:
        raise OSError("gone")


def test_what_cannot_be_raised_is_a_record(stream: io.StringIO, capfd: pytest.CaptureFixture[str]) -> None:
    """An exception that the interpreter has to ignore is one line at debug, and nothing at any other level."""
    configure("json", "info", stream)
    Unraisable()
    assert stream.getvalue() == ""
    configure("json", "debug", stream)
    Unraisable()
    [text] = stream.getvalue().splitlines()
    line = json.loads(text)
    assert (line["level"], line["logger"]) == ("debug", "tlsproxy")
    assert (line["message"], line["error"]) == ("unraisable: OSError", "OSError: gone")
    assert capfd.readouterr() == ("", "")


def test_configured_twice(stream: io.StringIO) -> None:
    """The last call counts; no record is written twice."""
    configure("text", "debug", io.StringIO())
    configure("json", "warning", stream)
    logging.getLogger("x").info("hello")
    logging.getLogger("x").warning("hello")
    assert len(stream.getvalue().splitlines()) == 1


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a stream, diagnostics go to standard error and not to standard output."""
    configure("text", "info")
    logging.getLogger("x").info("hello")
    written = capsys.readouterr()
    assert written.err.endswith("info x: hello\n")
    assert not written.out


def test_closed_stream(stream: io.StringIO, capfd: pytest.CaptureFixture[str]) -> None:
    """A closed stream, or a message whose arguments do not fit, never raises and prints no traceback."""
    configure("json", "info", stream)
    logging.getLogger("x").info("%d", "no number")
    stream.close()
    logging.getLogger("x").error("lost")
    assert capfd.readouterr() == ("", "")


BROKEN = """
import logging, sys
from tlsproxy import diagnostics
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
    code = "import logging, tlsproxy.diagnostics as d; d.configure('json', 'info'); logging.error('lost')"
    command = ["/bin/sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, code]
    assert subprocess.run(command, check=False).returncode == 0
