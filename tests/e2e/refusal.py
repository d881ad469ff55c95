"""How a refused request ends, for the client and for the app."""

import re

from tests.e2e.messages import Response
from tests.e2e.raw_client import TlsClient
from tests.e2e.scripted_app import AppConnection

CHUNKED = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
"""A head of a chunked request, but for its empty line."""


def assert_refused(client: TlsClient, answer: Response, status: int) -> None:
    """Our refusal, with its marks and nothing of the client's, and then a clean end of the connection."""
    assert answer.status == status
    assert (answer.get(b"Proxy-Status") or b"").startswith(b"tlsproxy; error=http_request_error")
    identifier = answer.get(b"X-Request-ID")
    assert identifier
    assert answer.get(b"Content-Type") == b"text/plain; charset=utf-8"
    said = rb"%d [A-Z][A-Za-z -]+: the [a-zA-Z0-9/. ]+ \(request id %b\)\n" % (status, identifier)
    assert re.fullmatch(said, answer.body)
    assert answer.get(b"Connection") == b"close"
    assert client.read_to_end() == b""
    assert client.ended == "close_notify"


def cut_body(connection: AppConnection) -> bytes:
    """What the app got of a chunked body that was never whole, once its connection is over."""
    assert connection.over.wait(5)
    body = bytes(connection.raw).partition(b"\r\n\r\n")[2]
    assert b"0\r\n\r\n" not in body
    return body
