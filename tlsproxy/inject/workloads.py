"""Where the pods and Services of a manifest are; pure."""

from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from typing import Final

from tlsproxy.inject.documents import Mapping, Node, mapping_at, mappings_at, text_at

POD_TEMPLATES: Final[AnyMapping[tuple[str, str], str]] = {
    ("", "Pod"): "",
    ("", "PodTemplate"): "template",
    ("", "ReplicationController"): "spec.template",
    ("apps", "DaemonSet"): "spec.template",
    ("apps", "Deployment"): "spec.template",
    ("apps", "ReplicaSet"): "spec.template",
    ("apps", "StatefulSet"): "spec.template",
    ("batch", "CronJob"): "spec.jobTemplate.spec.template",
    ("batch", "Job"): "spec.template",
}
"""API group and kind, and where in such an object the pod's own metadata and spec are."""

JOBS: Final = frozenset({"Job", "CronJob"})
"""Their pods are to end by themselves."""

SERVICE: Final = ("", "Service")


@dataclass(frozen=True, slots=True)
class Subject:
    """An object of the manifest that may be changed."""

    kind: str
    name: str
    namespace: str
    place: str
    """Kind, name, document and line, for messages."""
    root: Mapping
    """What holds the metadata and the spec that count: of a Deployment its pod template."""
    complete: bool = True
    """False for an object that has no pod template where it should be."""

    @property
    def title(self) -> str:
        """As kubectl writes it: `deployment/shop`."""
        return f"{self.kind.lower()}/{self.name}"


def subjects(documents: tuple[Node, ...]) -> Iterator[Subject]:
    """Pods, templates of pods and Services, in order; those of a List too."""
    for found, number in objects(documents):
        subject = _subject(found, number)
        if subject is not None:
            yield subject


def objects(documents: tuple[Node, ...]) -> Iterator[tuple[Mapping, int]]:
    """Each object, those of a List too, with the number of its document, the first one's being 1."""
    return ((found, number) for number, document in enumerate(documents, 1) for found in _objects(document))


def group_and_kind(found: Mapping) -> tuple[str, str]:
    """What kind of object it is; the group without its version, and empty for the core's."""
    return text_at(found, "apiVersion").rpartition("/")[0], text_at(found, "kind")


def identity(found: Mapping, number: int) -> tuple[str, str, str]:
    """Name, namespace, and its place for messages."""
    metadata = mapping_at(found, "metadata")
    name = (text_at(metadata, "name") or text_at(metadata, "generateName")) if metadata else ""
    namespace = text_at(metadata, "namespace") if metadata else ""
    return name, namespace, f"{text_at(found, 'kind').lower()}/{name} (document {number}, line {found.line})"


def is_service(subject: Subject) -> bool:
    """Whether it is a Service; all others have a pod."""
    return subject.kind == SERVICE[1]


def _objects(document: Node) -> Iterator[Mapping]:
    if not isinstance(document, Mapping):
        return
    if text_at(document, "kind").endswith("List"):
        for item in mappings_at(document, "items"):
            yield from _objects(item)
    else:
        yield document


def _subject(found: Mapping, number: int) -> Subject | None:
    group, kind = group_and_kind(found)
    path = "" if (group, kind) == SERVICE else POD_TEMPLATES.get((group, kind))
    if path is None:
        return None
    name, namespace, place = identity(found, number)
    root: Mapping | None = found
    for key in filter(None, path.split(".")):
        root = mapping_at(root, key) if root else None
    return Subject(kind, name, namespace, place, root or found, root is not None)
