"""The demo's story and its transcript: a first version, a good change, two bad ones, and how to go on by hand."""

import os
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.terminal import Terminal
from tlsproxy.companions.configsync.demo.asking import WITHIN, awaited, get, history, put
from tlsproxy.companions.configsync.demo.configuration_api import PATH, configuration_api
from tlsproxy.companions.configsync.demo.container import Container, container
from tlsproxy.demo.frame import DemoError, last_words, perform, stay
from tlsproxy.demo.sidecar_process import SidecarProcess, reserved_ports, sidecar_process

PROGRAM = "tlsproxy.companions.configsync"
APP = f"{PROGRAM}.demo.app"
LABEL = "CONFIGSYNC_DEMO_APP"
FIRST, SECOND = b'{"greeting": "Hello"}\n', b'{"greeting": "Good morning"}\n'
TORN = b'{"greeting": "Good evening"\n'
MISSPELLED = b'{"greting": "Good evening"}\n'
# What is to become of them, one after the other.
OUTCOMES = ("published", "published", "rejected", "failed", "restored")


@dataclass(frozen=True, slots=True)
class Stage:
    """What the demo plays on."""

    terminal: Terminal
    directory: Path
    url: str
    """The document's, at the configuration API."""
    api_port: int
    app_port: int
    admin_port: int
    label: str
    """By which configsync finds the app's process, and no other one of this machine."""
    settings: Mapping[str, object]
    """configsync's, without their prefix."""

    @property
    def file(self) -> Path:
        """What the app reads."""
        return self.directory / "config" / "app.json"

    def greeting(self) -> str:
        """What the app says; empty: it does not answer, or not well."""
        status, body = get(self.app_port, "/")
        return body.strip() if status == 200 else ""

    def has_come_to(self, outcomes: Sequence[str]) -> Mapping[str, str]:
        """The last line of configsync's history, once it has these outcomes and no more; empty: it does not."""
        lines = history(self.admin_port)
        return lines[0] if [line["outcome"] for line in reversed(lines)] == list(outcomes) else {}


def demo() -> Exit:
    """Show configsync at work, in a temporary directory and on loopback alone; nothing is left behind.

    On a terminal it stays up until Ctrl-C; otherwise it ends with the transcript.

    Returns:
        FAILED when anything was not as promised, which has been said.
    """
    return perform(_play)


def _play(terminal: Terminal, stack: ExitStack) -> None:
    """The transcript, from the start to the end."""
    stage = _stage(terminal, stack)
    _show_settings(stage)
    terminal.title("Start")
    terminal.tick(f"a configuration API: {stage.url}")
    _publish_first(stage)
    app = _start_app(stage, stack)
    log = stage.directory / "diagnostics"
    sidecar = stack.enter_context(sidecar_process(stage.settings, stage.admin_port, log, PROGRAM))
    with last_words(terminal, sidecar):
        sidecar.await_ready()
        terminal.tick("configsync is ready beside it")
        _show_good(stage, app)
        _show_torn(stage, app)
        _show_unhealthy(stage)
        _show_history(stage)
        _show_commands(stage)
        stay(terminal, sidecar)


def _stage(terminal: Terminal, stack: ExitStack) -> Stage:
    """The API runs, and the volume is there; both as long as the stack."""
    directory = Path(stack.enter_context(TemporaryDirectory(prefix="configsync-demo-")))
    (directory / "config").mkdir()
    label = f"{LABEL}={secrets.token_hex(8)}"
    api_port, app_port, admin_port, control_port = stack.enter_context(reserved_ports(4))
    url = stack.enter_context(configuration_api(api_port, FIRST))
    settings = {
        "SOURCES": url,
        "DIR": directory / "config",
        "UPDATE_PERIOD": "200ms",
        "TELL": "end",
        "TELL_PROCESS": f"label:{label}",
        "HEALTH": f"http://127.0.0.1:{app_port}/healthz",
        "HEALTH_WITHIN": "3s",
        "HEALTH_FOR": "0",
        "ADMIN_HOST": "127.0.0.1",
        "ADMIN_PORT": admin_port,
        "CONTROL_PORT": control_port,
        "LOG_FORMAT": "text",
    }
    return Stage(terminal, directory, url, api_port, app_port, admin_port, label, settings)


def _show_settings(stage: Stage) -> None:
    terminal = stage.terminal
    terminal.title("The variables that matter")
    shown = ("SOURCES", "DIR", "TELL", "TELL_PROCESS", "HEALTH")
    terminal.code("\n".join(f"CONFIGSYNC_{name}={stage.settings[name]}" for name in shown))
    terminal.note("All others only keep the demo quick, on loopback and on free ports.")


def _publish_first(stage: Stage) -> None:
    """As an init container: an app that starts finds its file."""
    settings = {**stage.settings, "ONE_TIME": "on"}
    log = stage.directory / "init-diagnostics"
    with (
        sidecar_process(settings, stage.admin_port, log, PROGRAM) as sidecar,
        last_words(stage.terminal, sidecar),
    ):
        status = awaited(lambda: _ended(sidecar), "configsync ends with CONFIGSYNC_ONE_TIME=on")
        if status != "0" or stage.file.read_bytes() != FIRST:
            raise DemoError(f"configsync ended with status {status}, and did not bring the file")
    stage.terminal.tick("configsync with CONFIGSYNC_ONE_TIME=on, as an init container: app.json is in the volume")


