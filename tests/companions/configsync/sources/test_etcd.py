"""etcd v3 by its JSON gateway: a real etcd on loopback, with a data directory and ports of its own."""

import asyncio
import json
import shutil
import subprocess
import urllib.request
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
from aiohttp import web

from tests.companions.configsync.sources.serving import QUICK, asking, served
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port
from tlsproxy.companions.configsync.sources.content import Content, Source, SourceError
from tlsproxy.companions.configsync.sources.credentials import Credentials

ETCD = shutil.which("etcd")
pytestmark = pytest.mark.skipif(ETCD is None, reason="there is no etcd here (Debian: etcd-server)")
_turns = count()


class Etcd:
    """One member, spoken to by its gateway as an administrator would."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.token = ""

    def ask(self, path: str, **request: object) -> dict[str, object]:
        asked = urllib.request.Request(self.url + path, json.dumps(request).encode())
        if self.token:
            asked.add_header("Authorization", self.token)
        with urllib.request.urlopen(asked, timeout=5) as response:
            answer: dict[str, object] = json.load(response)
            return answer

    def put(self, key: str, value: bytes) -> int:
        answer = self.ask("/v3/kv/put", key=_b64(key.encode()), value=_b64(value))
        assert isinstance(answer["header"], dict)
        return int(answer["header"]["revision"])

    def delete(self, key: str) -> None:
        self.ask("/v3/kv/deleterange", key=_b64(key.encode()))


def _b64(data: bytes) -> str:
    return b64encode(data).decode()


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    yield from started(tmp_path_factory.mktemp("etcd"))


def started(directory: Path) -> Iterator[Etcd]:
    clients, peers = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    assert ETCD is not None
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                ETCD,
                *("--data-dir", str(directory / "data"), "--unsafe-no-fsync"),
                *("--listen-client-urls", clients, "--advertise-client-urls", clients),
                *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
                *("--initial-cluster", f"default={peers}", "--heartbeat-interval", "10", "--election-timeout", "100"),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        member = Etcd(clients)
        wait_until(lambda: _answers(member), "etcd answers", within=20)
        yield member
    finally:
        process.terminate()
        process.wait(10)


def _answers(member: Etcd) -> bool:
    try:
        return bool(member.put("/up", b""))
    except (URLError, OSError):
        return False


@pytest.fixture
def above() -> str:
    """A prefix of the test's own."""
    return f"/test{next(_turns)}"


def run(
    text: str, work: Callable[[Source], Awaitable[None]], credentials: Credentials | None = None, hold: float = 20
) -> None:
    async def play() -> None:
        async with asking(text, credentials, replace(QUICK, hold=hold)) as (source,):
            await work(source)

    asyncio.run(play(), debug=True)


# ---------------------------------------------------------------------------- reading


def test_a_key(etcd: Etcd, above: str) -> None:
    """Its value, with the revision at which it was put; once, until it is put anew."""
    revision = etcd.put(f"{above}/app.conf", b"one\xff")
    etcd.put("/another", b"")

    async def work(source: Source) -> None:
        assert source.name == f"etcd+{etcd.url}{above}/app.conf"
        assert await source.fetch() == Content({"app.conf": b"one\xff"}, str(revision))
        etcd.put("/another", b"")
        assert await source.fetch() is None
        assert await source.fetch() is None
        etcd.put(f"{above}/app.conf", b"")
        fetched = await source.fetch()
        assert fetched is not None
        assert fetched.files == {"app.conf": b""}

    run(f"etcd+{etcd.url}{above}/app.conf", work)


def test_a_key_that_is_not_there(etcd: Etcd, above: str) -> None:
    """It is an error, and nothing that is passed on; also when it has been there."""

    async def work(source: Source) -> None:
        with pytest.raises(SourceError, match="there is nothing at that key"):
            await source.fetch()
        etcd.put(f"{above}/k", b"x")
        assert await source.fetch()
        etcd.delete(f"{above}/k")
        with pytest.raises(SourceError, match="it was deleted"):
            await source.fetch()
        etcd.put(f"{above}/k", b"x")
        assert await source.fetch() is None

    run(f"etcd+{etcd.url}{above}/k", work)


