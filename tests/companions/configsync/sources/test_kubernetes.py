"""ConfigMaps and Secrets from an API server of the tests' own, that speaks as a real one does; see api_server.py."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")

from tests.companions.configsync.sources.api_server import ApiServer, base64, bookmark, mounted_account, status_object
from tests.companions.configsync.sources.serving import AUTHORITY, QUICK, asking, served, server_context
from tlsproxy.companions.configsync.sources.content import Content, Source, SourceError
from tlsproxy.companions.configsync.sources.credentials import Credentials
from tlsproxy.companions.configsync.sources.kubernetes import Cluster

Work = Callable[[ApiServer, Source], Awaitable[None]]


@pytest.fixture
def account(tmp_path: Path) -> Path:
    return mounted_account(tmp_path, AUTHORITY.cert_pem.bytes())


def run(account: Path, work: Work, text: str = "configmap:app", hold: float = 20.0) -> ApiServer:
    async def play() -> ApiServer:
        api = ApiServer()
        async with served(api.handle, server_context()) as url:
            ours = Credentials(token=lambda: "for another")
            cluster = Cluster(url, account)
            async with asking(text, ours, replace(QUICK, size=100_000, hold=hold), cluster) as (source,):
                await work(api, source)
        return api

    return asyncio.run(play(), debug=True)


async def files(source: Source) -> dict[str, bytes] | None:
    content = await source.fetch()
    return None if content is None else dict(content.files)


# ---------------------------------------------------------------------------- reading


def test_a_configmap(account: Path) -> None:
    """Each key is a file, of text or of bytes, with the object's version; once, until it has changed."""

    async def work(api: ApiServer, source: Source) -> None:
        await api.put("configmaps", "app", data={"a.conf": "ä"}, binaryData={"b": base64(b"\xff")}, immutable=True)
        await api.put("configmaps", "other", data={"x": "y"})
        assert source.name == "configmap:app/"
        assert await source.fetch() == Content({"a.conf": "ä".encode(), "b": b"\xff"}, "1001")
        assert await source.fetch() is None
        await api.put("configmaps", "app", data={"a.conf": "new"})
        assert await files(source) == {"a.conf": b"new"}

    run(account, work)


def test_only_data_counts(account: Path) -> None:
    """An annotation that changes gives the object a new version, and the app nothing new."""

    async def work(api: ApiServer, source: Source) -> None:
        await api.put("configmaps", "app", data={"a": "b"})
        assert await source.fetch()
        await api.put("configmaps", "app", data={"a": "b"})
        assert await source.fetch() is None

    run(account, work)


def test_a_secret(account: Path) -> None:
    """Its values are base64; a directory and another namespace are as the setting says."""

    async def work(api: ApiServer, source: Source) -> None:
        await api.put("secrets", "app", type="Opaque", data={"pw": base64(b"s\0")})
        assert await files(source) == {"d/pw": b"s\0"}

    run(account, work, "d/=secret:shop/app/")


def test_one_key(account: Path) -> None:
    """It is one file; without it the object is of no use, and says so."""

    async def work(api: ApiServer, source: Source) -> None:
        await api.put("configmaps", "app", data={"a": "1", "b": "2"})
        assert await files(source) == {"app.conf": b"1"}
        await api.put("configmaps", "app", data={"b": "2"})
        with pytest.raises(SourceError, match="ConfigMap shop/app has no key a"):
            await source.fetch()

    run(account, work, "app.conf=configmap:app/a")


def test_a_deleted_object(account: Path) -> None:
    """It takes no file away: that it is gone is an error, and so is that it never was or that it is empty."""

    async def work(api: ApiServer, source: Source) -> None:
        with pytest.raises(SourceError, match="there is no ConfigMap shop/app"):
            await source.fetch()
        await api.put("configmaps", "app", data={"a": "b"})
        assert await source.fetch()
        await api.delete("configmaps", "app")
        with pytest.raises(SourceError, match="ConfigMap shop/app was deleted"):
            await source.fetch()
        await api.put("configmaps", "app")
        with pytest.raises(SourceError, match="ConfigMap shop/app has no data"):
            await source.fetch()

    run(account, work)


def test_too_much(account: Path) -> None:
    """The bound is for all keys together."""

    async def work(api: ApiServer, source: Source) -> None:
        await api.put("configmaps", "app", data={"a": "x" * 60_000, "b": "x" * 60_000})
        with pytest.raises(SourceError, match="more than CONFIGSYNC_MAX_SIZE"):
            await source.fetch()

    run(account, work)


# ---------------------------------------------------------------------------- who asks


def test_the_token_rotates(account: Path) -> None:
    """It is read for each request, and the credentials of other sources are never sent."""

    async def work(api: ApiServer, source: Source) -> None:
        await api.put("configmaps", "app", data={"a": "b"})
        assert await source.fetch()
        api.token = "second"
        with pytest.raises(SourceError, match="does not accept the credentials"):
            await source.fetch()
        (account / "token").write_text("second")
        await source.fetch()
        waiting = asyncio.create_task(source.wait())
        await asyncio.wait_for(api.watching.wait(), 2)
        waiting.cancel()

    api = run(account, work)
    shown = [request.headers["Authorization"] for request in api.requests]
    assert shown == ["Bearer first", "Bearer first", "Bearer second", "Bearer second"]


