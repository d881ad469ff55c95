"""The demo's story and its transcript: some processes, topz with a token, what it shows, and how to go on by hand."""

import http.client
import os
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import NoReturn

from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.terminal import Terminal
from tlsproxy.demo.sidecar_process import STOPPING, SidecarProcess, StartError, reserved_ports, sidecar_process

PROGRAM = "tlsproxy.companions.topz"
APP = f"{PROGRAM}.demo.app"
PASSWORD = "hunter2"  # noqa: S105 - what is to be seen is that it is not seen
WORKER_WITHIN = 10.0  # seconds
LOOK_PERIOD = 0.2


class DemoError(Exception):
    """Something was not as the demo promises; the message is for whoever watches."""


def demo(port: int) -> Exit:
    """Show topz at work, on loopback alone; nothing is left behind.

    On a terminal it stays up until Ctrl-C; otherwise it ends with the transcript.

    Args:
        port: of the page; 0: a free one.

    Returns:
        FAILED when anything went wrong, which has been said.
    """
    for number in STOPPING:
        signal.signal(number, _interrupt)
    terminal = Terminal(sys.stdout, os.environ)
    token = secrets.token_urlsafe(16)
    try:
        with _stage(port, token) as (sidecar, page_port):
            _play(terminal, sidecar, page_port, token)
    except KeyboardInterrupt:
        terminal.title("Stopped; nothing is left behind.")
    except BrokenPipeError:
        raise
    except (OSError, StartError, DemoError) as error:
        terminal.cross(f"the demo can't go on: {error}")
        return Exit.FAILED
    return Exit.STOPPED


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    # One that came from here on would end the demo in the midst of cleaning up.
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def _stage(port: int, token: str) -> Iterator[tuple[SidecarProcess, int]]:
    """Everything that runs, for the length of the block."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="topz-demo-")))
        free_port, admin_port = stack.enter_context(reserved_ports(2))
        command = [sys.executable, "-m", APP, "--database=legacy", f"--password={PASSWORD}"]
        app = subprocess.Popen(command)  # noqa: S603 - a module of the demo's own
        stack.callback(app.wait)
        stack.callback(app.kill)
        settings = {
            "TOKEN": token,
            "HOST": "127.0.0.1",
            "PORT": port or free_port,
            "ADMIN_HOST": "127.0.0.1",
            "ADMIN_PORT": admin_port,
            "LOG_FORMAT": "text",
        }
        sidecar = stack.enter_context(sidecar_process(settings, admin_port, directory / "diagnostics", PROGRAM))
        yield sidecar, port or free_port


def _play(terminal: Terminal, sidecar: SidecarProcess, port: int, token: str) -> None:
    """The transcript, from the start to the end."""
    url = f"http://127.0.0.1:{port}/topz"
    terminal.title("Start")
    sidecar.await_ready()
    terminal.tick(f"an app with --password={PASSWORD}, and its busy worker")
    terminal.tick(f"topz is ready on {url}")
    terminal.title("Without the token")
    status, _ = _get(port, "", "/topz")
    if status != 401:
        raise DemoError(f"{url} answers {status} to who has no token")
    terminal.tick("401: nothing is shown")
    terminal.title("With it: the app's processes, as text")
    terminal.code(_await_worker(port, token).rstrip())
    terminal.tick("the password is masked")
    terminal.title("By hand")
    authorization = f"Authorization: Bearer {token}"
    terminal.code(shlex.join(["curl", "-H", authorization, f"http://127.0.0.1:{port}/topz?tree=on&filter=demo"]))
    terminal.note(f"In a browser: {url}, any name, and the password {token}")
    if os.isatty(0) and os.isatty(1):
        _stay(terminal, sidecar)
    terminal.note("Without a terminal the demo stops here.")


def _await_worker(port: int, token: str) -> str:
    """The app's processes as text, once its worker is among them."""
    deadline = time.monotonic() + WORKER_WITHIN
    while True:
        status, said = _get(port, token, "/topz?filter=topz.demo.app")
        if status != 200 or PASSWORD in said:
            raise DemoError(f"topz answers {status}, and not as it should")
        if f"{APP} worker" in said:
            return said
        if time.monotonic() > deadline:
            raise DemoError(f"the app's worker was not seen within {WORKER_WITHIN:g} s")


def _get(port: int, token: str, target: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", target, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    except http.client.HTTPException as error:
        raise DemoError(f"GET {target}: {error}") from error
    finally:
        connection.close()


def _stay(terminal: Terminal, sidecar: SidecarProcess) -> NoReturn:
    """Stay up until a signal."""
    terminal.title("It stays up until Ctrl-C.")
    while sidecar.status is None:
        time.sleep(LOOK_PERIOD)
    raise DemoError(f"topz ended with status {sidecar.status}")
