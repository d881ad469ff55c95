"""`tlsproxy demo`, run as people run it: in a pipe, on a terminal, and with a sidecar that dies."""

import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.polling import wait_until
from tests.e2e.sidecar_process import PROJECT

WITHIN = 20.0  # seconds


def environment(directory: Path) -> dict[str, str]:
    """Ours, with a temporary directory of the test's own, and variables that would break what they reached."""
    inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    leaks = {"TLSPROXY_LISTEN_PORT": "none", "TLSPROXY_CLIENT_AUTH": "required"}
    return {**inherited, **leaks, "TMPDIR": str(directory), "LANG": "C.UTF-8", "TERM": "xterm"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tlsproxy", "demo", *arguments]


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The demo without a terminal, to its end."""
    return subprocess.run(
        command(*arguments),
        env=environment(directory),
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )


def children(pid: int) -> list[int]:
    """The processes that one has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def serial(which: str, transcript: str) -> str:
    found = re.search(rf"{which} serial ([0-9A-F]+)", transcript)
    assert found, transcript
    return found[1]


def assert_nothing_left(directory: Path) -> None:
    assert list(directory.glob("tlsproxy-demo-*")) == []


def test_transcript(tmp_path: Path) -> None:
    """Without a terminal the demo ends with status 0 and a transcript of all that it promises."""
    done = run(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    transcript = done.stdout
    assert "TLSPROXY_CERT_NAME=" in transcript
    assert "TLSPROXY_APP_PORT=" in transcript
    assert "TLSv1.3" in transcript
    assert "HTTP/1.1 200 OK" in transcript
    assert "X-Forwarded-For: 127.0.0.1" in transcript
    assert "X-Forwarded-Proto: https" in transcript
    assert serial("old", transcript) != serial("new", transcript)
    assert f"serial {serial('old', transcript)}\n" in transcript.partition("rotation")[0]
    assert re.search(r"\d+ ms from the swap to the first handshake", transcript)
    assert re.search(r"requests sent: [1-9]\d+ ", transcript)
    assert "requests lost: 0\n" in transcript
    assert "curl --cacert " in transcript
    assert transcript.isascii()
    assert_nothing_left(tmp_path)


def test_taken_port(tmp_path: Path) -> None:
    """A port that can't be had ends the demo with status 1 and the sidecar's own words."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run(tmp_path, "--port", str(port))
    assert done.returncode == 1
    assert "the sidecar ended with status 4" in done.stdout
    assert f"TLSPROXY_LISTEN_PORT={port}: another process listens there" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert_nothing_left(tmp_path)


def test_lost_requests_are_reported(tmp_path: Path) -> None:
    """When the sidecar dies in the middle of the rotation, the demo says what was lost and ends with status 1."""
    with subprocess.Popen(
        command(),
        env=environment(tmp_path),
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "while requests run" in line:
                break
        (sidecar,) = children(process.pid)
        os.kill(sidecar, signal.SIGKILL)
        rest = process.stdout.read()
    assert process.returncode == 1
    assert re.search(r"requests lost: [1-9]\d* of \d+ \(GET /", rest), rest
    assert "What the sidecar said" in rest
    assert "serving HTTPS on" in rest
    assert "Traceback" not in rest
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    """A signal in the middle of it leaves nothing behind, and is no failure."""
    with subprocess.Popen(
        command(),
        env=environment(tmp_path),
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (sidecar,) = wait_until(lambda: children(process.pid), "the sidecar runs")
        process.send_signal(number)
        rest = process.stdout.read()
    assert process.returncode == 0
    assert "Stopped" in rest
    assert "Traceback" not in rest
    assert is_gone(sidecar)
    assert_nothing_left(tmp_path)


class Screen:
    """A demo on a pseudo-terminal, and what it has shown, colours left out."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.raw = ""
        self._master = master

    @property
    def text(self) -> str:
        return re.sub(r"\x1b\[[0-9;]*[mK]", "", self.raw).replace("\r", "")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match of what is shown."""
        deadline = time.monotonic() + WITHIN
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < deadline, self.text
            if select.select([self._master], [], [], 0.1)[0]:
                self.raw += os.read(self._master, 65536).decode(errors="replace")
        return found


@contextmanager
def on_a_terminal(arguments: Sequence[str], directory: Path) -> Iterator[Screen]:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        arguments,
        env=environment(directory),
        cwd=PROJECT,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Screen(process, master)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(WITHIN)
        os.close(master)


def interrupt(process: subprocess.Popen[bytes]) -> int | None:
    """As a terminal's Ctrl-C, which all processes in the foreground get; the exit status, once there is one."""
    os.killpg(process.pid, signal.SIGINT)
    return process.poll()


def shell(line: str) -> str:
    """What a line typed into a shell prints; its errors too."""
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=WITHIN, check=False)
    return done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("curl") is None, reason="the printed line needs curl")
def test_by_hand_on_a_terminal(tmp_path: Path) -> None:
    """On a terminal it stays up: the printed lines work, a rotation is shown, and Ctrl-C, held down, ends it."""
    with on_a_terminal(command(), tmp_path) as screen:
        screen.wait_for("stays up until Ctrl-C.*\n")
        curl = screen.wait_for(r" (curl --cacert .*)\n")[1]
        rotation = screen.wait_for(r"    (.* dev-cert .*)\n")[1]
        assert "X-Forwarded-Proto: https" in shell(f"{curl} -sS")
        shell(rotation)
        changed = screen.wait_for(r"serial ([0-9A-F]+) -> ([0-9A-F]+)")
        assert changed[1] == serial("new", screen.text)
        assert "X-Forwarded-Proto: https" in shell(f"{curl} -sS")
        (sidecar,) = children(screen.process.pid)
        wait_until(lambda: interrupt(screen.process) is not None, "it has ended", WITHIN)
        screen.wait_for("Stopped")
        assert screen.process.wait(WITHIN) == 0
    assert "✔ requests lost: 0" in screen.text
    assert "█" in screen.text
    assert "Traceback" not in screen.text
    assert is_gone(sidecar)
    assert_nothing_left(tmp_path)


@pytest.mark.soak
def test_sidecar_dies_while_up(tmp_path: Path) -> None:
    """On a terminal too, a sidecar that ends is a failure, and is said at once."""
    with on_a_terminal(command(), tmp_path) as screen:
        screen.wait_for("stays up until Ctrl-C.*\n")
        (sidecar,) = children(screen.process.pid)
        os.kill(sidecar, signal.SIGKILL)
        screen.wait_for("the sidecar ended with status -9")
        assert screen.process.wait(WITHIN) == 1
    assert_nothing_left(tmp_path)
