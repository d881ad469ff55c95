"""Everything that is not a request line, on standard error: one line for each record, in JSON or as text.

Rooms write with `logging.getLogger("tlsproxy.certificates")` and the like; this module alone knows what becomes of it.
asyncio's and aiohttp's loggers and Python's warnings are captured too: all of them end at the root logger. Nobody who
logs ever waits for whoever reads standard error.
"""

import json
import logging
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Literal

from tlsproxy.chassis.output import LineWriter, descriptor_of
from tlsproxy.chassis.repeats import Repeats

LogFormat = Literal["json", "text"]

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
"""The names that LOG_LEVEL takes."""

_PACKAGE = "tlsproxy"
# What is kept for a reader that is slow: some thousand lines.
_BACKLOG = 1024 * 1024
_LAST_LINES_WITHIN = 1.0  # seconds
# Addresses, ports, descriptors and the like: what differs from one line of a storm to the next.
_NUMBERS = re.compile(r"[0-9a-fx:.]*[0-9][0-9a-fx:.]*")
# C0, DEL and C1, the line and paragraph separators, the marks that turn the direction of writing, and what
# can't be encoded: all that could end a line, or make a terminal show another one than was written.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def configure(log_format: LogFormat, level: str, program: str = "tlsproxy") -> None:
    """Send all diagnostics to standard error. May be called again; the last call counts.

    Args:
        log_format: `json`: an object with `time`, `level`, `logger`, `message`, and `error` where an
            exception is logged. `text`: `2026-11-21T06:29:54.123Z warning certificates: message`.
        level: One of LEVELS. Tracebacks are written at `debug` only.
        program: The name under which the package's loggers are shown: they begin with the package's own.
    """
    root = logging.getLogger()
    handler = _Handler(storms=level == "debug")
    handler.setFormatter(_FORMATTERS[log_format](tracebacks=level == "debug", program=program))
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    logging.captureWarnings(capture=True)
    sys.unraisablehook = _log_unraisable


def write(text: str) -> None:
    """Write a text for a person, in no log format, and without waiting either; it ends with a newline."""
    for handler in _handlers():
        handler.lines.add(text)
        handler.flush()


def flush() -> None:
    """Write what could not be written at once, as far as it is taken without waiting."""
    for handler in _handlers():
        handler.flush()


def lost() -> int:
    """Lines that were never written, or not whole."""
    return sum(handler.lines.lost for handler in _handlers())


def _handlers() -> "list[_Handler]":
    """The one that `configure` has made, if it was called."""
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, _Handler)]


def escape(text: str) -> str:
    r"""The text on one line, harmless to a terminal: a newline becomes `\n`, an escape byte `\x1b`."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _log_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Log what the interpreter can't raise, such as a server name that is no ASCII: any client can cause it."""
    logging.getLogger("tlsproxy").debug("unraisable: %s", unraisable.exc_type.__name__, exc_info=unraisable.exc_value)


class _Handler(logging.Handler):
    """Writes each record at once, as far as standard error takes it; what is lost has nowhere left to be told.

    Args:
        storms: whether all of many records like one another are written, or the first, and one every so often.
    """

    def __init__(self, *, storms: bool) -> None:
        super().__init__()
        self.lines = LineWriter(descriptor_of(sys.stderr), _BACKLOG, losing=None)
        self._storms = storms
        self._repeats = Repeats()

    def emit(self, record: logging.LogRecord) -> None:
        # Whatever fails here has nowhere left to be reported, and must not end what logged it.
        with suppress(Exception):
            if self._storms or self._passes(record):
                self.lines.add(self.format(record) + "\n")
            self.lines.flush()

    def _passes(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be written; limited are those that nobody counts where they are made.

        These are the libraries', and exceptions that nobody has expected.
        """
        ours = record.name.partition(".")[0] == _PACKAGE
        if record.levelno < logging.WARNING or (ours and not record.exc_info):
            return True
        message = record.getMessage()
        first, _, _ = f"{record.levelname} {record.name} {_error(record)} {message}".partition("\n")
        untold = self._repeats.untold(_NUMBERS.sub("#", first), monotonic())
        if untold:
            record.msg, record.args = f"{message} ({untold} more since the last such line)", None
        return untold is not None

    def flush(self) -> None:
        self.acquire()
        try:
            self.lines.flush()
        finally:
            self.release()

    def close(self) -> None:
        self.lines.close(_LAST_LINES_WITHIN)
        super().close()


def _error(record: logging.LogRecord) -> str:
    """`OSError: No space left on device`; empty when the record has no exception."""
    exception = record.exc_info[1] if record.exc_info else None
    if exception is None:
        return ""
    return ": ".join(filter(None, (type(exception).__name__, str(exception))))


class _Formatter(logging.Formatter):
    """What both formats have in common: the time, who speaks, and an exception's one line."""

    def __init__(self, *, tracebacks: bool, program: str) -> None:
        super().__init__()
        self._tracebacks = tracebacks
        self._program = program

    def logger(self, record: logging.LogRecord) -> str:
        """Which part of the program speaks, or which library."""
        package, dot, part = record.name.partition(".")
        return self._program + dot + part if package == _PACKAGE else record.name

    def time(self, record: logging.LogRecord) -> str:
        """RFC 3339, UTC, milliseconds."""
        moment = datetime.fromtimestamp(record.created, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def traceback(self, record: logging.LogRecord) -> str:
        """Of many lines; empty unless tracebacks are wanted and the record has one."""
        if not self._tracebacks or not record.exc_info:
            return ""
        return self.formatException(record.exc_info)


class _Json(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.time(record),
            "level": record.levelname.lower(),
            "logger": self.logger(record),
            "message": record.getMessage(),
            "error": _error(record),
            "traceback": self.traceback(record),
        }
        # In ASCII: JSON then escapes whatever could end a line by itself.
        return json.dumps({name: value for name, value in line.items() if value or name == "message"})


class _Text(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = ": ".join(filter(None, (record.getMessage(), _error(record))))
        line = f"{self.time(record)} {record.levelname.lower()} {self.logger(record)}: {escape(message)}"
        # Indented, since a line of it could otherwise pass for a record.
        traceback = (f"    {escape(line)}" for line in self.traceback(record).splitlines())
        return "\n".join((line, *traceback))


_FORMATTERS: dict[LogFormat, type[_Json | _Text]] = {"json": _Json, "text": _Text}
