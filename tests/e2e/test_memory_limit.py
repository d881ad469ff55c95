"""The memory that the process may have is nearly used up: what does not fit fails, and it goes on."""

import resource
import ssl
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.raw_client import get
from tests.e2e.scripted_app import ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

pytestmark = pytest.mark.soak

LEFT = 6 * 1024 * 1024
"""Bytes of address space that it may still have."""
GREEDY = 300
BODY = bytes(200_000)


@pytest.fixture(scope="session")
def launch(launch_from_nothing: Launch) -> Launch:
    """The same limit, and the memory, that a user's process has."""
    return launch_from_nothing


def address_space(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def test_what_does_not_fit_fails(launch: Launch, app: ScriptedApp) -> None:
    """Clients that ask for more than fits are cut or refused; the process lives, and serves when they have gone."""
    app.answer(response(BODY))
    process = launch(APP_PORT=app.port)
    with ExitStack() as clients:
        assert process.get().status == 200
        limit = address_space(process.pid) + LEFT
        resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, limit))
        failed = sum(not asked(process, clients) for _ in range(GREEDY))
        assert 0 < failed < GREEDY
    assert process.process.poll() is None, process.stderr()
    wait_until(lambda: answers(process), "an answer")
    assert process.stop() == 0


def asked(process: Sidecar, clients: ExitStack) -> bool:
    """Ask for a body and leave it unread; whether it could be asked."""
    with suppress(OSError, ssl.SSLError):
        clients.enter_context(process.connect(receive_buffer=4096)).send(get())
        return True
    return False


def answers(process: Sidecar) -> bool:
    with suppress(OSError, ssl.SSLError):
        return process.get().status == 200
    return False
