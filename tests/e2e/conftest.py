"""Fixtures of the end-to-end tests: a real process, a scripted app behind it, a raw client before it.

A process takes half a second to start, so tests share one where the defaults will do: `shared_sidecar`,
or just `client`.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest
import trustme

from tests.e2e.certificates import mount_certificate
from tests.e2e.raw_client import TlsClient
from tests.e2e.scripted_app import ScriptedApp
from tests.e2e.sidecar_process import Sidecar


class Launch(Protocol):
    """Starts a process with a certificate for localhost; CERT_DIR and everything else may be set."""

    def __call__(self, wait: bool = True, **settings: str | int | Path) -> Sidecar: ...


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
def launch(authority: trustme.CA, certificate_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Launch:
    """Start a process; the caller stops it, by `with`. For fixtures of a module's own."""

    def start(wait: bool = True, **settings: str | int | Path) -> Sidecar:
        given = {name: str(value) for name, value in settings.items()}
        directory = tmp_path_factory.mktemp("sidecar")
        return Sidecar(directory, authority, {"CERT_DIR": str(certificate_dir), **given}, wait)

    return start


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
def session_sidecar(launch: Launch, session_app: ScriptedApp) -> Iterator[Sidecar]:
    """The process that tests with default settings share; tests use `shared_sidecar`."""
    with launch(APP_PORT=session_app.port) as process:
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
