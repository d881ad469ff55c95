"""The demo's story and its transcript: some processes, topz with a token, what it shows, and how to go on by hand."""

import http.client
import secrets
import shlex
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.terminal import Terminal
from tlsproxy.demo.frame import DemoError, last_words, perform, stay
from tlsproxy.demo.sidecar_process import SidecarProcess, reserved_ports, sidecar_process

PROGRAM = "tlsproxy.companions.topz"
APP = f"{PROGRAM}.demo.app"
PASSWORD = "hunter2"  # noqa: S105 - what is to be seen is that it is not seen
WORKER_WITHIN = 10.0  # seconds


def demo(port: int) -> Exit:
    """Show topz at work, on loopback alone; nothing is left behind.

    On a terminal it stays up until Ctrl-C; otherwise it ends with the transcript.

    Args:
        port: of the page; 0: a free one.

    Returns:
        FAILED when anything went wrong, which has been said.
    """
    token = secrets.token_urlsafe(16)

    def play(terminal: Terminal, stack: ExitStack) -> None:
        sidecar, page_port = _stage(stack, port, token)
        with last_words(terminal, sidecar):
            _play(terminal, sidecar, page_port, token)

    return perform(play)


def _stage(stack: ExitStack, port: int, token: str) -> tuple[SidecarProcess, int]:
    """Everything that runs, for as long as the stack lasts."""
    directory = Path(stack.enter_context(TemporaryDirectory(prefix="topz-demo-")))
    free_port, admin_port = stack.enter_context(reserved_ports(2))
    command = [sys.executable, "-m", APP, "--database=legacy", f"--password={PASSWORD}"]
    # Ctrl-C is for the demo alone, which ends the app.
    app = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - a module of the demo's own
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
    return sidecar, port or free_port


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
    stay(terminal, sidecar)


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
