"""A Kubernetes API server of the tests' own, as far as ConfigMaps and Secrets of one namespace are concerned.

There is no cluster where the tests run. What this server says has the shapes of a real one: lists without `kind` on
their items, watch events by line, bookmarks that hold a version alone, Status objects with `reason` and `code`, and the
resourceVersion of a list apart from those of its objects. Lists are held against the published schema.
"""

import asyncio
import json
from base64 import b64encode
from pathlib import Path

import kubernetes_validate
from aiohttp import web

Json = dict[str, object]
KINDS = {"configmaps": "ConfigMap", "secrets": "Secret"}
ACCOUNT = "system:serviceaccount:shop:default"


class ApiServer:
    """Objects by kind and name, each change with a version of its own, and those who watch."""

    def __init__(self) -> None:
        self.version = 1000
        self.oldest = 0
        """Of the versions that can be watched from."""
        self.refuses_at_once = False
        """Whether an older one is refused by the response's status, rather than by an event."""
        self.objects: dict[tuple[str, str], Json] = {}
        self.log: list[tuple[int, str, str, Json]] = []
        """Version, type, resource and object of each change."""
        self.token = "first"
        self.allowed = True
        self.mute = False
        """Whether watches say nothing and never end, as one whose connection is half dead."""
        self.extra: list[Json] = []
        """Events that each watch begins with."""
        self.requests: list[web.Request] = []
        self.watching = asyncio.Event()
        self._changed = asyncio.Condition()

    # ------------------------------------------------------------------ what an administrator does

    async def put(self, resource: str, name: str, **parts: object) -> None:
        known = (resource, name) in self.objects
        self.version += 1
        metadata = {
            "name": name,
            "namespace": "shop",
            "uid": "0b3e5b5e-3f0a-4bb4-9f0f-2f6f3f1c9a11",
            "resourceVersion": str(self.version),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [
                {
                    "manager": "kubectl-client-side-apply",
                    "operation": "Update",
                    "apiVersion": "v1",
                    "time": "2026-01-01T00:00:00Z",
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:data": {".": {}}},
                }
            ],
        }
        self.objects[resource, name] = {"metadata": metadata, **parts}
        await self._tell("MODIFIED" if known else "ADDED", resource, self.objects[resource, name])

    async def delete(self, resource: str, name: str) -> None:
        self.version += 1
        await self._tell("DELETED", resource, self.objects.pop((resource, name)))

    async def _tell(self, kind: str, resource: str, item: Json) -> None:
        self.log.append((self.version, kind, resource, item))
        async with self._changed:
            self._changed.notify_all()

    # ------------------------------------------------------------------ what it answers

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return status(401, "Unauthorized", "Unauthorized")
        _, api, version, namespaces, namespace, resource = request.path.split("/")
        assert (api, version, namespaces, namespace) == ("api", "v1", "namespaces", "shop")
        name = request.query["fieldSelector"].removeprefix("metadata.name=")
        if not self.allowed:
            verb = "watch" if "watch" in request.query else "list"
            message = f'{resource} is forbidden: User "{ACCOUNT}" cannot {verb} resource "{resource}" in API group ""'
            return status(403, "Forbidden", message)
        if "watch" in request.query:
            return await self._watch(request, resource, name)
        items = [item for key, item in self.objects.items() if key == (resource, name)]
        return web.json_response(listed(resource, items, self.version))

    async def _watch(self, request: web.Request, resource: str, name: str) -> web.StreamResponse:
        seen = int(request.query["resourceVersion"])
        expired = "Expired", f"too old resource version: {seen} ({self.oldest})"
        if seen < self.oldest and self.refuses_at_once:
            return status(410, *expired)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        self.watching.set()
        if self.mute:
            await asyncio.Event().wait()
        for event in self.extra:
            await self._write(response, event)
        if seen < self.oldest:
            await self._write(response, {"type": "ERROR", "object": status_object(410, *expired)})
            return response
        try:
            async with asyncio.timeout(float(request.query["timeoutSeconds"])):
                while True:
                    for version, kind, of, item in self.log:
                        if version > seen and of == resource and _name(item) == name:
                            await self._write(response, {"type": kind, "object": _with_kind(resource, item)})
                    seen = self.version
                    async with self._changed:
                        await self._changed.wait()
        except TimeoutError:
            return response

    async def _write(self, response: web.StreamResponse, event: Json) -> None:
        await response.write(json.dumps(event).encode() + b"\n")


def listed(resource: str, items: list[Json], version: int) -> Json:
    found: Json = {
        "kind": f"{KINDS[resource]}List",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": str(version)},
        "items": items,
    }
    kubernetes_validate.validate(found, "1.31", strict=True)
    return found


def bookmark(version: int) -> Json:
    metadata = {"resourceVersion": str(version), "creationTimestamp": None}
    return {"type": "BOOKMARK", "object": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata}}


def status_object(code: int, reason: str, message: str) -> Json:
    plain = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return {**plain, "message": message, "reason": reason, "code": code}


def status(code: int, reason: str, message: str) -> web.Response:
    return web.json_response(status_object(code, reason, message), status=code)


def _with_kind(resource: str, item: Json) -> Json:
    return {"kind": KINDS[resource], "apiVersion": "v1", **item}


def _name(item: Json) -> object:
    metadata = item["metadata"]
    assert isinstance(metadata, dict)
    return metadata["name"]


def mounted_account(directory: Path, authority: bytes) -> Path:
    """A service account as the kubelet mounts it."""
    (directory / "token").write_text("first")
    (directory / "namespace").write_text("shop")
    (directory / "ca.crt").write_bytes(authority)
    return directory


def base64(data: bytes) -> str:
    return b64encode(data).decode()
