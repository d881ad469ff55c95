"""What an app that knows nothing of HTTPS gets wrong is put right: redirects, cookies, HSTS."""

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.raw_client import TlsClient, get
from tests.e2e.scripted_app import ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar


@pytest.fixture(scope="module")
def secure_sidecar(launch: Launch, session_app: ScriptedApp) -> Iterator[Sidecar]:
    """A sidecar with COOKIE_SECURE and HSTS on, and FIX_REDIRECTS off."""
    with launch(APP_PORT=session_app.port, COOKIE_SECURE="on", HSTS="365d", FIX_REDIRECTS="off") as process:
        yield process


@pytest.fixture
def secure_client(secure_sidecar: Sidecar, app: ScriptedApp) -> Iterator[TlsClient]:
    """A connection to it."""
    with secure_sidecar.connect() as connection:
        yield connection


@pytest.mark.parametrize(
    ("host", "location", "fixed"),
    [
        ("shop.example", "http://shop.example/a?b#c", "https://shop.example/a?b#c"),
        ("shop.example", "http://shop.example", "https://shop.example"),
        ("shop.example", "HTTP://Shop.Example/a", "https://shop.example/a"),
        ("shop.example", "http://shop.example:80/a", "https://shop.example/a"),
        ("shop.example:8443", "http://shop.example:8443/a", "https://shop.example:8443/a"),
        ("shop.example", "http://127.0.0.1:{app}/a", "https://shop.example/a"),
        ("shop.example:8443", "http://127.0.0.1:{app}/a", "https://shop.example:8443/a"),
        ("shop.example", "/a", "/a"),
        ("shop.example", "a/b?u=http://shop.example/", "a/b?u=http://shop.example/"),
        ("shop.example", "//shop.example/a", "//shop.example/a"),
        ("shop.example", "https://shop.example/a", "https://shop.example/a"),
        ("shop.example", "http://elsewhere.example/a", "http://elsewhere.example/a"),
        ("shop.example", "http://shop.example.evil.example/a", "http://shop.example.evil.example/a"),
        ("shop.example", "http://shop.example@evil.example/", "http://shop.example@evil.example/"),
        ("shop.example", "http://127.0.0.1:1/a", "http://127.0.0.1:1/a"),
    ],
)
def test_a_redirect_to_http_becomes_https(
    client: TlsClient, app: ScriptedApp, host: str, location: str, fixed: str
) -> None:
    """http:// and the request's host, or the app's own address, becomes https:// and that host."""
    location, fixed = (text.replace("{app}", str(app.port)) for text in (location, fixed))
    app.answer(response(b"", f"Location: {location}", status="302 Found"))
    answer = client.ask(get("/", host=host)).get(b"Location")
    assert answer is not None
    assert answer.decode().replace("https://Shop.Example", "https://shop.example") == fixed


def test_redirects_may_be_left_alone(secure_client: TlsClient, app: ScriptedApp) -> None:
    """FIX_REDIRECTS=off passes Location as it came."""
    app.answer(response(b"", "Location: http://localhost/a", status="302 Found"))
    assert secure_client.get().get(b"Location") == b"http://localhost/a"


@pytest.mark.parametrize(
    ("cookie", "fixed"),
    [
        ("a=b", "a=b; Secure"),
        ("a=b; Path=/; HttpOnly", "a=b; Path=/; HttpOnly; Secure"),
        ("a=b; Secure", "a=b; Secure"),
        ("a=b; secure; Path=/", "a=b; secure; Path=/"),
        ("a=b;SECURE", "a=b;SECURE"),
        ("secure=1", "secure=1; Secure"),
        ("a=secure", "a=secure; Secure"),
        ("a=b; Path=/secure", "a=b; Path=/secure; Secure"),
    ],
)
def test_cookies_become_secure(secure_client: TlsClient, app: ScriptedApp, cookie: str, fixed: str) -> None:
    """COOKIE_SECURE adds Secure to a cookie that lacks it, and to no other."""
    app.answer(response(b"ok", f"Set-Cookie: {cookie}"))
    assert secure_client.get().get(b"Set-Cookie") == fixed.encode()


def test_each_cookie_is_looked_at(secure_client: TlsClient, app: ScriptedApp) -> None:
    """Of several cookies each gets what it lacks."""
    app.answer(response(b"ok", "Set-Cookie: a=1", "set-cookie: b=2; Secure", "SET-COOKIE: c=3"))
    assert secure_client.get().all(b"Set-Cookie") == [b"a=1; Secure", b"b=2; Secure", b"c=3; Secure"]


def test_cookies_are_left_alone_by_default(client: TlsClient, app: ScriptedApp) -> None:
    """Without COOKIE_SECURE a cookie passes as it came."""
    app.answer(response(b"ok", "Set-Cookie: a=b"))
    assert client.get().get(b"Set-Cookie") == b"a=b"


def test_hsts_is_added(secure_client: TlsClient, app: ScriptedApp) -> None:
    """HSTS=365d adds Strict-Transport-Security with that age in seconds."""
    assert secure_client.get().get(b"Strict-Transport-Security") == b"max-age=31536000"


def test_the_apps_own_hsts_stays(secure_client: TlsClient, app: ScriptedApp) -> None:
    """HSTS adds nothing where the app sent its own."""
    app.answer(response(b"ok", "strict-transport-security: max-age=0"))
    assert secure_client.get().get(b"Strict-Transport-Security") == b"max-age=0"


def test_hsts_is_off_by_default(client: TlsClient, app: ScriptedApp) -> None:
    """Without HSTS no such field is added."""
    assert client.get().get(b"Strict-Transport-Security") is None
