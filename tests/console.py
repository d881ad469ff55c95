"""Console blocks of the documents, run as a reader would type them.

A block fenced as `console` under the comment `<!-- run -->` is run: all of a page, in order, in one shell and one empty
directory. (Those under `<!-- run with podman -->` are for the tests of the image.) Lines that begin with `$ ` are
commands, those with `> ` continue them, and what stands below must be what they print on both streams, where `...`
stands for anything, and as a line of its own for any lines or none. A command with nothing below it may print what it
likes.

The ports that the pages name are replaced by free ones, in commands and output alike, and the sidecar's defaults
with them; everything listens on the loopback address.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.ports import free_port

WITHIN = 75.0
"""Seconds for a whole page, which takes 5 on an idle machine."""
# The app's, HTTPS, admin, redirects; configsync's control and admin.
PORTS = ("8000", "8443", "8444", "8081", "8452", "8453")
_BLOCK = re.compile(r"^<!-- (?P<mark>run[a-z ]*) -->\n+```console\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_MARK = re.compile(r"^@@(\d+)@@\n", re.MULTILINE)


@dataclass
class Command:
    """A command of a page, and what the page says that it prints."""

    text: str
    shown: list[str] = field(default_factory=list)

    def prints(self, output: str) -> bool:
        """Whether the output is what is shown."""
        lines = ("\n" + re.escape(line).replace(re.escape("..."), ".*") for line in self.shown)
        wanted = "".join("(\n.*)?" if line == "\n.*" else line for line in lines)
        printed = "\n".join(line.rstrip() for line in output.strip().splitlines())
        return not self.shown or re.fullmatch(wanted, f"\n{printed}", re.DOTALL) is not None


def commands(page: str, mark: str = "run") -> list[Command]:
    """The commands of a page's blocks of that mark, in order."""
    blocks = [match["text"] for match in _BLOCK.finditer(page) if match["mark"] == mark]
    return [command for block in blocks for command in _of_block(block)]


def _of_block(block: str) -> Iterator[Command]:
    command: Command | None = None
    for line in block.splitlines():
        if line.startswith("$ "):
            if command is not None:
                yield command
            command = Command(line.removeprefix("$ "))
        elif command is None:
            raise AssertionError(f"a block begins with output: {line}")
        elif line.startswith("> ") and not command.shown:
            command.text += "\n" + line.removeprefix("> ")
        else:
            command.shown.append(line.rstrip())
    if command is not None:
        yield command


def with_free_ports(page: str) -> tuple[str, Mapping[str, str]]:
    """The page with free ports in place of its own, and what each became."""
    ports = {port: str(free_port()) for port in PORTS}
    # In PORT:PORT, as containers publish them, the second is the container's own.
    return re.sub(rf"(?<!\d{{4}}:)\b({'|'.join(PORTS)})\b", lambda found: ports[found[0]], page), ports


def run(page: str, directory: Path, mark: str = "run") -> None:
    """Run the page's commands; AssertionError for the first one that prints something else than is shown."""
    page, ports = with_free_ports(page)
    listed = commands(page, mark)
    output = _output(listed, directory, _environment(directory, ports))
    for command, printed in zip(listed, output, strict=False):
        assert command.prints(printed), f"$ {command.text}\nshows\n{_joined(command)}\nand prints\n{printed}"
    assert len(output) == len(listed), f"not finished within {WITHIN} s: $ {listed[len(output)].text}"


def _environment(directory: Path, ports: Mapping[str, str]) -> dict[str, str]:
    app, https, admin, _, control, configsync_admin = (ports[port] for port in PORTS)
    return {
        "HOME": str(directory),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TLSPROXY_LISTEN_HOST": "127.0.0.1",
        "TLSPROXY_LISTEN_PORT": https,
        "TLSPROXY_ADMIN_HOST": "127.0.0.1",
        "TLSPROXY_ADMIN_PORT": admin,
        "TLSPROXY_APP_PORT": app,
        # What is said does not depend on this machine's limit of open files.
        "TLSPROXY_MAX_CONNECTIONS": "100",
        "CONFIGSYNC_CONTROL_PORT": control,
        "CONFIGSYNC_ADMIN_HOST": "127.0.0.1",
        "CONFIGSYNC_ADMIN_PORT": configsync_admin,
    }


def _output(listed: list[Command], directory: Path, environment: Mapping[str, str]) -> list[str]:
    """What each command printed, up to the last one that ended in time."""
    lines = [f"echo @@{number}@@\n{command.text}" for number, command in enumerate(listed)]
    script = directory / ".script"
    script.write_text("\n".join([*lines, f"echo @@{len(listed)}@@", ""]))
    place = directory / "page"
    place.mkdir()
    # A file and not a pipe: what a page starts in the background would hold a pipe open.
    with (directory / ".output").open("wb") as output:
        shell = subprocess.Popen(
            ["bash", script],
            cwd=place,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        with suppress(subprocess.TimeoutExpired):
            shell.wait(WITHIN)
    finally:
        # The group is the shell's own: what the page has left running.
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    # Before each mark stands what the command before it printed; behind the last one, nothing or what was cut off.
    return _MARK.split((directory / ".output").read_text())[2:-1:2]


def _joined(command: Command) -> str:
    return "\n".join(command.shown)
