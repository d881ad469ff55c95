"""URLs, as far as they are spoken."""

import pytest

from tlsproxy.chassis.app_address import AppAddress
from tlsproxy.companions.rollout.addresses import HttpUrl, TcpPort, parse_http_url, parse_probe


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:8080/-/reload?all=1", HttpUrl(AppAddress("127.0.0.1", 8080), "/-/reload?all=1")),
        ("http://legacy", HttpUrl(AppAddress("legacy", 80), "/")),
        ("http://legacy?x=1", HttpUrl(AppAddress("legacy", 80), "/?x=1")),
        ("http://[::1]:81/", HttpUrl(AppAddress("::1", 81), "/")),
        ("tcp://127.0.0.1:5432", TcpPort(AppAddress("127.0.0.1", 5432))),
    ],
)
def test_address(text: str, url: HttpUrl | TcpPort) -> None:
    """Host, port and what is asked for are taken from it."""
    assert parse_probe(text) == url


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://127.0.0.1:8443/", "TLS is not spoken here: the app is in the same pod, name its plain port"),
        ("127.0.0.1:8080", "it is no URL that begins with http://"),
        ("", "it is no URL that begins with http://"),
        ("http://", "it is no URL that begins with http://"),
        ("http://a/\r\nX: y", "it is no URL that begins with http://"),
        ("http:///path", "it has no host"),
        ("http://a:99999/", "it has no host, or a port that is not from 1 to 65535"),
        ("http://a:0/", "it has no host, or a port that is not from 1 to 65535"),
        ("http://user:hunter2@a/", "a user or a password in it would not be sent"),
        ("tcp://127.0.0.1", "behind tcp:// there is a host, a port and nothing else"),
        ("tcp://127.0.0.1:80/x", "behind tcp:// there is a host, a port and nothing else"),
    ],
)
def test_refused(text: str, said: str) -> None:
    """Anything else is refused plainly, and never repeated."""
    with pytest.raises(ValueError, match=said) as caught:
        parse_probe(text)
    assert "hunter2" not in str(caught.value)


def test_shown_without_query() -> None:
    """A query may hold a token, and is not shown."""
    assert str(parse_http_url("http://[::1]:81/reload?token=hunter2")) == "http://[::1]:81/reload"
    assert str(parse_probe("tcp://[::1]:81")) == "tcp://[::1]:81"
