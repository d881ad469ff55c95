"""A user's command: run with a time limit and little of an environment, its output in the log, ended with all it began.

What it is for is not known here. Linux 5.3 or later: its end is learnt from a pidfd, by any loop and without a thread.
"""

import asyncio
import logging
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path, PurePath

from tlsproxy.companions.rollout.processes import any_in_group, any_labelled, ends, send_labelled

_logger = logging.getLogger("tlsproxy.commands")

HANDED_ON = ("PATH", "LANG", "HOME")
"""What a command has of our environment; anything else may be a secret."""

_MARK = "COMMAND_ID"
"""The variable by which what a command began is found again after it has left the command's group."""

_MOST_LINES = 200
_LONGEST_LINE = 1000  # bytes
_LAST_WORDS = 200  # characters
_PIECE = 64 * 1024
_PIECES = 16
_GRACE = 1.0  # seconds between SIGTERM and SIGKILL
_LAST = 1.0  # seconds for the kernel to end what was killed
_ROUND = 0.02  # seconds between two looks at who is left


class CommandError(Exception):
    """A command did not do what it was to do; the message is plain and says with what it ended.

    Attributes:
        status: what it exited with; None: it did not start, was ended by a signal or took too long.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def parse_command(text: str) -> tuple[str, ...]:
    """A command and its arguments, quoted as for a shell; there is none, unless it says `sh -c '...'`.

    Raises:
        ValueError: it is empty or a quote is not closed, with a plain reason.
    """
    try:
        command = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(str(error).lower()) from None
    if not command or not command[0]:
        raise ValueError("there is no command in it")
    return command


async def run(
    command: tuple[str, ...],
    within: float,
    variables: Mapping[str, str] | None = None,
    directory: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Run it to its end; when this returns, or raises for whatever reason, nothing of the command's group is left.

    It leads a session of its own and has nothing to read on standard input. What is left when its time is over gets
    SIGTERM, a second later SIGKILL: its group, and what has left that, as long as it has the environment that it began
    with. Of a command that ends in time, only what is left of its group is ended.

    Args:
        command: the program, found by PATH, and its arguments.
        within: seconds.
        variables: what it has in its environment besides PATH, LANG and HOME.
        directory: where it runs; None: where we do.
        say: is told each line of its output, shortened where it is very long, and at most so many; None: they are
            logged.

    Raises:
        CommandError: it can't be started, ends with a status other than 0 or by a signal, or takes too long.
    """
    running = _Running(command, variables or {}, directory, say or _logged(command))
    in_time = False
    try:
        in_time = await ends(running.pidfd, within)
    finally:
        await running.end(everything=not in_time)
    if not in_time:
        raise CommandError(f"{_named(command)} took longer than {within:g}s and was ended{running.last_words}")
    _judge(command, running)


def _judge(command: tuple[str, ...], running: "_Running") -> None:
    status = running.process.returncode
    if status < 0:
        raise CommandError(f"{_named(command)} was ended by {_signal_name(-status)}{running.last_words}")
    if status:
        raise CommandError(f"{_named(command)} ended with exit status {status}{running.last_words}", status)


def _named(command: tuple[str, ...]) -> str:
    """By its program alone: an argument may be a secret."""
    return PurePath(command[0]).name


def _logged(command: tuple[str, ...]) -> Callable[[str], None]:
    return lambda line: _logger.info("%s: %s", _named(command), line)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time one
        return f"signal {number}"


# --- A command that runs -----------------------------------------------------------------------------------