def test_who_may_not_read(account: Path) -> None:
    """The message is the Role that is needed, for the list and for the watch."""

    async def work(api: ApiServer, source: Source) -> None:
        await api.put("secrets", "app", data={"a": ""})
        await source.fetch()
        api.allowed = False
        for asking_for in (source.fetch, source.wait):
            with pytest.raises(SourceError) as refused:
                await asking_for()
            assert str(refused.value) == (
                "the service account may not read Secret shop/app: it needs a RoleBinding in namespace shop to a Role "
                'with apiGroups: [""], resources: ["secrets"], resourceNames: ["app"], verbs: ["list", "watch"]'
            )

    run(account, work, "secret:app")


def test_no_service_account(tmp_path: Path) -> None:
    """A pod without one is told what it needs."""

    async def work(_: ApiServer, source: Source) -> None:
        with pytest.raises(SourceError, match="automountServiceAccountToken"):
            await source.fetch()

    run(tmp_path, work)


def test_an_api_server_of_another_authority(account: Path) -> None:
    """Only the cluster's own CA is trusted."""
    (account / "ca.crt").write_text(Path(str(account / "ca.crt")).read_text()[:-40])

    async def work(_: ApiServer, source: Source) -> None:
        with pytest.raises(SourceError, match=r"ca\.crt"):
            await source.fetch()

    run(account, work)


# ---------------------------------------------------------------------------- watching


async def watching(api: ApiServer, source: Source) -> asyncio.Task[None]:
    """A wait that the server has taken on."""
    api.watching.clear()
    waiting = asyncio.create_task(source.wait())
    await asyncio.wait_for(api.watching.wait(), 2)
    return waiting


def test_changes_are_heard_of(account: Path) -> None:
    """An object that is put, changed or deleted ends the wait; another object does not."""

    async def work(api: ApiServer, source: Source) -> None:
        await api.put("configmaps", "app", data={"a": "1"})
        await source.fetch()
        waiting = await watching(api, source)
        await api.put("configmaps", "other", data={"a": "1"})
        await api.put("secrets", "app", data={})
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        await api.put("configmaps", "app", data={"a": "2"})
        await asyncio.wait_for(waiting, 2)
        assert await files(source) == {"a": b"2"}
        waiting = await watching(api, source)
        await api.delete("configmaps", "app")
        await asyncio.wait_for(waiting, 2)

    run(account, work)


def test_a_change_between_fetch_and_wait(account: Path) -> None:
    """The watch begins at the list's version: what changed meanwhile is told first."""

    async def work(api: ApiServer, source: Source) -> None:
        await api.put("configmaps", "app", data={"a": "1"})
        await source.fetch()
        await api.put("configmaps", "app", data={"a": "2"})
        await asyncio.wait_for(source.wait(), 2)

    run(account, work)


def test_the_version_is_the_lists(account: Path) -> None:
    """An object that has not changed for long has a version that is too old to watch from."""

    async def work(api: ApiServer, source: Source) -> None:
        await api.put("configmaps", "app", data={"a": "1"})
        api.oldest = api.version = 5000
        await source.fetch()
        waiting = await watching(api, source)
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        waiting.cancel()

    run(account, work)


@pytest.mark.parametrize("by_status", [False, True])
def test_gone(account: Path, by_status: bool) -> None:
    """410 ends the wait without an error: all is read anew, after which a watch is possible again."""

    async def work(api: ApiServer, source: Source) -> None:
        await api.put("configmaps", "app", data={"a": "1"})
        await source.fetch()
        api.oldest = api.version = 5000
        api.refuses_at_once = by_status
        await asyncio.wait_for(source.wait(), 2)
        await source.fetch()
        waiting = await watching(api, source)
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        waiting.cancel()

    run(account, work)


def test_bookmarks(account: Path) -> None:
    """They are no change, and the next watch begins at the last of them."""

    async def work(api: ApiServer, source: Source) -> None:
        await api.put("configmaps", "app", data={"a": "1"})
        await source.fetch()
        api.extra = [bookmark(4000), bookmark(4001)]
        waiting = await watching(api, source)
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        (await watching(api, source)).cancel()
        assert [r.query.get("resourceVersion") for r in api.requests] == [None, "1001", "4001"]
        assert api.requests[1].query["allowWatchBookmarks"] == "true"

    run(account, work)


def test_a_watch_that_fails(account: Path) -> None:
    """What is no 410 is an error, with the server's reason."""

    async def work(api: ApiServer, source: Source) -> None:
        await api.put("configmaps", "app", data={"a": "1"})
        await source.fetch()
        api.extra = [{"type": "ERROR", "object": status_object(500, "InternalError", "etcd is not well")}]
        with pytest.raises(SourceError, match="the watch ended with status 500 InternalError"):
            await source.wait()

    run(account, work)


def test_the_server_ends_a_watch(account: Path) -> None:
    """Its time is asked for, and when it is over all is read anew."""

    async def work(api: ApiServer, source: Source) -> None:
        await source_ready(api, source)
        await asyncio.wait_for(source.wait(), 3)
        assert api.requests[-1].query["timeoutSeconds"] == "1"

    run(account, work, hold=0.5)


async def source_ready(api: ApiServer, source: Source) -> None:
    await api.put("configmaps", "app", data={"a": "1"})
    await source.fetch()


def test_a_silent_watch_is_noticed(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the server should have ended, and of which nothing is heard, ends by itself."""
    monkeypatch.setattr("tlsproxy.companions.configsync.sources.kubernetes._LATE", 0.1)

    async def work(api: ApiServer, source: Source) -> None:
        await source_ready(api, source)
        api.mute = True
        await asyncio.wait_for(source.wait(), 2)

    run(account, work, hold=0.1)
