"""Behind Python's HTTP clients, used as people use them: each gets through the sidecar what it gets from the app."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import aiohttp
import httpx
import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter

from tests.e2e.real.comparison import Answer, Ask, Fields, Fronted, comparable, digested

BODY = b"0123456789" * 30_000

ASKED = (
    Ask(200, "GET /text"),
    Ask(200, "HEAD /text"),
    Ask(200, "GET /gzip"),
    Ask(204, "GET /empty"),
    Ask(200, "GET /redirect"),
    Ask(200, "POST /digest", (), (BODY,)),
    Ask(200, "POST /digest", (), (BODY,) * 10),
    Ask(422, "PUT /refuse", (), (BODY,)),
    Ask(200, "DELETE /digest"),
    Ask(200, "GET /text"),
)
"""What a session asks one after the other; bodies are unpacked, redirects followed, cookies kept."""

Session = Callable[[Ask], Answer]
Open = Callable[[str, ssl.SSLContext], AbstractContextManager[Session]]


class Trusting(HTTPAdapter):
    """Gives requests a context, where it takes only the path of a file."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        self.trust = trust
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: object) -> None:
        super().init_poolmanager(connections, maxsize, block, ssl_context=self.trust, **options)


@contextmanager
def of_requests(base: str, trust: ssl.SSLContext) -> Iterator[Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", Trusting(trust))

        def ask(ask: Ask) -> Answer:
            given = session.request(ask.method, base + ask.target, headers=ask.headers(), data=ask.content())
            return answer(given.status_code, given.reason, list(given.headers.items()), given.content)

        yield ask


@contextmanager
def of_httpx(base: str, trust: ssl.SSLContext) -> Iterator[Session]:
    with httpx.Client(base_url=base, verify=trust, trust_env=False, follow_redirects=True) as session:

        def ask(ask: Ask) -> Answer:
            given = session.request(ask.method, ask.target, headers=ask.headers(), content=ask.content())
            return answer(given.status_code, given.reason_phrase, given.headers.multi_items(), given.content)

        yield ask


@contextmanager
def of_urllib3(base: str, trust: ssl.SSLContext) -> Iterator[Session]:
    with urllib3.PoolManager(ssl_context=trust, retries=urllib3.Retry(2, backoff_factor=0)) as session:

        def ask(ask: Ask) -> Answer:
            given = session.request(ask.method, base + ask.target, headers=ask.headers(), body=ask.content())
            return answer(given.status, given.reason, list(given.headers.items()), given.data)

        yield ask


@contextmanager
def of_aiohttp(base: str, trust: ssl.SSLContext) -> Iterator[Session]:
    async def opened() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(base, connector=aiohttp.TCPConnector(ssl=trust))

    with asyncio.Runner() as runner:
        session = runner.run(opened())

        async def asked(ask: Ask) -> Answer:
            content = ask.content() if len(ask.body) < 2 else pieces(ask)
            async with session.request(ask.method, ask.target, headers=ask.headers(), data=content) as given:
                return answer(given.status, given.reason, list(given.headers.items()), await given.read())

        yield lambda ask: runner.run(asked(ask))
        runner.run(session.close())


async def pieces(ask: Ask) -> AsyncIterator[bytes]:
    for piece in ask.body:
        yield piece


def answer(status: int, reason: str | None, fields: Fields, body: bytes) -> Answer:
    return Answer(status, reason, comparable(fields), *digested([body]))


CLIENTS: dict[str, Open] = {
    "requests": of_requests,
    "httpx": of_httpx,
    "urllib3": of_urllib3,
    "aiohttp": of_aiohttp,
}
clients = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)


@clients
def test_session(asgi: Fronted, client: Open) -> None:
    """A session's answers are the same both ways, and all of them come over one connection."""
    direct_url, url = asgi.urls
    before = handshakes(asgi)
    with client(direct_url, asgi.trust) as direct, client(url, asgi.trust) as through:
        for ask in ASKED:
            got = through(ask)
            assert (ask, got) == (ask, direct(ask))
            assert got.status == ask.status
    assert handshakes(asgi) == before + 1


def handshakes(app: Fronted) -> float:
    return app.sidecar.metrics().value("tlsproxy_handshakes_total")


@clients
def test_client_verifies(asgi: Fronted, client: Open) -> None:
    """A client that does not know the authority says so, and asks nothing."""
    with client(asgi.urls[1], ssl.create_default_context()) as session, pytest.raises(Exception, match="verify failed"):
        session(ASKED[0])


def test_many_at_once(asgi: Fronted) -> None:
    """Of many requests over a few connections, each gets its own answer."""
    contents = [str(number).encode() * 1000 for number in range(100)]
    with (
        urllib3.PoolManager(ssl_context=asgi.trust, maxsize=8, block=True) as pool,
        ThreadPoolExecutor(8) as threads,
    ):
        told = threads.map(
            lambda content: pool.request("POST", f"{asgi.urls[1]}/digest", body=content).json(), contents
        )
        assert list(told) == [["POST", *digested([content])] for content in contents]


def test_retry_that_the_app_asks_for(asgi: Fronted) -> None:
    """The app's 503 with Retry-After reaches the client's own retries, which then succeed."""
    retries = urllib3.Retry(2, status_forcelist=[503])
    with urllib3.PoolManager(ssl_context=asgi.trust, retries=retries) as pool:
        given = pool.request("GET", f"{asgi.urls[1]}/flaky?name=retry")
    assert given.status == 200
    assert given.retries is not None
    assert [past.status for past in given.retries.history] == [503]


def test_cookies_and_redirects(httpbin: Fronted) -> None:
    """A session's cookies come back, marked as for HTTPS alone by an app that knows that it is asked so."""
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", Trusting(httpbin.trust))
        given = session.get(f"{httpbin.urls[1]}/cookies/set?first=1&second=2")
        assert given.json() == {"cookies": {"first": "1", "second": "2"}}
        assert all(cookie.secure for cookie in session.cookies)
        assert session.get(f"{httpbin.urls[1]}/absolute-redirect/3").url == f"{httpbin.urls[1]}/get"


@pytest.mark.parametrize("kind", ["MD5", "SHA-256"])
def test_digest_authentication(httpbin: Fronted, kind: str) -> None:
    """A challenge and its answer, over one connection or several."""
    with httpx.Client(base_url=httpbin.urls[1], verify=httpbin.trust, trust_env=False) as session:
        path = f"/digest-auth/auth/user/secret/{kind}"
        assert session.get(path, auth=httpx.DigestAuth("user", "wrong")).status_code == 401
        assert session.get(path, auth=httpx.DigestAuth("user", "secret")).json()["user"] == "user"
