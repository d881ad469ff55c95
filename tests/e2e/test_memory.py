"""What the process holds once its clients have gone."""

from contextlib import ExitStack

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.scripted_app import ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

CLIENTS = 700
MEBIBYTE = 1 << 20


@pytest.fixture(scope="session")
def launch(launch_from_nothing: Launch) -> Launch:
    """A fork shares memory with what it was forked from."""
    return launch_from_nothing


def resident(process: Sidecar) -> int:
    process.forget_peak_memory()
    return process.peak_memory()


@pytest.mark.soak
def test_clients_leave_little_behind(launch: Launch, app: ScriptedApp) -> None:
    """Most of what many connections took is the system's again once they have ended."""
    app.answer(response(b"hello"))
    with launch(APP_PORT=app.port) as process:
        assert process.get().status == 200
        before = resident(process)
        with ExitStack() as clients:
            for _ in range(CLIENTS):
                clients.enter_context(process.connect())
            taken = resident(process) - before
        assert taken > 8 * MEBIBYTE
        wait_until(lambda: resident(process) - before < taken / 2, "half of it has been given back")
