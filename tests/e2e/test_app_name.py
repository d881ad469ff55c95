"""The app has a name, and it is not always resolved: connections that there are go on, and others wait."""

import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.scripted_app import ScriptedApp
from tests.e2e.sidecar_process import Sidecar, command

pytestmark = pytest.mark.soak

NAME = "legacy.test"
HOSTS = "127.0.0.1 localhost\n"
SILENT = "127.77.77.77"
"""Where a name server is that never answers."""


class Names:
    """The files by which a process resolves names, in a mount namespace of its own."""

    def __init__(self, directory: Path) -> None:
        self.hosts, self.resolver = directory / "hosts", directory / "resolv.conf"
        self.forget()

    def know(self) -> None:
        """Let the app's name be resolved."""
        self.hosts.write_text(f"{HOSTS}127.0.0.1 {NAME}\n")

    def forget(self, server: str = "127.0.0.1") -> None:
        """Let it not be resolved any more, and any question go to that server."""
        self.hosts.write_text(HOSTS)
        self.resolver.write_text(f"nameserver {server}\noptions timeout:1 attempts:1\n")

    def before(self, arguments: list[str]) -> list[str]:
        """The command that starts something with these files."""
        mounts = f"mount --bind {self.hosts} /etc/hosts && mount --bind {self.resolver} /etc/resolv.conf"
        return ["unshare", "--mount", "sh", "-c", f"{mounts} && exec {shlex.join(arguments)}"]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Names:
    names = Names(tmp_path_factory.mktemp("names"))
    if (
        shutil.which("unshare") is None
        or subprocess.run(names.before(["true"]), capture_output=True, check=False).returncode
    ):
        pytest.skip("no mount namespace of its own for a process (unshare --mount, as root)")
    return names


@pytest.fixture(scope="module")
def process(launch: Launch, session_app: ScriptedApp, names: Names) -> Iterator[Sidecar]:
    """A sidecar that knows its app by name."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TLSPROXY_TEST_COMMAND", shlex.join(names.before(command())))
        port = session_app.port
        with launch(APP_HOST=NAME, APP_PORT=port, APP_WAIT="300ms", CONNECT_TIMEOUT="300ms") as process:
            yield process


def test_gone_and_back(process: Sidecar, names: Names, app: ScriptedApp) -> None:
    """Kept connections to the app are used; without one it is 503 after APP_WAIT; then the name is asked for anew."""
    names.know()
    assert process.get("/1").status == 200
    names.forget()
    assert process.get("/2").status == 200
    for connection in app.connections:
        connection.cut()
    assert process.get("/3").status == 503
    names.know()
    wait_until(lambda: process.get("/4").status == 200, "the name is resolved")


def test_a_server_that_does_not_answer(process: Sidecar, names: Names, app: ScriptedApp) -> None:
    """A request waits for the name no longer than for a connection, others are served, and it ends with its cause."""
    with closing(silent_server()):
        names.forget(SILENT)
        assert process.get("/5").status in (503, 504)
        assert process.ask_admin("/livez").status == 200
    names.know()
    wait_until(lambda: process.get("/6").status == 200, "the name is resolved", 10)


def silent_server() -> socket.socket:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        server.bind((SILENT, 53))
    except PermissionError:
        server.close()
        pytest.skip("a name server's port is for root")
    return server
