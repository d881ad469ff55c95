"""Everything that is not a request line, on standard error: one line for each record, in JSON or as text.

Rooms write with `logging.getLogger("certificates")` and the like; this module alone knows what becomes of it.
asyncio's and aiohttp's loggers and Python's warnings are captured too: all of them end at the root logger.
"""

import json
import logging
import os
import re
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

LogFormat = Literal["json", "text"]

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
"""The names that LOG_LEVEL takes."""

# C0, DEL and C1, the line and paragraph separators, the marks that turn the direction of writing, and what
# can't be encoded: all that could end a line, or make a terminal show another one than was written.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def configure(log_format: LogFormat, level: str, stream: TextIO | None = None) -> None:
    """Send all diagnostics to one stream. May be called again; the last call counts.

    Args:
        log_format: `json`: an object with `time`, `level`, `logger`, `message`, and `error` where an
            exception is logged. `text`: `2026-11-21T06:29:54.123Z warning certificates: message`.
        level: One of LEVELS. Tracebacks are written at `debug` only.
        stream: Where to; None is standard error. When it is closed or broken, records are lost in silence.
    """
    root = logging.getLogger()
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(_FORMATTERS[log_format](tracebacks=level == "debug"))
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    logging.captureWarnings(capture=True)
    sys.unraisablehook = _log_unraisable


def escape(text: str) -> str:
    r"""The text on one line, harmless to a terminal: a newline becomes `\n`, an escape byte `\x1b`."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _log_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Log what the interpreter can't raise, such as a server name that is no ASCII: any client can cause it."""
    logging.getLogger("tlsproxy").debug("unraisable: %s", unraisable.exc_type.__name__, exc_info=unraisable.exc_value)


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the signature is logging's
        """Stay silent: what fails here has nowhere left to be reported, and must not end what logged it."""
        if isinstance(sys.exception(), BrokenPipeError):
            # What the stream still holds, the interpreter would try to write at its end, and make that status 120.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())


class _Formatter(logging.Formatter):
    """What both formats have in common: the time, and an exception's one line."""

    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def time(self, record: logging.LogRecord) -> str:
        """RFC 3339, UTC, milliseconds."""
        moment = datetime.fromtimestamp(record.created, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def error(self, record: logging.LogRecord) -> str:
        """`OSError: No space left on device`; empty when the record has no exception."""
        exception = record.exc_info[1] if record.exc_info else None
        if exception is None:
            return ""
        return ": ".join(filter(None, (type(exception).__name__, str(exception))))

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
            "logger": record.name,
            "message": record.getMessage(),
            "error": self.error(record),
            "traceback": self.traceback(record),
        }
        # In ASCII: JSON then escapes whatever could end a line by itself.
        return json.dumps({name: value for name, value in line.items() if value or name == "message"})


class _Text(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = ": ".join(filter(None, (record.getMessage(), self.error(record))))
        line = f"{self.time(record)} {record.levelname.lower()} {record.name}: {escape(message)}"
        # Indented, since a line of it could otherwise pass for a record.
        traceback = (f"    {escape(line)}" for line in self.traceback(record).splitlines())
        return "\n".join((line, *traceback))


_FORMATTERS: dict[LogFormat, type[_Json | _Text]] = {"json": _Json, "text": _Text}
