"""Output for people: colours, marks and progress on a terminal, plain ASCII everywhere else.

For commands that a person runs (`demo`, `check`); the log has a room of its own.
"""

import os
from collections.abc import Mapping
from typing import TextIO

from tlsproxy.chassis.diagnostics import escape

_BOLD, _DIM, _RED, _GREEN, _CYAN = "1", "2", "31", "32", "36"  # ECMA-48 section 8.3.117 (SGR)
_CLEAR_LINE = "\r\x1b[K"
_BAR = 24  # cells


class Terminal:
    """Writes to one stream, richly if it is a terminal that may show it.

    That is: the stream is a terminal, NO_COLOR is unset or empty (https://no-color.org), TERM is not `dumb`,
    and the encoding is UTF-8.
    """

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        """Look at the stream, and at NO_COLOR and TERM among the variables."""
        self._stream = stream
        self.rich = (
            stream.isatty()
            and not environ.get("NO_COLOR")
            and environ.get("TERM") != "dumb"
            and (stream.encoding or "").lower().replace("-", "") == "utf8"
        )
        """Whether colours, marks and progress are shown."""

    def __repr__(self) -> str:
        return f"<Terminal {'rich' if self.rich else 'plain'}>"

    def title(self, text: str) -> None:
        """Start a part: an empty line, then its name."""
        self._write(f"\n{self._styled(text, _BOLD)}")

    def tick(self, text: str) -> None:
        """Something went well."""
        self._write(f"{self._styled('✔', _GREEN) if self.rich else '[+]'} {self._styled(text)}")

    def cross(self, text: str) -> None:
        """Something did not."""
        self._write(f"{self._styled('✘', _RED) if self.rich else '[-]'} {self._styled(text)}")

    def note(self, text: str) -> None:
        """An aside, indented beneath what it belongs to."""
        self._write(f"  {self._styled(text, _DIM)}")

    def code(self, text: str) -> None:
        """Lines to be copied or that were received, indented."""
        for line in text.splitlines():
            self._write(f"    {self._styled(line, _CYAN)}")

    def progress(self, done: int, total: int, text: str) -> None:
        """How far something has come: redrawn in place on a terminal, elsewhere only its end writes a line.

        The call with `done` not under `total` ends it. Whatever else is written meanwhile takes the bar's
        place, and the next call draws it anew.
        """
        if done >= total:
            self.tick(f"{text} {done}/{total}")
        elif self.rich:
            self._stream.write(_CLEAR_LINE + self._bar(done, total, text))
            self._stream.flush()

    def _bar(self, done: int, total: int, text: str) -> str:
        """One line that fits the terminal: a longer one would wrap, and could not be drawn over."""
        filled = max(0, done) * _BAR // total
        bar = self._styled("█" * filled, _GREEN) + self._styled("░" * (_BAR - filled), _DIM)
        count = f" {done}/{total} "
        room = max(0, self._columns() - _BAR - len(count) - 1)
        return f"{bar}{count}{escape(text)[:room]}"

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except OSError:
            return 80

    def _styled(self, text: str, style: str = "") -> str:
        """The text made harmless, in a style if there is one, in ASCII where the stream is plain."""
        text = escape(text)
        if not self.rich:
            return text.encode("ascii", "backslashreplace").decode()
        return f"\x1b[{style}m{text}\x1b[0m" if style else text

    def _write(self, line: str) -> None:
        """A line, in the place of a progress bar if one stands there."""
        self._stream.write(f"{_CLEAR_LINE if self.rich else ''}{line}\n")
        self._stream.flush()
