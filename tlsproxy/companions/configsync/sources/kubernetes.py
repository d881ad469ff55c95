"""A ConfigMap or Secret, read from the Kubernetes API with the pod's service account.

Listed by name rather than got: a list says from which resourceVersion on to watch, and that of an object which has not
changed for an hour is too old for that. A Role can allow both for a single name (`resourceNames`).

A deleted object is an error, and nothing that is passed on: the app goes on with what was read last.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import aiohttp

from tlsproxy.companions.configsync.sources.addresses import KubernetesAddress
from tlsproxy.companions.configsync.sources.client import Bounds, Client, lines, refused, too_large
from tlsproxy.companions.configsync.sources.content import Content, SourceError, laid_out
from tlsproxy.companions.configsync.sources.credentials import Credentials
from tlsproxy.companions.configsync.sources.shapes import Shape

_KINDS = {"configmap": "ConfigMap", "secret": "Secret"}
# An object is at most 1 MiB and a half; who wrote what of it (managedFields) and its base64 come on top of the files.
_JSON_EXCESS = 2
_JSON_AROUND = 1024 * 1024
# The server ends a watch when it was asked to; who hears nothing of that has a watch that is half dead.
_LATE = 10.0
_GONE = 410
_JSON = {"Accept": "application/json"}


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the API is, and who asks."""

    api: str
    """The server's URL, without a path."""
    account: Path
    """The directory with `token`, `ca.crt` and `namespace`."""

    def credentials(self) -> Credentials:
        """The service account's: its token is read for each request, since the kubelet replaces it."""
        return Credentials(token=(self.account / "token").read_text, authority=self.account / "ca.crt")

    def namespace(self) -> str:
        """The pod's own.

        Raises:
            SourceError: there is no service account here.
        """
        try:
            return (self.account / "namespace").read_text().strip()
        except (OSError, ValueError):
            raise SourceError(
                f"there is no service account in {self.account}: the pod needs automountServiceAccountToken"
            ) from None


class KubernetesSource:
    """One ConfigMap or Secret, or one key of it.

    Args:
        address: which.
        cluster: where, and in which namespace if the address names none.
        client: for the cluster's API, with the service account's credentials; closed with this.
        bounds: as the client's.
    """

    def __init__(self, address: KubernetesAddress, cluster: Cluster, client: Client, bounds: Bounds) -> None:
        self._address = address
        self._cluster = cluster
        self._client = client
        self._bounds = bounds
        self._resource_version = ""
        """Where to watch from; empty: nothing has been listed, or that is too old."""
        self._files: Mapping[str, bytes] = {}

    @property
    def name(self) -> str:
        """As it is written in the setting, without the target."""
        return str(self._address).partition("=")[2] or str(self._address)

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()

    # ------------------------------------------------------------------ fetching

    async def fetch(self) -> Content | None:
        """The object's files; see `Source`."""
        answer = await self._client.ask("GET", self._url(), _JSON, most=self._most())
        if answer.status != 200:
            raise self._refused(answer.status, answer.fields)
        found = Shape.of(answer.body)
        self._resource_version = found.shape("metadata").text("resourceVersion")
        if "items" not in found and not self._resource_version:
            raise SourceError("it does not answer as the Kubernetes API does")
        items = found.shapes("items")
        if not items:
            raise SourceError(f"{self._object()} was deleted" if self._files else f"there is no {self._object()}")
        files = self._laid_out(items[0])
        if files == self._files:
            return None
        self._files = files
        return Content(files, items[0].shape("metadata").text("resourceVersion"))

    def _laid_out(self, item: Shape) -> dict[str, bytes]:
        data = self._data(item)
        if sum(map(len, data.values())) > self._bounds.size:
            raise too_large()
        key = self._address.key
        if key and key not in data:
            raise SourceError(f"{self._object()} has no key {key}")
        if not data:
            raise SourceError(f"{self._object()} has no data")
        return {self._address.target: data[key]} if key else laid_out(self._address.target, data)

    def _data(self, item: Shape) -> dict[str, bytes]:
        """By key; a Secret's is base64, a ConfigMap's is text and, where it is none, binaryData."""
        data = item.shape("data")
        if self._address.kind == "secret":
            return {key: data.decoded(key) for key in data.names()}
        binary = item.shape("binaryData")
        texts = {key: data.text(key).encode("utf-8", "surrogatepass") for key in data.names()}
        return texts | {key: binary.decoded(key) for key in binary.names()}

    # ------------------------------------------------------------------ hearing of changes

    async def wait(self) -> None:
        """Until the object has changed since the last fetch, or the watch is so old that it is not relied on."""
        if not self._resource_version:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._bounds.hold + _LATE):
                await self._watch()

    async def _watch(self) -> None:
        watch = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": f"{max(self._bounds.hold, 1):.0f}"}
        url = self._url(**watch, resourceVersion=self._resource_version)
        async with self._client.streaming("GET", url, _JSON) as response:
            if response.status == _GONE:
                return
            if response.status != 200:
                raise self._refused(response.status, response.headers)
            await self._follow(response)

    async def _follow(self, response: aiohttp.ClientResponse) -> None:
        """Until an event tells of a change; or the watch ends, with its time or because its version is too old."""
        async for line in lines(response, self._most()):
            event = Shape.of(line)
            kind, item = event.text("type"), event.shape("object")
            if kind == "BOOKMARK":
                self._resource_version = item.shape("metadata").text("resourceVersion")
            elif kind == "ERROR" and item.number("code") != _GONE:
                raise SourceError(f"the watch ended with status {item.number('code')} {item.text('reason')}")
            else:
                return

    # ------------------------------------------------------------------ requests

    def _url(self, **query: str) -> str:
        address = self._address
        selected = urlencode({"fieldSelector": f"metadata.name={address.name}", **query})
        return f"{self._cluster.api}/api/v1/namespaces/{self._namespace()}/{address.kind}s?{selected}"

    def _namespace(self) -> str:
        return self._address.namespace or self._cluster.namespace()

    def _object(self) -> str:
        return f"{_KINDS[self._address.kind]} {self._namespace()}/{self._address.name}"

    def _refused(self, status: int, fields: Mapping[str, str]) -> SourceError:
        if status != 403:
            return refused(status, fields)
        return SourceError(
            f"the service account may not read {self._object()}: it needs a RoleBinding in namespace "
            f'{self._namespace()} to a Role with apiGroups: [""], resources: ["{self._address.kind}s"], '
            f'resourceNames: ["{self._address.name}"], verbs: ["list", "watch"]'
        )

    def _most(self) -> int:
        return self._bounds.size * _JSON_EXCESS + _JSON_AROUND