def _start_app(stage: Stage, stack: ExitStack) -> Container:
    name, _, value = stage.label.partition("=")
    command = [sys.executable, "-m", APP, str(stage.file), str(stage.app_port)]
    app = stack.enter_context(container(command, {**os.environ, name: value}))
    awaited(lambda: stage.greeting() == "Hello", "the app greets")
    stage.terminal.tick('a legacy app that reads app.json when it starts and never again; it says "Hello"')
    return app


def _ended(sidecar: SidecarProcess) -> str:
    return "" if sidecar.status is None else str(sidecar.status)


def _show_good(stage: Stage, app: Container) -> None:
    terminal, before = stage.terminal, app.pid
    terminal.title("A change")
    began = _change(stage, SECOND)
    awaited(lambda: stage.greeting() == "Good morning", "the app has the new configuration")
    terminal.tick(f'{time.monotonic() - began:.1f} s after the change the app says "Good morning"')
    awaited(lambda: app.pid != before, "the app was started anew")
    terminal.tick(f"process {before} was asked to end, and its container started {app.pid} with the new file")
    awaited(lambda: stage.has_come_to(OUTCOMES[:2]), "the change is at its end")
    terminal.tick("it is healthy: the change stays")


def _show_torn(stage: Stage, app: Container) -> None:
    terminal, before = stage.terminal, app.pid
    terminal.title("A file that does not parse")
    _change(stage, TORN)
    entry = awaited(lambda: stage.has_come_to(OUTCOMES[:3]), "it is refused")
    terminal.tick(f"refused: {entry['detail']}")
    if stage.file.read_bytes() != SECOND or app.pid != before or stage.greeting() != "Good morning":
        raise DemoError("the app was disturbed by a version that was refused")
    terminal.tick("the file is the one before, and the app was left alone")


def _show_unhealthy(stage: Stage) -> None:
    terminal = stage.terminal
    terminal.title("A version that the app is not well with")
    began = _change(stage, MISSPELLED)
    awaited(lambda: get(stage.app_port, "/healthz")[0] == 503, "the app has it, and is not healthy")
    terminal.tick(f"it parses; {time.monotonic() - began:.1f} s after the change the app has it, and answers 503")
    awaited(lambda: stage.greeting() == "Good morning", "the version before is restored")
    terminal.tick(f'{time.monotonic() - began:.1f} s after the change the app says "Good morning" again')
    entry = awaited(lambda: stage.has_come_to(OUTCOMES), "the version before is kept")
    if stage.file.read_bytes() != SECOND:
        raise DemoError("the file is not the one before")
    terminal.tick(f"restored: {entry['detail']}")
    terminal.tick("it is not tried again until it changes")


def _change(stage: Stage, document: bytes) -> float:
    """Change the API's document; returns the time at which that was done."""
    stage.terminal.code(f"PUT {stage.url}\n\n{document.decode().strip()}")
    put(stage.api_port, PATH, document)
    return time.monotonic()


def _show_history(stage: Stage) -> None:
    terminal = stage.terminal
    terminal.title("What became of each: `configsync history`")
    shown = _history(stage)
    terminal.code(shown)
    outcomes = [line.split()[2].rstrip(",") for line in shown.splitlines()[2:]]
    if outcomes != list(reversed(OUTCOMES)):
        raise DemoError(f"this is not the history of what happened: {', '.join(reversed(OUTCOMES))}")


def _history(stage: Stage) -> str:
    """What the command says."""
    environment = {f"CONFIGSYNC_{name}": str(value) for name, value in stage.settings.items()}
    command = [sys.executable, "-m", PROGRAM, "history"]
    try:
        done = subprocess.run(  # noqa: S603 - a module of ours
            command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=WITHIN, check=True
        )
    except subprocess.TimeoutExpired:
        raise DemoError(f"`configsync history` took longer than {WITHIN:g} s") from None
    except subprocess.CalledProcessError as error:
        raise DemoError(error.stderr.strip() or f"`configsync history` ended with status {error.returncode}") from None
    return done.stdout


def _show_commands(stage: Stage) -> None:
    terminal = stage.terminal
    terminal.title("By hand")
    terminal.note("What the app says, and a change:")
    terminal.code(f"curl http://127.0.0.1:{stage.app_port}/")
    terminal.code(shlex.join(["curl", "-X", "PUT", "-d", '{"greeting": "Hi"}', stage.url]))
    terminal.note("The versions, and back to the one before:")
    settings = [f"CONFIGSYNC_{name}={stage.settings[name]}" for name in ("SOURCES", "DIR", "CONTROL_PORT")]
    for verb in ("history", "rollback"):
        terminal.code(shlex.join(["env", *settings, sys.executable, "-m", PROGRAM, verb]))
