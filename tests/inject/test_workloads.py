"""Where pods and Services are found, and where not."""

import pytest

from tests.inject import corpus
from tlsproxy.inject.documents import parse
from tlsproxy.inject.workloads import POD_TEMPLATES, is_service, subjects


def test_every_kind_is_found() -> None:
    """A pod's template is found wherever a kind keeps it."""
    found = list(subjects(parse(corpus.text("every-kind.yaml") + "---\n" + corpus.text("ordinary.yaml"))))
    assert {subject.kind for subject in found} == {kind for _, kind in POD_TEMPLATES}
    assert all(subject.complete and subject.root.get("spec") for subject in found)


def test_lists_are_opened() -> None:
    """The items of a List are objects like others; their document and line are told."""
    found = list(subjects(parse(corpus.text("list.json"))))
    assert [subject.title for subject in found] == ["deployment/shop", "service/shop"]
    assert found[1].place == "service/shop (document 1, line 36)"
    assert [is_service(subject) for subject in found] == [False, True]


@pytest.mark.parametrize(
    "text",
    [
        "kind: Deployment\napiVersion: example.com/v1\n",
        "kind: Service\napiVersion: serving.knative.dev/v1\n",
        "kind: Pod\napiVersion: metrics.k8s.io/v1\n",
        "kind: List\n",
        "a: b\n",
        "text\n",
        "- list\n",
        "---\n---\n",
    ],
)
def test_what_is_none_of_these(text: str) -> None:
    """A kind of the same name in another API group is another kind."""
    assert list(subjects(parse(text))) == []


def test_a_template_that_is_missing() -> None:
    """It is an object without a pod, and says so."""
    (found,) = subjects(parse("kind: Deployment\napiVersion: apps/v1\nmetadata: {name: x}\nspec: {replicas: 1}\n"))
    assert not found.complete


def test_names() -> None:
    """A Job may have none but a prefix; a namespace counts where one is written."""
    text = "{kind: Job, apiVersion: batch/v1, metadata: {generateName: x-, namespace: n}, spec: {template: {spec: {}}}}"
    (found,) = subjects(parse(text))
    assert (found.title, found.namespace) == ("job/x-", "n")
