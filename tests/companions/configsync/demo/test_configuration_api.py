"""The demo's configuration API speaks conditional requests as real ones do."""

import http.client
from collections.abc import Iterator, Mapping

import pytest

from tests.e2e.ports import free_port
from tlsproxy.companions.configsync.demo.configuration_api import PATH, configuration_api


@pytest.fixture
def port() -> Iterator[int]:
    port = free_port()
    with configuration_api(port, b"first") as url:
        assert url == f"http://127.0.0.1:{port}{PATH}"
        yield port


def asked(
    port: int, method: str, target: str = PATH, fields: Mapping[str, str] | None = None, body: bytes = b""
) -> tuple[int, str, bytes]:
    """Status, ETag and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, target, body, dict(fields or {}))
    response = connection.getresponse()
    told = response.status, response.headers.get("ETag", ""), response.read()
    connection.close()
    return told


def test_what_is_unchanged_is_not_sent_again(port: int) -> None:
    """Who knows the ETag gets 304, until the document is replaced."""
    status, etag, body = asked(port, "GET")
    assert (status, body) == (200, b"first")
    assert asked(port, "GET", fields={"If-None-Match": etag}) == (304, etag, b"")
    assert asked(port, "PUT", body=b"second")[0] == 204
    status, other, body = asked(port, "GET", fields={"If-None-Match": etag})
    assert (status, body) == (200, b"second")
    assert other != etag


def test_another_path_is_not_found(port: int) -> None:
    """There is one document."""
    assert asked(port, "GET", "/other.json") == (404, "", b"")
