"""Which container and port are the app's, what keeps the sidecar out of a pod, and what it changes there."""

import pytest

from tests.inject import corpus
from tlsproxy.inject.manifest import Outcome
from tlsproxy.inject.refusals import Refused

POD = """\
apiVersion: {api}
kind: {kind}
metadata: {{name: shop}}
{spec}
"""
WEB = "{name: web, image: i, ports: [{containerPort: 8080, name: http}]}"


def pod(spec: str) -> str:
    return POD.format(api="v1", kind="Pod", spec=f"spec: {spec}")


def inject(text: str, options: str = "") -> Outcome:
    return corpus.made_of(corpus.options(f"--secret shop {options}"), text)


def refusal(text: str, options: str = "") -> str:
    with pytest.raises(Refused) as refused:
        inject(text, options)
    (message,) = refused.value.messages
    return message


# ---------------------------------------------------------------------------- the app


TWO = "{containers: [{name: a, image: i, ports: [{containerPort: 80, name: http}, {containerPort: 81}]}]}"
BOTH = (
    "{containers: [{name: a, image: i, ports: [{containerPort: 80, name: http}]}, "
    "{name: b, image: i, ports: [{containerPort: 81, name: http}, {containerPort: 53, protocol: UDP}]}]}"
)
NONE = "{containers: [{name: a, image: i}]}"


@pytest.mark.parametrize(
    ("spec", "options", "port"),
    [
        (f"{{containers: [{WEB}]}}", "", "8080"),
        (TWO, "--app-port http", "80"),
        (TWO, "--app-port 81", "81"),
        (BOTH, "--app-port 81", "81"),
        (BOTH, "--app-port http --app-container a", "80"),
        (BOTH, "--app-container b", "81"),
        (NONE, "--app-port 3000", "3000"),
        (BOTH, "--app-container a --app-port 99", "99"),
    ],
)
def test_the_apps_port(spec: str, options: str, port: str) -> None:
    """The only TCP port, or the one that is named; where only one container can be meant, an undeclared one too."""
    text = inject(pod(spec), options).text
    assert f'"name": "TLSPROXY_APP_PORT", "value": "{port}"' in text or f'TLSPROXY_APP_PORT, value: "{port}"' in text


@pytest.mark.parametrize(
    ("spec", "options", "said"),
    [
        (TWO, "", "several ports could be the app's (a: 80 (http), a: 81); choose one by --app-port"),
        (BOTH, "--app-port http", "several ports could be the app's (a: 80 (http), b: 81 (http)); choose"),
        (TWO, "--app-port https", "no port is https (there are a: 80 (http), a: 81); name one"),
        (BOTH, "--app-port 99", "no port is 99 (there are a: 80 (http), b: 81 (http))"),
        (BOTH, "--app-port 65536", "no port is 65536 (there are a"),
        (NONE, "--app-port 0", "no container declares a TCP port; name"),
        (NONE, f"--app-port {'9' * 5000}", "no container declares a TCP port; name"),
        ("{containers: [{name: a, ports: [{containerPort: %s}]}]}" % ("9" * 5000), "", "no container declares a TCP"),
        (BOTH, "--app-container c", "no container is named c; see --app-container"),
        (NONE, "", "no container declares a TCP port; name the app's with --app-port"),
        ("{containers: []}", "", "there is no container in it; leave it out by --only"),
        ("{nodeName: x}", "--app-port 1", "there is no container in it"),
    ],
)
def test_an_app_that_nobody_can_tell(spec: str, options: str, said: str) -> None:
    """The candidates are listed, with the option that decides."""
    message = refusal(pod(spec), options)
    assert message.startswith("pod/shop (document 1, line 1): ")
    assert said in message


# ---------------------------------------------------------------------------- what keeps it out


def beside(other: str) -> str:
    return pod(f"{{containers: [{WEB}, {other}]}}")


