"""The app's own probes when it can be reached on the loopback address alone; pure.

The kubelet asks at the pod's address. There the sidecar listens: an HTTP probe goes through it, and one that only opens
a connection becomes a question to the admin port, which opens one to the app.
"""

from collections.abc import Iterator
from typing import Final

from tlsproxy.inject.documents import Mapping, mapping_at, text_at
from tlsproxy.inject.refusals import Refusal
from tlsproxy.inject.rewriting import Rewriting
from tlsproxy.settings import Settings

_PROBES: Final = ("startupProbe", "livenessProbe", "readinessProbe")
_HOOKS: Final = ("lifecycle.postStart", "lifecycle.preStop")
_WAY_OUT: Final = "let the app listen on the pod's address (without --app-on-localhost), or make it an exec probe"


def asking(container: Mapping, path: str) -> Iterator[tuple[str, Mapping]]:
    """Path and node of each probe and hook of a container."""
    for place in (*_PROBES, *_HOOKS):
        node: Mapping | None = container
        for key in place.split("."):
            node = mapping_at(node, key) if node else None
        if node:
            yield f"{path}.{place}", node


def speaks_tls(container: Mapping, path: str, ports: frozenset[str]) -> str:
    """The path of a probe that asks for HTTPS at one of these ports; empty when none does."""
    for place, probe in asking(container, path):
        asked = mapping_at(probe, "httpGet")
        if asked and text_at(asked, "port") in ports and text_at(asked, "scheme").upper() == "HTTPS":
            return place
    return ""


def move(rewriting: Rewriting, container: Mapping, path: str, ports: frozenset[str], settings: Settings) -> None:
    """Point the probes at these ports, which the kubelet can't reach, to where they are answered.

    Args:
        rewriting: takes the changes.
        container: the app's.
        path: of the container.
        ports: the app's port, as number and as name.
        settings: the sidecar's.

    Raises:
        Refusal: there is no such place.
    """
    for place, probe in asking(container, path):
        http, tcp, grpc = (mapping_at(probe, kind) for kind in ("httpGet", "tcpSocket", "grpc"))
        if http and text_at(http, "port") in ports and not text_at(http, "host"):
            _through_the_sidecar(rewriting, http, f"{place}.httpGet", settings)
        if tcp and not http and text_at(tcp, "port") in ports:
            _to_the_admin_port(rewriting, f"{place}.tcpSocket", settings)
        if grpc and text_at(grpc, "port") in ports:
            raise Refusal(rewriting.place, f"{place}.grpc can't be moved: the kubelet asks without TLS", _WAY_OUT)


def _through_the_sidecar(rewriting: Rewriting, asked: Mapping, path: str, settings: Settings) -> None:
    refused = {
        "TLSPROXY_CLIENT_AUTH": settings.client_auth == "required",
        "TLSPROXY_SNI_STRICT": settings.sni_strict,
        "TLSPROXY_PROXY_PROTOCOL": settings.proxy_protocol in {"accept", "both"},
    }
    for name in (name for name, is_so in refused.items() if is_so):
        raise Refusal(rewriting.place, f"{path} can't go through the sidecar: {name} keeps the kubelet out", _WAY_OUT)
    why = "the app is on localhost alone; the kubelet asks through the sidecar, and verifies no certificate"
    rewriting.replace(f"{path}.port", settings.listen_port, why)
    if asked.entry("scheme"):
        rewriting.replace(f"{path}.scheme", "HTTPS", why)
    else:
        rewriting.add(f"{path}.scheme", "HTTPS", why)


def _to_the_admin_port(rewriting: Rewriting, path: str, settings: Settings) -> None:
    if settings.app_check == "off":
        what = f"{path} can't become a question to /readyz: TLSPROXY_APP_CHECK=off leaves the app out of it"
        raise Refusal(rewriting.place, what, _WAY_OUT)
    why = "the app is on localhost alone; /readyz opens a connection to it"
    rewriting.replace(path, {"path": "/readyz", "port": settings.admin_port}, why, key="httpGet")