def test_a_key_without_a_slash(etcd: Etcd) -> None:
    """It is named by the query."""
    etcd.put("plain", b"x")

    async def work(source: Source) -> None:
        fetched = await source.fetch()
        assert fetched is not None
        assert fetched.files == {"plain": b"x"}

    run(f"etcd+{etcd.url}/?key=plain", work)


def test_a_prefix(etcd: Etcd, above: str) -> None:
    """All keys beneath it are files of one version, and none beside it; a key that goes is a file that goes."""
    for key in ("/d/a", "/d/b/c", "/d0", "/da", "/d/"):
        etcd.put(above + key, key.encode())

    async def work(source: Source) -> None:
        fetched = await source.fetch()
        assert fetched is not None
        assert fetched.files == {"conf/a": b"/d/a", "conf/b/c": b"/d/b/c"}
        etcd.delete(f"{above}/d/b/c")
        smaller = await source.fetch()
        assert smaller is not None
        assert smaller.files == {"conf/a": b"/d/a"}
        assert smaller.version != fetched.version

    run(f"conf/=etcd+{etcd.url}{above}/d/", work)


def test_a_prefix_without_keys(etcd: Etcd, above: str) -> None:
    """A key that only marks it is none beneath it, and an app's files are not taken away for that."""
    etcd.put(f"{above}/d/", b"")

    async def work(source: Source) -> None:
        with pytest.raises(SourceError, match="there is nothing"):
            await source.fetch()

    run(f"etcd+{etcd.url}{above}/d/", work)


def test_keys_that_lead_elsewhere(etcd: Etcd, above: str) -> None:
    """Keys are anybody's text: one that is no file name is refused, and with it the version."""
    etcd.put(f"{above}/d/../x", b"")

    async def work(source: Source) -> None:
        with pytest.raises(SourceError, match="no relative file name"):
            await source.fetch()

    run(f"etcd+{etcd.url}{above}/d/", work)


def test_too_much(etcd: Etcd, above: str) -> None:
    """The bound is for all values together."""
    etcd.put(f"{above}/d/a", b"x" * 600)
    etcd.put(f"{above}/d/b", b"x" * 400)

    async def work(source: Source) -> None:
        assert await source.fetch()
        etcd.put(f"{above}/d/b", b"x" * 410)
        with pytest.raises(SourceError, match="more than CONFIGSYNC_MAX_SIZE"):
            await source.fetch()

    run(f"etcd+{etcd.url}{above}/d/", work)


# ---------------------------------------------------------------------------- watching


def test_a_change_is_heard_of(etcd: Etcd, above: str) -> None:
    """Of a put and of a delete beneath the prefix, and of nothing else."""
    etcd.put(f"{above}/d/a", b"1")

    async def work(source: Source) -> None:
        await source.fetch()
        waiting = asyncio.create_task(source.wait())
        await asyncio.wait({waiting}, timeout=0.2)
        etcd.put(f"{above}/other", b"")
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        etcd.put(f"{above}/d/b", b"2")
        await asyncio.wait_for(waiting, 2)
        fetched = await source.fetch()
        assert fetched is not None
        assert fetched.files == {"a": b"1", "b": b"2"}
        etcd.delete(f"{above}/d/a")
        await asyncio.wait_for(source.wait(), 2)

    run(f"etcd+{etcd.url}{above}/d/", work)


def test_a_change_between_fetch_and_wait(etcd: Etcd, above: str) -> None:
    """The watch begins where the fetch ended."""
    etcd.put(f"{above}/k", b"1")

    async def work(source: Source) -> None:
        await source.fetch()
        etcd.put(f"{above}/k", b"2")
        await asyncio.wait_for(source.wait(), 2)

    run(f"etcd+{etcd.url}{above}/k", work)


def test_compaction(etcd: Etcd, above: str) -> None:
    """Where the revisions to watch from are gone, all is to be fetched anew, after which a watch is possible again."""
    etcd.put(f"{above}/k", b"1")

    async def work(source: Source) -> None:
        await source.fetch()
        etcd.put("/another", b"")
        etcd.ask("/v3/kv/compaction", revision=str(etcd.put("/another", b"")))
        await asyncio.wait_for(source.wait(), 2)
        assert await source.fetch() is None
        waiting = asyncio.create_task(source.wait())
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        etcd.put(f"{above}/k", b"2")
        await asyncio.wait_for(waiting, 2)

    run(f"etcd+{etcd.url}{above}/k", work)


