"""The app's address, as operators read it."""

import pytest

from tlsproxy.chassis.app_address import AppAddress


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (AppAddress(), "127.0.0.1:8080"),
        (AppAddress("app.internal", 80), "app.internal:80"),
        (AppAddress("::1", 80), "[::1]:80"),
        (AppAddress("ignored", 80, "/run/app"), "unix:/run/app"),
    ],
)
def test_text(address: AppAddress, text: str) -> None:
    """Host and port as in a URL, or the socket's path."""
    assert str(address) == text


@pytest.mark.parametrize(
    ("address", "authorities"),
    [
        (AppAddress("App.internal", 8080), {"app.internal:8080", "localhost:8080", "127.0.0.1:8080", "[::1]:8080"}),
        (AppAddress("127.0.0.1", 80), {h + p for h in ("localhost", "127.0.0.1", "[::1]") for p in ("", ":80")}),
        (AppAddress("fd00::1", 81), {"[fd00::1]:81", "localhost:81", "127.0.0.1:81", "[::1]:81"}),
        (AppAddress(socket="/run/app.sock"), set()),
    ],
)
def test_authorities(address: AppAddress, authorities: set[str]) -> None:
    """An app names itself by its address or as localhost, with its port, which is left out when it is 80."""
    assert address.authorities == authorities
