"""Response heads put right: redirects, cookies, HSTS."""

import pytest

from tlsproxy.proxy.fixes import Fixes
from tlsproxy.proxy.heads import Field, from_app

OWN = frozenset({b"127.0.0.1:8080", b"localhost:8080", b"[::1]:8080"})


def fixed(fixes: Fixes, *fields: Field, host: bytes = b"shop") -> list[Field]:
    first, *lines = fixes.head(from_app(302, b"", [*fields, (b"Content-Length", b"0")], "1.1"), host).splitlines()
    assert first == b"HTTP/1.1 302 "
    assert b"Content-Length: 0" in lines
    found = (line.partition(b": ") for line in lines)
    return [(name, value) for name, _, value in found if name != b"Content-Length"]


LOCATIONS = [
    # Location, Host, Location for the client
    (b"http://shop/", b"shop", b"https://shop/"),
    (b"http://shop", b"shop", b"https://shop"),
    (b"http://shop?q", b"shop", b"https://shop?q"),
    (b"http://shop#f", b"shop", b"https://shop#f"),
    (b"http://shop/a%20b?c=http://shop/#d", b"shop", b"https://shop/a%20b?c=http://shop/#d"),
    (b"HTTP://Shop/", b"SHOP", b"https://SHOP/"),
    (b"http://shop:80/", b"shop", b"https://shop/"),
    (b"http://shop/", b"shop:8443", b"https://shop:8443/"),
    (b"http://shop:80/", b"shop:8443", b"https://shop:8443/"),
    (b"http://shop:8443/", b"shop:8443", b"https://shop:8443/"),
    (b"http://[::1]/", b"[::1]", b"https://[::1]/"),
    (b"http://[::1]:80/", b"[::1]:8443", b"https://[::1]:8443/"),
    (b"http://127.0.0.1:8080/x", b"shop", b"https://shop/x"),
    (b"http://LOCALHOST:8080/x", b"shop:8443", b"https://shop:8443/x"),
    (b"http://[::1]:8080/x", b"shop", b"https://shop/x"),
    (b"http://shop/\xff", b"shop", b"https://shop/\xff"),
]
LEFT_ALONE = [
    # Location, Host
    (b"http://other/", b"shop"),
    (b"http://shop.example/", b"shop"),
    (b"http://sub.shop/", b"shop"),
    (b"http://shop:8080/", b"shop"),
    (b"http://shop:8443/", b"shop"),
    (b"http://user@shop/", b"shop"),
    (b"http://127.0.0.1/", b"shop"),
    (b"http://127.0.0.1:80801/", b"shop"),
    (b"https://shop/", b"shop"),
    (b"https://127.0.0.1:8080/", b"shop"),
    (b"/login", b"shop"),
    (b"login", b"shop"),
    (b"//shop/", b"shop"),
    (b"http:/shop/", b"shop"),
    (b"", b"shop"),
    (b"http://", b"shop"),
    (b"http://127.0.0.1:8080/", b""),
    (b"ftp://shop/", b"shop"),
    (b"/?next=http://shop/", b"shop"),
]


@pytest.mark.parametrize(("location", "host", "expected"), LOCATIONS)
def test_redirects_to_ourselves(location: bytes, host: bytes, expected: bytes) -> None:
    """A Location with http:// and the request's host, or the app's own address, becomes https:// and that host."""
    assert fixed(Fixes(OWN), (b"LOCATION", location), host=host) == [(b"LOCATION", expected)]


@pytest.mark.parametrize(("location", "host"), LEFT_ALONE)
def test_other_redirects(location: bytes, host: bytes) -> None:
    """Every other Location is the app's affair."""
    assert fixed(Fixes(OWN), (b"Location", location), host=host) == [(b"Location", location)]


def test_redirects_may_be_left_alone() -> None:
    """Turned off, nothing is changed."""
    assert fixed(Fixes(OWN, redirects=False), (b"Location", b"http://shop/")) == [(b"Location", b"http://shop/")]


def test_only_location_is_a_redirect() -> None:
    """What looks like an address elsewhere stays as it is, also beside a Location."""
    fields = [(b"Location", b"http://shop/"), (b"Content-Location", b"http://shop/"), (b"Link", b"<http://shop/>")]
    assert fixed(Fixes(OWN), *fields) == [(b"Location", b"https://shop/"), *fields[1:]]


COOKIES = [
    # Set-Cookie, for the client
    (b"a=1", b"a=1; Secure"),
    (b"a=1; Path=/; HttpOnly", b"a=1; Path=/; HttpOnly; Secure"),
    (b"a=1; Secure", b"a=1; Secure"),
    (b"a=1;secure", b"a=1;secure"),
    (b"a=1; SECURE; Path=/", b"a=1; SECURE; Path=/"),
    (b"a=1;\tSecure ;Path=/", b"a=1;\tSecure ;Path=/"),
    (b"secure=1", b"secure=1; Secure"),
    (b"a=secure", b"a=secure; Secure"),
    (b"a=1; Path=/secure", b"a=1; Path=/secure; Secure"),
    (b"a=1; Insecure", b"a=1; Insecure; Secure"),
    (b"a=1; SameSite=None", b"a=1; SameSite=None; Secure"),
    (b"", b"; Secure"),
]


@pytest.mark.parametrize(("cookie", "expected"), COOKIES)
def test_cookies(cookie: bytes, expected: bytes) -> None:
    """A cookie without the attribute gets it, once."""
    assert fixed(Fixes(secure_cookies=True), (b"set-cookie", cookie)) == [(b"set-cookie", expected)]


def test_each_cookie_is_seen_to() -> None:
    """Several cookies stay several, in their order; other fields stay as they are."""
    fields = [(b"Set-Cookie", b"a=1"), (b"X", b"a=1"), (b"SET-COOKIE", b"b=2; Secure"), (b"Set-Cookie", b"c=3")]
    assert fixed(Fixes(secure_cookies=True), *fields) == [
        (b"Set-Cookie", b"a=1; Secure"),
        (b"X", b"a=1"),
        (b"SET-COOKIE", b"b=2; Secure"),
        (b"Set-Cookie", b"c=3; Secure"),
    ]


def test_cookies_are_left_alone_unless_asked() -> None:
    """Without the setting a cookie is as the app made it."""
    assert fixed(Fixes(), (b"Set-Cookie", b"a=1")) == [(b"Set-Cookie", b"a=1")]


def test_hsts_is_added_where_there_is_none() -> None:
    """The app's own policy wins over ours, whatever it says."""
    fixes = Fixes(transport_security=b"max-age=60")
    assert fixed(fixes) == [(b"Strict-Transport-Security", b"max-age=60")]
    assert fixed(fixes, host=b"") == [(b"Strict-Transport-Security", b"max-age=60")]
    own = (b"strict-TRANSPORT-security", b"max-age=0")
    assert fixed(fixes, own) == [own]
    assert fixed(Fixes()) == []