def test_an_old_watch_is_not_relied_on(etcd: Etcd, above: str) -> None:
    """A silent one ends by itself, and what may have been missed is fetched."""
    etcd.put(f"{above}/k", b"1")

    async def work(source: Source) -> None:
        await source.fetch()
        await asyncio.wait_for(source.wait(), 2)

    run(f"etcd+{etcd.url}{above}/k", work, hold=0.1)


def test_what_is_no_etcd() -> None:
    """A web server in its place is told of."""

    async def play() -> None:
        async def handle(_: web.Request) -> web.Response:
            return web.Response(text="<html>")

        async with served(handle) as url, asking(f"etcd+{url}/k") as (source,):
            with pytest.raises(SourceError, match="is this the right address"):
                await source.fetch()

    asyncio.run(play(), debug=True)


def test_a_watch_without_an_end_of_line() -> None:
    """What comes is not kept without a bound."""

    async def play() -> None:
        async def handle(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(b" " * 65536)
                await asyncio.sleep(0)

        async with served(handle) as url, asking(f"etcd+{url}/k") as (source,):
            with pytest.raises(SourceError, match="more than CONFIGSYNC_MAX_SIZE"):
                await asyncio.wait_for(source.wait(), 2)

    asyncio.run(play(), debug=True)


# ---------------------------------------------------------------------------- authentication


@pytest.fixture(scope="module")
def guarded(etcd: Etcd) -> Iterator[Etcd]:
    """The same with users: `reader` may read beneath /open/ alone."""
    etcd.put("/open/k", b"x")
    for user in ("root", "reader"):
        etcd.ask("/v3/auth/user/add", name=user, password="pw")
        etcd.ask("/v3/auth/role/add", name=user)
        etcd.ask("/v3/auth/user/grant", user=user, role=user)
    allowed = {"permType": "READ", "key": _b64(b"/open/"), "range_end": _b64(b"/open0")}
    etcd.ask("/v3/auth/role/grant", name="reader", perm=allowed)
    etcd.ask("/v3/auth/enable")
    etcd.token = str(etcd.ask("/v3/auth/authenticate", name="root", password="pw")["token"])
    yield etcd
    etcd.ask("/v3/auth/disable")


def test_user_and_password(guarded: Etcd) -> None:
    """They are changed for a token, which is asked for again when etcd has forgotten it."""

    async def work(source: Source) -> None:
        assert await source.fetch()
        guarded.put("/open/k", b"y")
        await asyncio.wait_for(source.wait(), 2)
        # A token that etcd does not know any more: as after its five minutes, or a restart.
        source._token = "bogus.1"  # type: ignore[attr-defined]  # it is this test's to spoil
        assert await source.fetch()
        source._token = "bogus.2"  # type: ignore[attr-defined]  # the same
        with pytest.raises(SourceError, match=r"the watch was canceled: .*invalid auth token"):
            await asyncio.wait_for(source.wait(), 2)
        guarded.put("/open/k", b"z")
        await asyncio.wait_for(source.wait(), 2)

    run(f"etcd+{guarded.url}/open/k", work, Credentials(login=lambda: ("reader", "pw")))


@pytest.mark.parametrize(
    ("key", "login", "reason"),
    [
        ("/open/k", None, r"etcdserver: user name is empty \(status 400\)"),
        ("/open/k", ("reader", "wrong"), "invalid user ID or password"),
        ("/closed/k", ("reader", "pw"), r"etcdserver: permission denied \(status 403\)"),
    ],
)
def test_who_is_not_let_in(guarded: Etcd, key: str, login: tuple[str, str] | None, reason: str) -> None:
    """etcd's own reason is told."""
    credentials = Credentials(login=None if login is None else lambda: login)

    async def work(source: Source) -> None:
        with pytest.raises(SourceError, match=reason):
            await source.fetch()

    run(f"etcd+{guarded.url}{key}", work, credentials)


def test_a_token_of_ones_own(guarded: Etcd) -> None:
    """One that is given is sent as it is, and not as a bearer's."""

    async def work(source: Source) -> None:
        assert await source.fetch()

    run(f"etcd+{guarded.url}/open/k", work, Credentials(token=lambda: guarded.token))
    with pytest.raises(HTTPError):
        Etcd(guarded.url).put("/open/k", b"")