class _Running:
    """A command from its start to the end of all that it began; its leader is not reaped before that.

    So long no other process or group can be given its number.
    """

    def __init__(
        self, command: tuple[str, ...], variables: Mapping[str, str], directory: Path | None, say: Callable[[str], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._output = _Output(say)
        self._mark = os.urandom(8).hex()
        ours = {name: value for name in HANDED_ON if (value := os.environ.get(name)) is not None}
        self.process, self.pidfd, self._pipe = _start(command, {**ours, **variables, _MARK: self._mark}, directory)
        self._loop.add_reader(self._pipe, self._read)

    @property
    def last_words(self) -> str:
        """What it said last, for the end of a message."""
        return f": {self._output.last}" if self._output.last else ""

    def _read(self) -> None:
        """Take what it has written; not all at once, since it may never pause."""
        with suppress(BlockingIOError):
            for _ in range(_PIECES):
                piece = os.read(self._pipe, _PIECE)
                if not piece:  # closed, and readable for ever
                    self._loop.remove_reader(self._pipe)
                    return
                self._output.add(piece)

    async def end(self, *, everything: bool) -> None:
        """End what is left of its group, or of everything that it began; to be called once."""
        try:
            if not await self._send_until_gone(signal.SIGTERM, _GRACE, everything=everything):
                await self._send_until_gone(signal.SIGKILL, _LAST, everything=everything)
        finally:
            # Once more for whoever is cancelled a second time and does not wait.
            self._send(signal.SIGKILL, everything=everything)
            self._reap()
            self._close()

    async def _send_until_gone(self, number: signal.Signals, within: float, *, everything: bool) -> bool:
        """Whether nobody is left within so many seconds."""
        deadline = self._loop.time() + within
        left = self._send(number, everything=everything)
        while left and self._loop.time() < deadline:
            await asyncio.sleep(_ROUND)
            left = self._is_left(everything=everything)
        return not left

    def _send(self, number: signal.Signals, *, everything: bool) -> bool:
        """Whether there was anybody."""
        in_group = any_in_group(self.process.pid)
        if in_group:
            # May be gone since, and may have become another user's.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)
        return (everything and send_labelled(_MARK, self._mark, number)) or in_group

    def _is_left(self, *, everything: bool) -> bool:
        return any_in_group(self.process.pid) or (everything and any_labelled(_MARK, self._mark))

    def _reap(self) -> None:
        """Ask after it; and after those of its group that became ours, where we are process 1 of a container."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_LAST)
        with suppress(ChildProcessError):
            while os.waitpid(-self.process.pid, os.WNOHANG)[0]:
                pass

    def _close(self) -> None:
        self._read()
        self._loop.remove_reader(self._pipe)
        self._output.close()
        os.close(self._pipe)
        os.close(self.pidfd)


def _start(
    command: tuple[str, ...], environment: Mapping[str, str], directory: Path | None
) -> tuple[subprocess.Popen[bytes], int, int]:
    """The command, its pidfd, and where its output is read."""
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603  -- the user's own, and no shell is in between
            command,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            cwd=directory,
            env=dict(environment),
            start_new_session=True,
        )
    except OSError as error:
        os.close(reading)
        raise CommandError(_why_not_started(command, environment, error)) from None
    finally:
        os.close(writing)
    os.set_blocking(reading, False)
    try:
        return process, os.pidfd_open(process.pid), reading
    except OSError as error:
        process.kill()
        process.wait()
        os.close(reading)
        reason = os.strerror(error.errno or 0).lower()
        raise CommandError(f"{command[0]} can't be followed to its end (pidfd_open): {reason}") from None


def _why_not_started(command: tuple[str, ...], environment: Mapping[str, str], error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and "/" not in command[0]:
        path = environment.get("PATH", os.defpath)
        return f"there is no {command[0]} in PATH={path}: the image of this sidecar or a volume has to bring it"
    return f"{command[0]} can't be started: {os.strerror(error.errno or 0).lower()}"


# --- Its output --------------------------------------------------------------------------------------------


class _Output:
    """Bytes as they come, told as lines; only so much is ever kept or told."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._rest = b""
        self._lines = 0
        self.last = ""
        """The last line that is not blank, shortened."""

    def add(self, piece: bytes) -> None:
        *lines, rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._tell(line)
        self._rest = rest[: _LONGEST_LINE + 1]

    def close(self) -> None:
        """Tell what came without an end of line, and how much was not told."""
        self._tell(self._rest)
        if self._lines > _MOST_LINES:
            self._say(f"... and {self._lines - _MOST_LINES} more lines")

    def _tell(self, line: bytes) -> None:
        text = line[:_LONGEST_LINE].decode(errors="replace").rstrip()
        if not text:
            return
        text += "..." if len(line) > _LONGEST_LINE else ""
        self.last = text if len(text) <= _LAST_WORDS else f"{text[:_LAST_WORDS]}..."
        self._lines += 1
        if self._lines <= _MOST_LINES:
            self._say(text)
