"""The app's own probes, where it listens on the loopback address alone."""

import pytest

from tests.inject import corpus
from tlsproxy.inject.refusals import Refused

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: shop}
spec:
  containers:
    - name: web
      image: i
      ports: [{containerPort: 8080, name: http}]
      PROBE
"""


def injected(probe: str, options: str = "--app-on-localhost") -> str:
    """The container's lines that are not ours, behind its ports."""
    made = corpus.made_of(corpus.options(f"--secret shop {options} --set DRAIN_DELAY=0"), POD.replace("PROBE", probe))
    return made.text.partition("http}]\n      ")[2].partition("\n  initContainers:")[0].partition("\nmetadata")[0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "livenessProbe: {httpGet: {path: /up, port: http}}",
            "livenessProbe: {httpGet: {path: /up, port: 8443, scheme: HTTPS}}",
        ),
        (
            "startupProbe: {httpGet: {scheme: HTTP, port: 8080}}",
            "startupProbe: {httpGet: {scheme: HTTPS, port: 8443}}",
        ),
        ("readinessProbe: {tcpSocket: {port: 8080}}", "readinessProbe: {httpGet: {path: /readyz, port: 8444}}"),
        (
            "lifecycle: {postStart: {httpGet: {port: http}}}",
            "lifecycle: {postStart: {httpGet: {port: 8443, scheme: HTTPS}}}",
        ),
    ],
)
def test_probes_are_moved(before: str, after: str) -> None:
    """An HTTP probe goes through the sidecar, and one that only connects asks the admin port; by name or number."""
    assert injected(before) == after
    assert injected(before, "") == before


@pytest.mark.parametrize(
    "probe",
    [
        "livenessProbe: {exec: {command: [x]}}",
        "livenessProbe: {httpGet: {port: 9090}}",
        "livenessProbe: {tcpSocket: {port: 9090}}",
        "livenessProbe: {httpGet: {port: http, host: 10.0.0.1}}",
        "livenessProbe: {httpGet: {port: 9090}, tcpSocket: {port: http}}",  # Kubernetes refuses it
    ],
)
def test_probes_that_are_not_the_apps_port(probe: str) -> None:
    """They stay as they are."""
    assert injected(probe) == probe


@pytest.mark.parametrize(
    ("probe", "options", "said"),
    [
        ("livenessProbe: {grpc: {port: 8080}}", "", "livenessProbe.grpc can't be moved: the kubelet asks without TLS"),
        (
            "livenessProbe: {httpGet: {port: 8080}}",
            "--set CLIENT_AUTH=required",
            "TLSPROXY_CLIENT_AUTH keeps the kubelet",
        ),
        ("livenessProbe: {httpGet: {port: 8080}}", "--set SNI_STRICT=on", "TLSPROXY_SNI_STRICT keeps the kubelet out"),
        (
            "livenessProbe: {httpGet: {port: 8080}}",
            "--set PROXY_PROTOCOL=accept --set TRUSTED_PROXIES=private",
            "TLSPROXY_PROXY_PROTOCOL keeps the kubelet out",
        ),
        (
            "readinessProbe: {tcpSocket: {port: 8080}}",
            "--set APP_CHECK=off",
            "TLSPROXY_APP_CHECK=off leaves the app out",
        ),
    ],
)
def test_probes_that_have_nowhere_to_go(probe: str, options: str, said: str) -> None:
    """It is refused, with what could be done instead."""
    with pytest.raises(Refused) as refused:
        injected(probe, f"--app-on-localhost {options}")
    assert said in str(refused.value)
    assert "without --app-on-localhost" in str(refused.value)
