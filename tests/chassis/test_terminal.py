"""What a person sees of demo and check, on a terminal and elsewhere."""

import io
import os
import pty
import termios
from collections.abc import Iterator
from typing import TextIO

import pytest

from tlsproxy.chassis.terminal import Terminal


class Screen:
    """A pseudo-terminal of a given width: the stream to write to, and what arrived on the other side."""

    def __init__(self, columns: int = 60, encoding: str = "utf-8") -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, columns))
        self.stream: TextIO = open(slave, "w", encoding=encoding)  # noqa: PTH123, SIM115  a descriptor; see close()

    def read(self) -> str:
        """Everything written since the last call; its end is marked, as a terminal hands over pieces."""
        self.stream.write("\x00")
        self.stream.flush()
        written = b""
        while not written.endswith(b"\x00"):
            written += os.read(self.master, 65536)
        return written[:-1].decode()

    def close(self) -> None:
        self.stream.close()
        os.close(self.master)


@pytest.fixture
def screen() -> Iterator[Screen]:
    screen = Screen()
    yield screen
    screen.close()


def say_everything(terminal: Terminal) -> None:
    terminal.title("Rotation")
    terminal.tick("certificate ✓ swapped")
    terminal.cross("app: connection refused")
    terminal.note("try again")
    terminal.code("curl -k \\\n  https://localhost")


PLAIN = """
Rotation
[+] certificate \\u2713 swapped
[-] app: connection refused
  try again
    curl -k \\
      https://localhost
"""


def test_plain_text() -> None:
    """A stream that is no terminal gets plain ASCII."""
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="utf-8")
    say_everything(Terminal(stream, {"TERM": "xterm-256color"}))
    assert written.getvalue().decode() == PLAIN


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_terminal_that_wants_it_plain(screen: Screen, environ: dict[str, str]) -> None:
    """NO_COLOR and a dumb terminal get the same plain text."""
    terminal = Terminal(screen.stream, environ)
    assert not terminal.rich
    say_everything(terminal)
    assert screen.read().replace("\r\n", "\n") == PLAIN


def test_terminal_that_is_not_utf8() -> None:
    """A terminal that could not show the marks gets ASCII, not an error."""
    screen = Screen(encoding="ascii")
    say_everything(Terminal(screen.stream, {}))
    assert screen.read().replace("\r\n", "\n") == PLAIN
    screen.close()


@pytest.mark.parametrize("environ", [{}, {"NO_COLOR": ""}, {"TERM": "xterm"}])
def test_rich_terminal(screen: Screen, environ: dict[str, str]) -> None:
    """A terminal gets colours and marks; an empty NO_COLOR counts as unset."""
    terminal = Terminal(screen.stream, environ)
    assert terminal.rich
    say_everything(terminal)
    written = screen.read()
    assert "\x1b[1mRotation\x1b[0m" in written
    assert "\x1b[32m✔\x1b[0m certificate ✓ swapped" in written
    assert "\x1b[31m✘\x1b[0m app: connection refused" in written
    assert "    \x1b[36m  https://localhost\x1b[0m" in written


def test_control_bytes_do_nothing(screen: Screen) -> None:
    """What others put into a text can't command the terminal."""
    terminal = Terminal(screen.stream, {})
    terminal.tick("\x1b]0;owned\x07")
    terminal.code("\x1b[2Jheader\r")
    terminal.progress(1, 2, "\x1b[2J")
    written = screen.read()
    assert "\x1b]0" not in written
    assert "\x1b[2J" not in written
    assert "\\x1b[2Jheader" in written


def test_progress_without_a_terminal() -> None:
    """Elsewhere than on a terminal progress is silent but for its end."""
    stream = io.StringIO()
    terminal = Terminal(stream, {})
    for done in range(101):
        terminal.progress(done, 100, "requests")
    assert stream.getvalue() == "[+] requests 100/100\n"


def test_progress_on_a_terminal(screen: Screen) -> None:
    """The bar stays on one line, is as long as the work done, and gives way to a mark."""
    terminal = Terminal(screen.stream, {})
    for done in (0, 50, 99):
        terminal.progress(done, 100, "requests")
    drawn = screen.read()
    assert "\n" not in drawn
    assert [part.count("█") for part in drawn.split("\r")[1:]] == [0, 12, 23]
    terminal.progress(100, 100, "requests")
    assert screen.read() == "\r\x1b[K\x1b[32m✔\x1b[0m requests 100/100\r\n"


def test_line_between(screen: Screen) -> None:
    """A line written while a bar stands takes the bar's place."""
    terminal = Terminal(screen.stream, {})
    terminal.progress(1, 2, "requests")
    screen.read()
    terminal.note("swapped")
    assert screen.read().startswith("\r\x1b[K")


def test_bar_fits_the_terminal(screen: Screen) -> None:
    """A long text is cut, so that the bar never wraps."""
    Terminal(screen.stream, {}).progress(1, 2, "x" * 200)
    drawn = screen.read()
    assert "x" in drawn
    assert drawn.count("x") + drawn.count("█") + drawn.count("░") + len(" 1/2 ") < 60


def test_nothing_to_do(screen: Screen) -> None:
    """Work of no steps is done at once."""
    Terminal(screen.stream, {}).progress(0, 0, "requests")
    assert "requests 0/0" in screen.read()
