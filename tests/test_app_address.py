"""The app's address, as operators read it."""

import pytest

from tlsproxy.app_address import AppAddress


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
