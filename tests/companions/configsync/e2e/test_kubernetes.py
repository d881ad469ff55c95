"""ConfigMaps and Secrets through the whole program, from an API server of the tests' own: there is no cluster here."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.companions.configsync.e2e.conftest import Launch
from tests.companions.configsync.e2e.volume import Volume
from tests.companions.configsync.sources.api_server import ApiServer, base64, mounted_account
from tests.companions.configsync.sources.serving import AUTHORITY, served, server_context
from tests.e2e.polling import wait_until


class Cluster:
    """The API server, on a loop of its own."""

    def __init__(self, url: str, server: ApiServer, loop: asyncio.AbstractEventLoop) -> None:
        self.url = url
        self.server = server
        self._loop = loop

    def do(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


@contextmanager
def cluster() -> Iterator[Cluster]:
    made: list[Cluster] = []
    over: list[asyncio.Event] = []
    begun = threading.Event()

    async def serve() -> None:
        server = ApiServer()
        async with served(server.handle, server_context()) as url:
            over.append(asyncio.Event())
            made.append(Cluster(url, server, asyncio.get_running_loop()))
            begun.set()
            await over[0].wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    begun.wait(10)
    try:
        yield made[0]
    finally:
        made[0].do(_set(over[0]))
        thread.join()


async def _set(event: asyncio.Event) -> None:
    event.set()


def test_a_configmap_and_a_secret(volume: Volume, launch: Launch, tmp_path: Path) -> None:
    """Make one version together; a change is seen at once, by the watch, and each version is seen whole."""
    account = tmp_path / "account"
    account.mkdir()
    mounted_account(account, AUTHORITY.cert_pem.bytes())
    with cluster() as found:
        found.do(found.server.put("configmaps", "shop", data={"a.json": "[1]", "b.json": "[1]"}))
        found.do(found.server.put("secrets", "keys", data={"key": base64(b"secret")}, type="Opaque"))
        settings = {"KUBERNETES_API": found.url, "KUBERNETES_ACCOUNT": account, "UPDATE_PERIOD": "1h"}
        configsync = launch(SOURCES="configmap:shop/,keys/=secret:keys/", MODE="0640", **settings)
        volume.wait_for([1], "a.json")
        assert (volume.path / "keys" / "key").read_bytes() == b"secret"
        assert (volume.path / "a.json").stat().st_mode & 0o777 == 0o640
        wait_until(lambda: len(found.server.requests) >= 4, "both are watched")
        found.do(found.server.put("configmaps", "shop", data={"a.json": "[2]", "b.json": "[2]"}))
        volume.wait_for([2], "b.json")
        assert volume.json("a.json") == [2]

        found.do(found.server.delete("configmaps", "shop"))
        configsync.wait_for_log("was deleted")
        assert volume.json("a.json") == [2]
        status = configsync.ask_admin("/status").body.decode() + configsync.stderr()
        assert "first" not in status, "the account's token"
        configsync.stop()  # before the server, which would leave its watch open
