"""`tlsproxy check`: what `run` would do, said beforehand, with the status that `run` would end with."""

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.e2e.certificates import mount_certificate
from tests.e2e.ports import free_port
from tlsproxy.chassis.environment import read
from tlsproxy.chassis.exits import Exit
from tlsproxy.check import check
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


def test_all_that_a_certificate_says(certificates: Path, app: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Below its line stand files, names, key, issuer, chain, days left and what clients may not like."""
    check(settings(certificates, app))
    said = capsys.readouterr().out
    for part in (
        f"  files: {certificates / 'tls.crt'} and {certificates / 'tls.key'}",
        "  names: shop.example",
        "SHA-256 fingerprint ",
        "  key: ECDSA P-256",
        "  issuer: ",
        "  chain: ",
        "(not in the file: clients need it as a root)",
        "; expires in ",
        "  warning: ",
        "comes without its issuer",
    ):
        assert part in said, part


def test_what_is_served_for_a_name(tmp_path: Path, app: int, capsys: pytest.CaptureFixture[str]) -> None:
    """For each name that is asked about the certificate is told that its clients get, and whether it is for them."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    for name, host in (("shop", "shop.example"), ("blog", "*.blog.example")):
        (tmp_path / name).mkdir()
        mount_certificate(authority, tmp_path / name, host)
    asked = ["SHOP.example", "my.blog.example", "blog.example"]
    assert check(settings(tmp_path, app, CERT_NAME="shop,blog"), asked) is Exit.STOPPED
    said = capsys.readouterr().out
    assert "[+] SNI SHOP.example: certificate shop (ECDSA P-256, serial " in said
    assert "[+] SNI my.blog.example: certificate blog (ECDSA P-256, serial " in said
    assert "[-] SNI blog.example: no certificate is for it; clients get certificate shop (" in said


def test_no_name_is_served_without_a_certificate(tmp_path: Path, app: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing can be served, nothing is said of names."""
    assert check(settings(tmp_path, app), ["shop.example"]) is Exit.CERTIFICATE
    assert "SNI" not in capsys.readouterr().out


def test_several_certificates(certificates: Path, app: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Each has a line; one that can't be served stops nothing as long as another can."""
    assert check(settings(certificates, app, CERT_NAME="tls,absent")) is Exit.STOPPED
    said = capsys.readouterr().out
    assert "[+] certificate tls: " in said
    assert "[-] certificate absent: no certificate named 'absent'" in said


def test_every_certificate(certificates: Path, app: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `*` what is there is told, and that nothing is there."""
    assert check(settings(certificates, app, CERT_NAME="*")) is Exit.STOPPED
    assert "[+] certificate tls: " in capsys.readouterr().out
    assert check(settings(tmp_path, app, CERT_NAME="*")) is Exit.CERTIFICATE
    assert "[-] certificate *: none is there yet" in capsys.readouterr().out


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


def test_client_certificates(certificates: Path, app: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who vouches for clients and which rules are theirs is said; without a bundle nothing would be served."""
    bundle = tmp_path / "ca.crt"
    given = {"CLIENT_AUTH": "required", "CLIENT_CA": bundle, "CLIENT_ALLOW": r"cn=Doe\, Jane,dns=*.svc"}
    assert check(settings(certificates, app, **given)) is Exit.CERTIFICATE
    assert f"[-] client CAs: {bundle} is not there" in capsys.readouterr().out
    bundle.write_bytes(trustme.CA(organization_name="clients").cert_pem.bytes())
    assert check(settings(certificates, app, **given)) is Exit.STOPPED
    said = capsys.readouterr().out
    assert "client certificates: required, issued by " in said
    assert "O=clients" in said
    assert r"let in by: cn=Doe\, Jane,dns=*.svc" in said
    assert "without a certificate" not in said
    free = {"CLIENT_AUTH": "optional", "CLIENT_CA": bundle, "CLIENT_EXEMPT": "/healthz,/ping"}
    assert check(settings(certificates, app, **free)) is Exit.STOPPED
    assert "without a certificate: /healthz, /ping alone" in capsys.readouterr().out
