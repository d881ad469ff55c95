"""What kustomize makes of deploy/kubernetes, where there is no kustomize: the part of it that those files use.

Whatever else a file asks for is an AssertionError, so that nothing is passed over. Where kubectl is new enough, a test
holds the outcome to kubectl's own.
"""

from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path

from ruamel.yaml import YAML

Tree = dict[str, object]

KNOWN = {
    "Kustomization": {"apiVersion", "kind", "resources", "components", "patches", "images"},
    "Component": {"apiVersion", "kind", "patches"},
}
MERGED_BY = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
}
"""Lists that a strategic merge merges, and by which key (x-kubernetes-patch-merge-key); others are replaced."""


def loaded(text: str) -> list[Tree]:
    """The documents of a text."""
    return [deepcopy(found) for found in map(tree, YAML(typ="safe", pure=True).load_all(text))]


def tree(value: object) -> Tree:
    """A value that has to be a mapping."""
    assert isinstance(value, dict), f"no mapping: {value!r}"
    return value


def listed(value: object) -> list[object]:
    """A value that has to be a list, or absent."""
    assert isinstance(value, list | None), f"no list: {value!r}"
    return value or []


def build(folder: Path) -> list[Tree]:
    """The objects of a folder's kustomization, in order."""
    kustomization = read(folder, "Kustomization")
    made = [one for name in listed(kustomization.get("resources")) for one in loaded((folder / str(name)).read_text())]
    for component in listed(kustomization.get("components")):
        patch_all(made, folder / str(component), read(folder / str(component), "Component"))
    patch_all(made, folder, kustomization)
    for image in map(tree, listed(kustomization.get("images"))):
        assert image.keys() == {"name", "newTag"}
        for container in containers(made):
            if str(container["image"]).partition(":")[0] == image["name"]:
                container["image"] = f"{image['name']}:{image['newTag']}"
    return made


def read(folder: Path, kind: str) -> Tree:
    """The folder's kustomization, all of which is known here."""
    (found,) = loaded((folder / "kustomization.yaml").read_text())
    assert found["kind"] == kind
    assert found.keys() <= KNOWN[kind]
    return found


def containers(made: Iterable[Tree]) -> Iterator[Tree]:
    """All of the Deployments'."""
    for one in made:
        if one["kind"] == "Deployment":
            spec = tree(tree(tree(one["spec"])["template"])["spec"])
            yield from map(tree, [*listed(spec.get("containers")), *listed(spec.get("initContainers"))])


# ------------------------------------------------------------------ patches


def patch_all(made: list[Tree], folder: Path, kustomization: Tree) -> None:
    """Apply the kustomization's patches, in order."""
    for patch in map(tree, listed(kustomization.get("patches"))):
        assert patch.keys() <= {"target", "path", "patch"}
        text = (folder / str(patch["path"])).read_text() if "path" in patch else str(patch["patch"])
        if text.startswith("- op:"):
            change: object = YAML(typ="safe", pure=True).load(text)
        else:
            (change,) = loaded(text)
        meant = [one for one in made if is_meant(one, patch.get("target") or change)]
        assert meant, f"{folder}: a patch is for nothing"
        for one in meant:
            if isinstance(change, list):
                operate(one, change)
            else:
                merge(one, {name: value for name, value in tree(change).items() if name != "metadata"})


def is_meant(one: Tree, by: object) -> bool:
    """Whether a target selects the object, or a patch without one names it."""
    target, metadata = tree(by), tree(one["metadata"])
    if "metadata" in target:
        return (target["kind"], tree(target["metadata"])["name"]) == (one["kind"], metadata["name"])
    assert target.keys() == {"kind", "labelSelector"}
    name, _, value = str(target["labelSelector"]).partition("=")
    return target["kind"] == one["kind"] and tree(metadata.get("labels") or {}).get(name) == value


def operate(one: Tree, operations: list[object]) -> None:
    """RFC 6902, `add` to a mapping alone."""
    for operation in map(tree, operations):
        assert operation["op"] == "add"
        *way, last = str(operation["path"]).removeprefix("/").split("/")
        place: object = one
        for step in way:
            place = listed(place)[int(step)] if isinstance(place, list) else tree(place)[step]
        tree(place)[last] = deepcopy(operation["value"])


def merge(into: Tree, change: Tree) -> None:
    """A strategic merge: mappings are merged, lists by their items' key; new items go before those that are there."""
    for name, value in change.items():
        assert value is not None
        assert not name.startswith("$")
        there = into.get(name)
        if isinstance(value, dict) and isinstance(there, dict):
            merge(there, value)
        elif name in MERGED_BY and isinstance(there, list):
            merge_items(there, listed(value), MERGED_BY[name])
        else:
            into[name] = deepcopy(value)


def merge_items(there: list[object], changes: list[object], key: str) -> None:
    """The same of a list."""
    new = []
    for change in map(tree, changes):
        same = [item for item in map(tree, there) if item[key] == change[key]]
        if same:
            merge(same[0], change)
        else:
            new.append(deepcopy(change))
    there[:0] = new