JOB = POD.format(api="batch/v1", kind="Job", spec=f"spec: {{template: {{spec: {{containers: [{WEB}]}}}}}}")
NATIVE = "{restartPolicy: Always, name: b, ports: [{containerPort: 8443}]}"
SHARED = f"{{containers: &c [{WEB}], initContainers: *c}}"


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (beside("{name: tlsproxy, image: i}"), "", "a container named tlsproxy that inject has not put there; rename"),
        (pod(f"{{containers: [{WEB}], initContainers: [{{name: tlsproxy}}]}}"), "", "a container named tlsproxy"),
        (beside("{name: b, ports: [{containerPort: 8443}]}"), "--app-port http", "container b has port 8443; give the"),
        (beside("{name: b, ports: [{containerPort: 8444}]}"), "--app-port http", "--set ADMIN_PORT=PORT"),
        (
            beside("{name: b, ports: [{containerPort: 81}]}"),
            "--app-port http --set REDIRECT_PORT=81",
            "container b has port 81; give the sidecar another by --set REDIRECT_PORT=PORT",
        ),
        (pod(f"{{containers: [{WEB}], initContainers: [{NATIVE}]}}"), "", "container b has port 8443"),
        (pod("{containers: [{name: a, ports: [{containerPort: 8443}]}]}"), "", "container a has port 8443"),
        (pod("{containers: [{name: a}]}"), "--app-port 8444", "container a has port 8444"),
        (pod(f"{{containers: [{WEB}], volumes: [{{name: tlsproxy-certificate}}]}}"), "", "rename that volume"),
        (pod(f"{{os: {{name: windows}}, containers: [{WEB}]}}"), "", "Windows containers"),
        (pod(f"{{nodeSelector: {{kubernetes.io/os: windows}}, containers: [{WEB}]}}"), "", "Windows containers"),
        (
            pod(f"{{containers: [{WEB[:-1]}, readinessProbe: {{httpGet: {{port: http, scheme: HTTPS}}}}}}]}}"),
            "",
            "spec.containers[web].readinessProbe asks port 8080 by HTTPS, so the app has TLS of its own there",
        ),
        (JOB, "--ordinary", "its pod would never end"),
        (JOB, "--kubernetes-version 1.28", "its pod would never end"),
        (pod(f"{{containers: [{WEB}]}}"), "--set ADMIN_PORT=0", "could not ask the sidecar's probes"),
        (pod(f"{{containers: [{WEB}]}}"), "--set ADMIN_HOST=127.0.0.1", "could not ask the sidecar's probes"),
        (pod(f"{{containers: [{WEB}]}}"), "--set MAX_HEAD=1", "TLSPROXY_MAX_HEAD"),
        (pod(SHARED), "", "write it out, because a change there would change the other place"),
    ],
)
def test_what_keeps_it_out(text: str, options: str, said: str) -> None:
    """Each is refused with the object, what is wrong with it, and the way out."""
    assert said in refusal(text, options)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (beside("{name: b, ports: [{containerPort: 8443, protocol: UDP}]}"), "--app-port http"),
        (beside("{name: b, ports: [{containerPort: 8443}]}"), "--app-port http --set LISTEN_PORT=9443"),
        (pod(f"{{containers: [{WEB}], initContainers: [{{name: b, ports: [{{containerPort: 8443}}]}}]}}"), ""),
        (JOB, ""),
        (JOB, "--ordinary --set FOLLOW_APP=on"),
    ],
)
def test_what_does_not(text: str, options: str) -> None:
    """A UDP port is another port, an init container's is free by then, and each refusal's way out leads out."""
    assert inject(text, options).text != text


def test_two_pods_of_one_node() -> None:
    """With hostNetwork a port is the node's, and only one pod can have it."""
    one = pod(f"{{hostNetwork: true, containers: [{WEB}]}}")
    other = one.replace("name: shop", "name: other").replace("8080", "8081")
    assert inject(one).text != one
    message = refusal(f"{one}---\n{other}")
    assert "pod/other (document 2" in message
    assert "port 8443 is the node's, and pod/shop (document 1, line 1) has it already" in message
    assert inject(f"{one}---\n{other.replace('hostNetwork: true, ', '')}").text


def test_all_that_is_refused_is_told_at_once() -> None:
    """Nobody has to run it again for each."""
    with pytest.raises(Refused) as refused:
        inject(f"{pod(NONE)}---\n{pod(TWO)}---\n{pod('{containers: []}')}")
    assert [message.partition(" (")[2].partition(",")[0] for message in refused.value.messages] == [
        "document 1",
        "document 2",
        "document 3",
    ]


# ---------------------------------------------------------------------------- the change


@pytest.mark.parametrize(
    ("spec", "options", "wanted"),
    [
        ("", "", ""),
        ("terminationGracePeriodSeconds: 10, ", "", "terminationGracePeriodSeconds: 30, "),
        ("terminationGracePeriodSeconds: 60, ", "", "terminationGracePeriodSeconds: 60, "),
        (f"terminationGracePeriodSeconds: {'9' * 5000}, ", "", f"terminationGracePeriodSeconds: {'9' * 5000}, "),
        ("", "--set DRAIN_TIMEOUT=1m", ", terminationGracePeriodSeconds: 70"),
    ],
)
def test_the_grace_period(spec: str, options: str, wanted: str) -> None:
    """It is raised where draining needs more, written where the default is too short, and else left."""
    text = inject(pod(f"{{{spec}containers: [{WEB}]}}"), options).text
    if wanted:
        assert wanted in text
    else:
        assert "terminationGracePeriodSeconds" not in text


def test_an_apps_own_hook_is_kept() -> None:
    """What it has to do is told instead."""
    text = pod(f"{{containers: [{WEB[:-1]}, lifecycle: {{preStop: {{exec: {{command: [x]}}}}}}}}]}}")
    made = inject(text, "--ordinary")
    assert "sleep" not in made.text
    assert "spec.containers[web] keeps its own preStop; it has to last 25 s" in made.notes[0]


def test_without_a_delay_nothing_waits() -> None:
    """A sleep of no seconds is none."""
    assert "preStop" not in inject(pod(f"{{containers: [{WEB}]}}"), "--set DRAIN_DELAY=0").text
