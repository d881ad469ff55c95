"""`tlsproxy check`: what `run` would do, said beforehand, with the status that `run` would end with."""

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.e2e.certificates import mount_certificate
from tests.e2e.ports import free_port
from tlsproxy.check import check
from tlsproxy.environment import read
from tlsproxy.exits import Exit
from tlsproxy.settings import Settings


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """The verb silences logging, because its process ends with it; this one goes on."""
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certs")
    mount_certificate(trustme.CA(key_type=trustme.KeyType.ECDSA), directory, "shop.example")
    return directory


@pytest.fixture
def app() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def settings(certificates: Path, app: int, **given: object) -> Settings:
    defaults = {
        "CERT_DIR": certificates,
        "APP_PORT": app,
        "LISTEN_HOST": "127.0.0.1",
        "LISTEN_PORT": free_port(),
        "ADMIN_HOST": "127.0.0.1",
        "ADMIN_PORT": free_port(),
        "MAX_CONNECTIONS": 10,
    }
    return read(Settings, {f"TLSPROXY_{name}": str(value) for name, value in (defaults | given).items()}).settings


def test_all_is_well(certificates: Path, app: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Each thing that was looked at has a line, and the status is that of a good end."""
    assert check(settings(certificates, app)) is Exit.STOPPED
    said = capsys.readouterr().out
    assert said.count("[+]") == 6
    assert "[-]" not in said
    assert "shop.example" in said
    assert f"app at 127.0.0.1:{app}: answers" in said


def test_no_certificate(tmp_path: Path, app: int, capsys: pytest.CaptureFixture[str]) -> None:
    """What `run` would end for is a cross, with the paths that were tried; the rest is looked at all the same."""
    assert check(settings(tmp_path, app)) is Exit.CERTIFICATE
    said = capsys.readouterr().out
    assert said.count("[-]") == 1
    assert str(tmp_path) in said
    assert f"app at 127.0.0.1:{app}: answers" in said


@pytest.mark.parametrize("variable", ["LISTEN_PORT", "ADMIN_PORT", "REDIRECT_PORT"])
def test_a_port_that_is_taken(certificates: Path, app: int, variable: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each port that `run` would open is tried, and let go again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        assert check(settings(certificates, app, **{variable: taken})) is Exit.PORT
    assert f"[-] TLSPROXY_{variable}={taken}: another process listens there" in capsys.readouterr().out
    assert check(settings(certificates, app, **{variable: taken})) is Exit.STOPPED


def test_the_first_failure_is_the_status(tmp_path: Path, app: int) -> None:
    """As in `run`, where the certificate is waited for before the ports for clients are opened."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        assert check(settings(tmp_path, app, LISTEN_PORT=taken)) is Exit.CERTIFICATE


def test_an_app_that_is_not_there_stops_nothing(certificates: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It may start later; what would become of requests meanwhile is said."""
    absent = free_port()
    assert check(settings(certificates, absent)) is Exit.STOPPED
    assert f"app at 127.0.0.1:{absent}: " in (said := capsys.readouterr().out)
    assert "3s" in said


def test_what_is_off_is_not_looked_at(certificates: Path, app: int, capsys: pytest.CaptureFixture[str]) -> None:
    """No admin port, no check of the app."""
    assert check(settings(certificates, app, ADMIN_PORT=0, APP_CHECK="off")) is Exit.STOPPED
    said = capsys.readouterr().out
    assert "TLSPROXY_ADMIN_PORT" not in said
    assert "not asked" in said


def test_too_few_open_files(certificates: Path, app: int, capsys: pytest.CaptureFixture[str]) -> None:
    """That stops nothing either; what is needed, what is allowed and what would become of it is said."""
    assert check(settings(certificates, app, MAX_CONNECTIONS=10**11)) is Exit.STOPPED
    said = capsys.readouterr().out
    assert "TLSPROXY_MAX_CONNECTIONS=100000000000 needs 200000000128 open files, and " in said
    assert said.count("[+]") == 5


def test_nothing_is_changed(tmp_path: Path, app: int) -> None:
    """A dry run writes no file, not even a CA that `run` would write."""
    given = settings(tmp_path, app, SELF_SIGNED="on", SELF_SIGNED_CA=tmp_path / "ca.crt")
    assert check(given) is Exit.STOPPED
    assert list(tmp_path.iterdir()) == []
