"""Services whose ports lead to the app, pointed at the sidecar; pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tlsproxy.inject.documents import Mapping, mapping_at, mappings_at, text_at
from tlsproxy.inject.refusals import Refusal
from tlsproxy.inject.rewriting import Rewriting
from tlsproxy.inject.workloads import Subject


@dataclass(frozen=True, slots=True)
class Target:
    """A pod that has the sidecar, as Services see it."""

    namespace: str
    labels: dict[str, str]
    app_ports: frozenset[str]
    """The app's port, as number and as name."""
    https_port: int


def point(rewriting: Rewriting, service: Subject, targets: Iterable[Target], *, must: bool) -> Iterator[str]:
    """Make the ports that lead to an app lead to its sidecar; yields what the operator has to know.

    Args:
        rewriting: takes the changes.
        service: the Service.
        targets: the pods that it may select.
        must: whether it was asked for by name.

    Raises:
        Refusal: it was, and none of its ports leads there.
    """
    spec = mapping_at(service.root, "spec")
    selected = [target for target in targets if spec and _selects(service, spec, target)]
    ports = mappings_at(spec, "ports") if spec else ()
    headless = spec is not None and text_at(spec, "clusterIP") == "None"
    found = False
    for number, port in enumerate(ports):
        leads_to = text_at(port, "targetPort") or text_at(port, "port")
        target = next((target for target in selected if leads_to in target.app_ports), None)
        if target is not None:
            found = True
            _point(rewriting, port, f"spec.ports[{text_at(port, 'name') or number}]", target)
            yield _told(text_at(port, "port"), target, headless=headless)
    if must and not found:
        what = "it selects no pod that was given a sidecar" if not selected else "none of its ports leads to the app"
        raise Refusal(service.place, what, "have pod and Service in one manifest, or change its targetPort by hand")


def _selects(service: Subject, spec: Mapping, target: Target) -> bool:
    selector = mapping_at(spec, "selector")
    if text_at(spec, "type") == "ExternalName":
        # A name of the DNS: Kubernetes looks at neither selector nor ports.
        return False
    if selector is None or not selector.entries or service.namespace != target.namespace:
        return False
    return all(target.labels.get(entry.key) == text_at(selector, entry.key) for entry in selector.entries)


def _point(rewriting: Rewriting, port: Mapping, path: str, target: Target) -> None:
    # By number: a name of an init container's port is not found by every Kubernetes that has native sidecars.
    why = "clients reach the sidecar in place of the app"
    if port.entry("targetPort"):
        rewriting.replace(f"{path}.targetPort", target.https_port, why)
    else:
        rewriting.add(f"{path}.targetPort", target.https_port, why)
    if text_at(port, "appProtocol").lower() == "http":
        rewriting.replace(f"{path}.appProtocol", "https", "an ingress speaks TLS to it then")


def _told(port: str, target: Target, *, headless: bool) -> str:
    if not headless:
        return f"port {port} speaks HTTPS from now on"
    own = f"HTTPS is at {target.https_port}"
    return f"it has no cluster IP, so clients choose the pods' port themselves: {own}, and {port} is not redirected"
