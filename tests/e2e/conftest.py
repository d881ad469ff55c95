"""Fixtures of the end-to-end tests: a real process, a scripted app behind it, a raw client before it.

A process takes half a second to start, so tests share one where the defaults will do: `shared_sidecar`,
or just `client`; and those that need another have it forked, by `launch` or `sidecar`. Where the start itself is what
tests are about, their module overrides `launch` with `launch_from_nothing`.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest
import trustme

from tests.e2e.certificates import mount_certificate
from tests.e2e.forked_sidecars import Forks
from tests.e2e.raw_client import TlsClient
from tests.e2e.scripted_app import ScriptedApp
from tests.e2e.sidecar_process import Process, Sidecar, Start, execute


class Launch(Protocol):
    """Starts a process with a certificate for localhost; CERT_DIR and everything else may be set."""

    def __call__(self, wait: bool = True, **settings: str | int | Path) -> Sidecar: ...


NewSidecar = Callable[[Start, bool, dict[str, str | int | Path]], Sidecar]
EXECUTED = {"TLSPROXY_TEST_COMMAND", "COVERAGE_PROCESS_START"}


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who signs the tests' certificates."""
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture(scope="session")
def certificate_dir(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mounted directory with a certificate named `tls` for localhost; not to be written to."""
    directory = tmp_path_factory.mktemp("certs")
    mount_certificate(authority, directory)
    return directory


@pytest.fixture(scope="session")
def new_sidecar(authority: trustme.CA, certificate_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> NewSidecar:
    """What `launch` and `launch_from_nothing` have in common."""

    def new(start: Start, wait: bool, settings: dict[str, str | int | Path]) -> Sidecar:
        given = {name: str(value) for name, value in settings.items()}
        directory = tmp_path_factory.mktemp("sidecar")
        return Sidecar(directory, authority, {"CERT_DIR": str(certificate_dir), **given}, wait, start=start)

    return new


@pytest.fixture(scope="session")
def launch_from_nothing(new_sidecar: NewSidecar) -> Launch:
    """Start a process as its users do; the caller stops it, by `with`."""
    return lambda wait=True, **settings: new_sidecar(execute, wait, settings)


@pytest.fixture(scope="session")
def fork() -> Iterator[Start]:
    """Makes a process by a fork; or as its users do, where the environment names a command or wants coverage."""
    forks = Forks()

    def start(environment: Mapping[str, str], output: int, errors: int) -> Process:
        way = execute if EXECUTED & os.environ.keys() else forks.start
        return way(environment, output, errors)

    yield start
    forks.close()


@pytest.fixture(scope="session")
def launch(new_sidecar: NewSidecar, fork: Start) -> Launch:
    """Start a process by a fork; the caller stops it, by `with`. For fixtures of a module's own."""
    return lambda wait=True, **settings: new_sidecar(fork, wait, settings)


@pytest.fixture(scope="session")
def session_app() -> Iterator[ScriptedApp]:
    """The app behind every shared process; tests use `app`."""
    with ScriptedApp() as app:
        yield app


@pytest.fixture
def app(session_app: ScriptedApp) -> Iterator[ScriptedApp]:
    """The scripted app, without a connection and answering 200 to everything."""
    yield session_app
    session_app.clear()


@pytest.fixture(scope="session")
def session_sidecar(launch_from_nothing: Launch, session_app: ScriptedApp) -> Iterator[Sidecar]:
    """The process that tests with default settings share; tests use `shared_sidecar`."""
    with launch_from_nothing(APP_PORT=session_app.port) as process:
        yield process


@pytest.fixture
def shared_sidecar(session_sidecar: Sidecar, app: ScriptedApp) -> Sidecar:
    """A running sidecar with default settings in front of `app`; not to be stopped or signalled."""
    session_sidecar.forget_lines()
    return session_sidecar


@pytest.fixture
def client(shared_sidecar: Sidecar) -> Iterator[TlsClient]:
    """A TLS connection to the shared sidecar."""
    with shared_sidecar.connect() as connection:
        yield connection


@pytest.fixture
def sidecar(launch: Launch, app: ScriptedApp) -> Iterator[Launch]:
    """Start a process of the test's own, in front of `app` unless told otherwise; stopped with the test."""
    with ExitStack() as processes:

        def start(wait: bool = True, **settings: str | int | Path) -> Sidecar:
            return processes.enter_context(launch(wait, **{"APP_PORT": app.port, **settings}))

        yield start
