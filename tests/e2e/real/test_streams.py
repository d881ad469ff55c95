"""Server-sent events of an ASGI app under uvicorn: each at once, and the app sees who leaves."""

from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.polling import wait_until
from tests.e2e.real.comparison import Fronted

COUNT = 20


@pytest.fixture
def client(asgi: Fronted) -> Iterator[httpx.Client]:
    """httpx, through the sidecar."""
    with httpx.Client(base_url=asgi.urls[1], verify=asgi.trust, trust_env=False) as opened:
        yield opened


def events(response: httpx.Response) -> Iterator[str]:
    return (line for line in response.iter_lines() if line)


def test_events_come_one_by_one(client: httpx.Client) -> None:
    """The app sends an event only when the one before was seen: what is gathered on the way never comes."""
    with client.stream("GET", "/events?name=steps") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        stream = events(response)
        for number in range(COUNT):
            assert next(stream) == f"data: {number}"
            client.post("/step?name=steps")


def test_the_app_sees_who_leaves(client: httpx.Client) -> None:
    """A client that goes away in the middle of a stream is gone for the app too, which stops working for it."""

    def seen() -> bool:
        return "leaves" in client.get("/told").json()["left"]

    with client.stream("GET", "/events?name=leaves") as response:
        stream = events(response)
        assert next(stream) == "data: 0"
        assert not seen()
    wait_until(seen, "the app sees that the client has left")
