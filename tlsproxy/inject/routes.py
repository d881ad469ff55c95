"""Ingresses and routes in the manifest that lead to a Service whose port speaks HTTPS from now on; pure.

Nothing in them is changed, since each controller wants to be told in its own way; whose turn it is, is told instead.
"""

from collections.abc import Collection, Iterator
from collections.abc import Mapping as AnyMapping
from typing import Final

from tlsproxy.inject.documents import Mapping, Node, Scalar, Sequence
from tlsproxy.inject.workloads import group_and_kind, identity, objects

_GATEWAY: Final = (("spec", "rules", "backendRefs", "name"),)
_BY_POLICY: Final = "by a BackendTLSPolicy"

BACKENDS: Final[AnyMapping[tuple[str, str], tuple[tuple[tuple[str, ...], ...], str]]] = {
    ("networking.k8s.io", "Ingress"): (
        (
            ("spec", "defaultBackend", "service", "name"),
            ("spec", "rules", "http", "paths", "backend", "service", "name"),
        ),
        "as its controller wants to be told, such as by nginx.ingress.kubernetes.io/backend-protocol: HTTPS",
    ),
    ("gateway.networking.k8s.io", "HTTPRoute"): (_GATEWAY, _BY_POLICY),
    ("gateway.networking.k8s.io", "GRPCRoute"): (_GATEWAY, _BY_POLICY),
    ("route.openshift.io", "Route"): ((("spec", "to", "name"),), "by termination: reencrypt, or passthrough"),
    ("traefik.io", "IngressRoute"): ((("spec", "routes", "services", "name"),), "by scheme: https"),
}
"""API group and kind, where in such an object the names of Services are, lists passed through, and how it is told."""


def leading_to(documents: tuple[Node, ...], services: Collection[tuple[str, str]]) -> Iterator[str]:
    """What the operator has to know of each object that leads to one of the Services, by namespace and name."""
    for found, number in objects(documents):
        paths, way = BACKENDS.get(group_and_kind(found), ((), ""))
        _, namespace, place = identity(found, number)
        names = dict.fromkeys(name for path in paths for name in _texts(found, path))
        for name in names:
            if (namespace, name) in services:
                yield f"{place}: it leads to service/{name}, and has to speak HTTPS to it {way}"


def _texts(node: Node | None, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(node, Sequence):
        for item in node.items:
            yield from _texts(item, path)
    elif isinstance(node, Mapping) and path:
        yield from _texts(node.get(path[0]), path[1:])
    elif isinstance(node, Scalar) and not path:
        yield node.text
