"""Paths: how places in an object are spelled and found."""

import pytest

from tlsproxy.inject import paths
from tlsproxy.inject.documents import Scalar, parse

TEXT = """\
metadata: {annotations: {tlsproxy/injected: x}}
spec:
  containers:
  - name: web
    image: one
  - name: "0"
    image: two
  ports:
  - port: three
"""


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("spec.containers[web].image", "one"),
        ("spec.containers[0].image", "two"),
        ("spec.containers[1].image", "two"),
        ("spec.ports[0].port", "three"),
        ("metadata.annotations.tlsproxy/injected", "x"),
        ("spec.containers[nobody].image", None),
        ("spec.ports[9].port", None),
        (f"spec.ports[{'9' * 5000}].port", None),
        ("spec[web]", None),
        ("spec.containers.web", None),
    ],
)
def test_finding(path: str, found: str | None) -> None:
    """An item is found by its name, or by its number where none has that name."""
    (root,) = parse(TEXT)
    node = paths.node_at(root, path)
    assert (node.text if isinstance(node, Scalar) else node) == found


def test_the_empty_path() -> None:
    """It is the object itself."""
    (root,) = parse(TEXT)
    assert paths.node_at(root, "") is root


@pytest.mark.parametrize("path", ["", "a", "a.b", "a[b]", "a[0].b/c[d.e]"])
def test_spelling_is_the_inverse(path: str) -> None:
    """What is taken apart can be put together."""
    assert paths.spelled(paths.steps(path)) == path


def test_wrapping() -> None:
    """What is missing is made around a value."""
    assert paths.wrapped(paths.steps("a[b].c"), 1) == {"a": [{"c": 1}]}
    assert paths.wrapped((), 1) == 1
