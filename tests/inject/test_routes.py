"""Ingresses and routes that lead to a Service that was pointed at the sidecar."""

import pytest

from tests.inject import corpus
from tlsproxy.inject.documents import parse
from tlsproxy.inject.routes import BACKENDS, leading_to

APP = """\
apiVersion: v1
kind: Pod
metadata: {name: shop, labels: {app: shop}}
spec: {containers: [{name: web, image: i, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{port: 80, targetPort: 8080}]}
---
"""
INGRESS = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: front}
spec:
  rules:
    - http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}]}
    - http: {paths: [{path: /a, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}]}
"""


def test_an_ingress_is_told_of() -> None:
    """Once, with its place; it stays as it is, and one that leads to an untouched Service is no matter."""
    made = corpus.made_of(corpus.options("--secret shop --services"), APP + INGRESS)
    assert made.text.endswith(f"---\n{INGRESS}")
    (note,) = (note for note in made.notes if note.startswith("ingress/front (document 3, line 11): "))
    assert "it leads to service/shop, and has to speak HTTPS to it" in note
    assert "backend-protocol: HTTPS" in note
    for options, text in (("", INGRESS), ("--services", INGRESS.replace("name: shop", "name: other"))):
        notes = corpus.made_of(corpus.options(f"--secret shop {options}"), APP + text).notes
        assert not [note for note in notes if "ingress" in note]


@pytest.mark.parametrize(
    ("api", "kind", "spec"),
    [
        ("networking.k8s.io/v1", "Ingress", "{defaultBackend: {service: {name: shop}}}"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute", "{rules: [{backendRefs: [{name: other}, {name: shop}]}]}"),
        ("gateway.networking.k8s.io/v1", "GRPCRoute", "{rules: [{backendRefs: [{name: shop}]}]}"),
        ("route.openshift.io/v1", "Route", "{to: {kind: Service, name: shop}}"),
        ("traefik.io/v1alpha1", "IngressRoute", "{routes: [{services: [{name: shop, port: 80}]}]}"),
    ],
)
def test_kinds(api: str, kind: str, spec: str) -> None:
    """Each has its names of Services elsewhere; other kinds and other namespaces lead nowhere."""
    text = f"{{apiVersion: {api}, kind: {kind}, metadata: {{name: r, namespace: a}}, spec: {spec}}}"
    assert (api.rpartition("/")[0], kind) in BACKENDS
    assert len(list(leading_to(parse(text), {("a", "shop")}))) == 1
    assert list(leading_to(parse(text), {("b", "shop")})) == []
    assert list(leading_to(parse(text.replace(f"kind: {kind},", "kind: Other,")), {("a", "shop")})) == []


def test_parts_that_are_not_there() -> None:
    """An object without them leads nowhere."""
    assert list(leading_to(parse("apiVersion: networking.k8s.io/v1\nkind: Ingress\nspec: [1]\n"), {("", "")})) == []
