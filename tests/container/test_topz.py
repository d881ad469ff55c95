"""deploy/podman/topz.yaml: the processes of a pod, over HTTPS, for who has the token."""

import http.client
import json
import os
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.container.podman import DEPLOY, adapted, played, podman, resident, status
from tests.e2e.certificates import issue, place
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port

TOKEN = "correct-horse-battery-staple"
MOST_MEGABYTES = 45.0
COME_AND_GO = """
import subprocess, sys
for number in range(150):
    subprocess.run([sys.executable, "-S", "-c", ""], check=True)
"""


@dataclass(frozen=True)
class Pod:
    """A running pod: app, topz and the proxy."""

    name: str
    port: int
    context: ssl.SSLContext
    directory: Path

    def get(self, target: str, token: str = TOKEN) -> tuple[int, str]:
        """Status and body of an answer over verified HTTPS."""
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=20, context=self.context)
        try:
            connection.request("GET", target, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def id_of(self, container: str) -> str:
        """The first digits of a container's number, as podman has it."""
        return podman("inspect", "--format", "{{.Id}}", f"{self.name}-{container}").split()[-1][:12]


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """A pod whose topz is ready; it is removed at the end."""
    name, port, directory = f"topz-{os.getpid()}", free_port(), tmp_path_factory.mktemp("topz")
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    (directory / f"{name}-tls").mkdir()
    place(directory / f"{name}-tls", issue(authority))
    (directory / name).mkdir()
    (directory / name / "token").write_text(TOKEN)
    manifest = adapted(DEPLOY / "podman" / "topz.yaml", name, port)
    # A look is good for no longer than that.
    host = "{name: TOPZ_HOST, value: 127.0.0.1}"
    assert host in manifest
    manifest = manifest.replace(host, f"{host}\n        - {{name: TOPZ_SAMPLE, value: 100ms}}")
    for where in ("/etc/tlsproxy", "/etc/topz"):
        manifest = manifest.replace(where, str(directory))
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    with played(manifest, directory):
        wait_until(lambda: "serving http" in podman("logs", f"{name}-topz"), "topz serves", 20)
        wait_until(lambda: "serving HTTPS" in podman("logs", f"{name}-tlsproxy"), "the proxy serves", 20)
        yield Pod(name, port, context, directory)


def test_the_pods_processes(pod: Pod) -> None:
    """All of the pod are seen, each in its container, and none of the host; the app's tell all of themselves."""
    code, body = pod.get("/topz?format=json")
    assert code == 200
    told = json.loads(body)
    ids = {one["name"]: one["id"] for one in told["containers"]}
    processes = {ids[process["container"]]: process for process in told["processes"]}
    assert {pod.id_of(container) for container in ("app", "topz", "tlsproxy")} < processes.keys()
    assert len(told["processes"]) == len(ids) == 4
    app = processes[pod.id_of("app")]
    assert app["command"] == "python -m http.server 8000 --bind 127.0.0.1"
    assert app["pss_bytes"] > 0
    assert processes[pod.id_of("tlsproxy")]["pss_bytes"] is None
    code, body = pod.get(f"/topz/{app['pid']}?format=json")
    assert code == 200
    assert "8000" in body


def test_who_has_no_token_sees_nothing(pod: Pod) -> None:
    """Nobody is told anything without it, and one that is put in its place counts from then on."""
    assert pod.get("/topz", "")[0] == 401
    assert pod.get("/topz", "another-horse-battery-staple") == (401, "unauthorized\n")
    file = pod.directory / pod.name / "token"
    file.write_text("another-horse-battery-staple")
    assert pod.get("/topz", "another-horse-battery-staple")[0] == 200
    assert pod.get("/topz")[0] == 401
    file.write_text(TOKEN)


def test_processes_that_come_and_go(pod: Pod) -> None:
    """While dozens end as they are looked at, every page is whole, in each form."""
    coming_and_going = subprocess.Popen(["podman", "exec", f"{pod.name}-app", "python", "-c", COME_AND_GO])
    looks = 0
    while coming_and_going.poll() is None:
        for form in ("html", "text", "json"):
            code, body = pod.get(f"/topz?format={form}&tree=on")
            assert code == 200
            assert "http.server" in body
        looks += 1
    assert looks > 3
    logs = podman("logs", f"{pod.name}-topz")
    assert "Traceback" not in logs
    assert '"error"' not in logs


def test_what_it_takes_and_how_it_ends(pod: Pod) -> None:
    """Its memory is small, and it stops with status 0; so does the proxy."""
    assert "[+]" in podman("exec", f"{pod.name}-topz", "topz", "health")
    assert resident(f"{pod.name}-topz") < MOST_MEGABYTES
    resident(f"{pod.name}-tlsproxy")
    for container in (f"{pod.name}-topz", f"{pod.name}-tlsproxy"):
        podman("stop", container)
        assert status(container) == 0
